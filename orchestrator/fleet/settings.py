"""What orchestrate.yml says."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.errors import SettingsError
from orchestrator.fleet import condition, docker_section
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile, ServiceSpec, VerifySpec
from orchestrator.fleet.strategy import Strategy, parse_canary, parse_pause, parse_share
from orchestrator.schema import SchemaProblem, load_yaml, place, problems, yaml_lines
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Mistakes = Iterator[tuple[tuple[Any, ...], str, str]]

# Keys that only some kinds of engine look at.
ENGINE_KEYS = {"command": ("katago",), "run": ("command", "onnxruntime")}


@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The settings of a fleet project.

    `inventory` is relative to the project; `parallel` counts hosts worked on at a time; timeouts,
    `keepalive` (0 for none) and `facts_max_age` are in seconds; `history` is an SQLAlchemy URL.
    `keep` counts the releases that stay on a host, the active one included.
    Profiles are in the order of the file.
    """

    profiles: tuple[Profile, ...]
    inventory: str = "inventory/"
    parallel: int = 32
    connect_timeout: float = 10.0
    command_timeout: float = 60.0
    keepalive: int = 15
    history: str = "sqlite:///.orchestrate/history.db"
    facts_max_age: float = 3600.0
    keep: int = 3
    rollout: Strategy = field(default_factory=Strategy)


def load(path: Path, *, templates: Path) -> Settings:
    """The settings in the file; `templates` is the folder that profiles' configs are looked up in.

    Raises SettingsError with every mistake, each as `orchestrate.yml:12: profiles.pi: ...`.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise SettingsError(
            f"{path}: {exc.strerror}", hint="Make the file readable, or name another --project."
        ) from exc
    except UnicodeDecodeError as exc:
        raise SettingsError(
            f"{path.name}: not UTF-8 at byte {exc.start}", hint="Save the file as UTF-8."
        ) from exc
    names = {p.relative_to(templates).as_posix() for p in templates.rglob("*") if p.is_file()}
    return parse(text, templates=frozenset(names), source=path.name)


def parse(text: str, *, templates: frozenset[str], source: str = "orchestrate.yml") -> Settings:
    """The settings in a YAML text; `templates` are the names of the templates there are.

    Raises SettingsError as `load` does.
    """
    document = load_yaml(text, source, error=SettingsError)
    lines = yaml_lines(text)
    found = problems({} if document is None else document, _schema(), lines=lines)
    if not found:
        found = list(_mistakes(document, templates, lines))
    if found:
        raise _error(found, source)
    return _settings(document)


def _error(found: list[SchemaProblem], source: str) -> SettingsError:
    if len(found) == 1:
        return SettingsError(f"{_where(found[0], source)}: {found[0].message}", hint=found[0].hint)
    said = [f"{_where(p, source)}: {p.message}" + (f" ({p.hint})" if p.hint else "") for p in found]
    return SettingsError("\n".join(said), hint=f"Mend these {len(said)} mistakes in {source}.")


def _where(problem: SchemaProblem, source: str) -> str:
    return source if problem.line is None else f"{source}:{problem.line}"


@cache
def _schema() -> dict[str, Any]:
    text = Path(__file__).with_suffix(".schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _mistakes(
    document: Mapping[str, Any], templates: frozenset[str], lines: Mapping[tuple[Any, ...], int]
) -> Iterator[SchemaProblem]:
    """What a schema cannot say: conditions, templates, keys of another engine kind, NaN."""
    found = list(_number_mistakes(document, ()))
    found += _number_mistakes(document.get("rollout", {}), ("rollout",))
    for name, profile in document["profiles"].items():
        here = ("profiles", name)
        for key in ("verify", "service", "docker"):
            found += _number_mistakes(profile.get(key, {}), (*here, key))
        found += _condition_mistakes(profile, here)
        found += _config_mistakes(profile, here, templates)
        found += _engine_mistakes(profile, here)
        found += docker_section.mistakes(profile.get("docker", {}), (*here, "docker"), templates)
    for path, message, hint in found:
        line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), 0)
        yield SchemaProblem(path, line or None, f"{place(path)}: {message}", hint)


def _number_mistakes(entry: Mapping[str, Any], here: tuple[Any, ...]) -> Mistakes:
    """NaN, which is never less or more than the limits in the schema."""
    for key, value in entry.items():
        if isinstance(value, float) and math.isnan(value):
            yield (*here, key), "is no number", "Write a number, such as 10."


def _condition_mistakes(profile: Mapping[str, Any], here: tuple[Any, ...]) -> Mistakes:
    message, hint = condition.mistake(_when(profile))
    if message:
        yield (*here, "when"), message, hint


def _config_mistakes(
    profile: Mapping[str, Any], here: tuple[Any, ...], templates: frozenset[str]
) -> Mistakes:
    config = profile["config"]
    if config not in templates:
        known = f"In templates/ are: {', '.join(sorted(templates)) or 'none'}."
        hint = did_you_mean(config, templates) or known
        yield (*here, "config"), f"there is no templates/{config}", hint


def _engine_mistakes(profile: Mapping[str, Any], here: tuple[Any, ...]) -> Mistakes:
    engines = {(*here, "engine"): profile["engine"]}
    for index, wish in enumerate(profile["artifacts"]):
        if "engine" in wish:
            engines[*here, "artifacts", index, "engine"] = wish["engine"]
    for path, engine in engines.items():
        for key, kinds in ENGINE_KEYS.items():
            if key in engine and engine["kind"] not in kinds:
                which = " and ".join(kinds)
                message = f"belongs to engines of kind {which}, this is of kind {engine['kind']}"
                yield (*path, key), message, f"Remove `{key}:`, or write `kind: {kinds[0]}`."


def _settings(document: Mapping[str, Any]) -> Settings:
    profiles = tuple(_profile(name, entry) for name, entry in document["profiles"].items())
    rest = _whole(document, "parallel", "keepalive", "keep")
    rollout = _strategy(document.get("rollout", {}))
    return Settings(**{**rest, "profiles": profiles, "rollout": rollout})


def _strategy(entry: Mapping[str, Any]) -> Strategy:
    parsers: dict[str, Callable[[Any], Any]] = {
        "canary": parse_canary,
        "batches": lambda sizes: tuple(parse_share(size, least=1) for size in sizes),
        "pause": parse_pause,
        "max_failed": parse_share,
        "max_unreachable": parse_share,
        "revert_after": float,
    }
    return Strategy(**{key: parsers.get(key, str)(value) for key, value in entry.items()})


def _profile(name: str, entry: Mapping[str, Any]) -> Profile:
    return Profile(
        name=name,
        when=_when(entry),
        artifacts=tuple(_wish(wish) for wish in entry["artifacts"]),
        config=entry["config"],
        engine=_engine(entry["engine"]),
        verify=_verify(entry.get("verify", {})),
        vars=entry.get("vars", {}),
        service=_service(entry.get("service", {})),
        docker=docker_section.spec(entry.get("docker", {})),
    )


def _when(entry: Mapping[str, Any]) -> str:
    """The condition as text: YAML reads a bare `true` as a boolean; none at all always holds."""
    when = entry.get("when", True)
    return when if isinstance(when, str) else str(when).lower()


def _wish(entry: Mapping[str, Any]) -> ArtifactWish:
    engine = _engine(entry["engine"]) if "engine" in entry else None
    return ArtifactWish(entry["format"], entry.get("precision"), engine, entry.get("variant", ""))


def _engine(entry: Mapping[str, Any]) -> EngineSpec:
    spec = dict(entry)
    if spec["kind"] == "katago":
        spec.setdefault("command", "gtp")
    return EngineSpec(**spec)


def _verify(entry: Mapping[str, Any]) -> VerifySpec:
    """Numbers as the dataclass has them, so that 1 and 1.0 make the same release."""
    real = {"min_ratio", "max_error", "timeout"}
    numbers: dict[str, Any] = {k: float(v) if k in real else v for k, v in entry.items()}
    return VerifySpec(**_whole(numbers, "max_rss_mb", "visits"))


def _service(entry: Mapping[str, Any]) -> ServiceSpec:
    spec: dict[str, Any] = {k: float(v) if k == "timeout" else v for k, v in entry.items()}
    return ServiceSpec(**spec)


def _whole(entry: Mapping[str, Any], *keys: str) -> dict[str, Any]:
    """The entry with integers under `keys`: to JSON Schema 3.0 is one too."""
    return {key: int(value) if key in keys else value for key, value in entry.items()}
