"""Which profile a host could serve, what it lacks for that, and what would bring it."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestrator import engines
from orchestrator.errors import InputError, SettingsError
from orchestrator.models.formats import SUFFIXES
from orchestrator.models.manifest import Artifact
from orchestrator.planning.containers import is_docker
from orchestrator.planning.profiles import choose_profile
from orchestrator.planning.provisionable import (
    WHEELS,
    is_linux,
    own_python,
    provision_command,
    restarted_unit,
    sentence,
    to_own_python,
    unsupported,
)
from orchestrator.planning.select import spec_for, wish_name

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile

__all__ = [
    "Lack",
    "Readiness",
    "engine_kinds",
    "provision_command",
    "readiness",
    "unsupported",
]

# What YAML and Ansible take for no.
NO = frozenset({"false", "no", "off", "n", "f", "0"})


@dataclass(frozen=True, slots=True)
class Lack:
    """One thing that a host lacks, in one clause.

    `role` is the role of playbooks/ that brings it, empty where none does. One that is `blocking`
    keeps the host from serving its profile; for want of the others it runs less of the profile.
    """

    what: str
    role: str
    blocking: bool


@dataclass(frozen=True, slots=True)
class Readiness:
    """Whether a host can serve the profile that it falls under.

    `profile` is empty when none matches. A host is `ready` when it can receive releases and run at
    least one of the profile's wishes; `runs` names those that it can run now, as `onnx fp32`.
    `command` brings what it lacks, or is a sentence on what to do; empty when nothing is left to
    say.
    """

    profile: str
    ready: bool
    runs: tuple[str, ...] = ()
    lacks: tuple[Lack, ...] = ()
    command: str = ""

    def as_dict(self) -> dict[str, Any]:
        """The readiness as `facts --json` shows it."""
        return {
            "profile": self.profile,
            "ready": self.ready,
            "runs": list(self.runs),
            "lacks": [asdict(lack) for lack in self.lacks],
            "command": self.command,
        }


@dataclass(frozen=True, slots=True)
class _Missing:
    """What is missing, the role that brings it, and what to do where none does."""

    what: str
    role: str = ""
    remedy: str = ""


def readiness(
    host: Host,
    facts: Facts,
    groups: Mapping[str, tuple[str, ...]],
    profiles: Sequence[Profile],
) -> Readiness:
    """How ready the host is for its profile; what is wrong with its input is told as a lack."""
    try:
        profile = choose_profile(host, facts, groups, profiles).profile
    except InputError as exc:
        lack = Lack(_without_name(exc.message, host.name), role="", blocking=True)
        return Readiness("", ready=False, lacks=(lack,), command=exc.hint)
    runs, missing = _engines(host, facts, profile)
    blocking = [*_root(host, facts), *_service(host, facts, profile)]
    return Readiness(
        profile.name,
        ready=bool(runs) and not blocking,
        runs=runs,
        lacks=(
            *(Lack(each.what, each.role, blocking=True) for each in blocking),
            *(Lack(each.what, each.role, blocking=not runs) for each in missing),
        ),
        command=_command(host, [*blocking, *missing]),
    )


def engine_kinds(profile: Profile) -> tuple[str, ...]:
    """The engine kinds that the profile's wishes are run with, in the order of the wishes."""
    kinds: dict[str, None] = {}
    for wish in profile.artifacts:
        try:
            spec = spec_for(wish, profile)
        except SettingsError:
            continue
        if spec is not None:
            kinds[spec.kind] = None
    return tuple(kinds)


def _engines(host: Host, facts: Facts, profile: Profile) -> tuple[tuple[str, ...], list[_Missing]]:
    """The wishes that run here, and the engines that are missing for others.

    Where none runs although no engine is missing, that is what is missing.
    """
    runs: list[str] = []
    missing: dict[str, _Missing] = {}
    unfit: list[str] = []
    for wish in profile.artifacts:
        lack, reason = "", ""
        try:
            spec = spec_for(wish, profile)
            if spec is None:
                reason = "no engine is known for it"
            else:
                lack, reason = _speaks_against(wish, spec, facts)
        except SettingsError as exc:
            reason = exc.message
        if lack and spec is not None:
            missing.setdefault(lack, _engine(spec.kind, lack, host, facts))
        elif reason:
            unfit.append(f"{wish_name(wish)}: {reason}")
        else:
            runs.append(wish_name(wish))
    found = list(missing.values())
    if not runs and not found:
        found.append(
            _Missing(
                f"nothing that profile {profile.name} wishes for runs here ({'; '.join(unfit)})",
                remedy=f"Add what runs here to the artifacts of profile {profile.name}.",
            )
        )
    return tuple(runs), found


def _speaks_against(wish: ArtifactWish, spec: EngineSpec, facts: Facts) -> tuple[str, str]:
    """What the host lacks for the wish's engine, and why an artifact of that kind is not for it."""
    engine = engines.get(spec.kind)
    if wish.format not in engine.formats:
        return "", f"{spec.kind} does not run {wish.format}"
    resolved = engine.resolve(spec, facts)
    suffix = next((suffix for suffix, name in SUFFIXES.items() if name == wish.format), "")
    any_such = Artifact(wish.format, wish.precision or "fp32", f"net{suffix}", sha256="", size=0)
    return engine.lacks(resolved, facts), engine.unfit(resolved, facts, any_such)


def _engine(kind: str, lack: str, host: Host, facts: Facts) -> _Missing:
    """What brings a missing engine to the host."""
    if is_docker(facts):
        image = facts.docker_engine.image
        return _Missing(
            lack, remedy=f"Put it into the image {image}, or name another with orchestrate_image."
        )
    refused = unsupported(facts)
    if refused:
        return _Missing(lack, remedy=sentence(refused))
    bringing = {"katago": _katago, "onnxruntime": _onnxruntime}.get(kind)
    return bringing(lack, host, facts) if bringing else _Missing(lack)


def _katago(lack: str, host: Host, _facts: Facts) -> _Missing:
    if host.vars.get("katago_source"):
        return _Missing(lack, "katago")
    return _Missing(f"{lack}; name a katago_source in the inventory to have it brought")


def _onnxruntime(lack: str, host: Host, facts: Facts) -> _Missing:
    """A Python that the operator names is left to the operator, unless provisioning makes it."""
    if facts.arch not in WHEELS:
        return _Missing(
            f"{lack}; there are no wheels of ONNX Runtime for {facts.arch or 'this machine'}",
            remedy="Install a 64-bit system, or name a Python that has it with orchestrate_python.",
        )
    python = own_python(host)
    if python:
        return _Missing(lack, remedy=to_own_python(python))
    return _Missing(lack, "onnxruntime")


def _root(host: Host, facts: Facts) -> list[_Missing]:
    """What brings a root that can be written, where it is missing."""
    if facts.disk.writable:
        return []
    if is_docker(facts):
        container = facts.docker_engine.container
        what = f"the volume of the container {container} cannot be written"
        return [_Missing(what, remedy=f"Look at it there: docker volume inspect {container}")]
    given = host.vars.get("orchestrate_root")
    what = f"the root {given} cannot be written" if given else "the root cannot be written"
    if unsupported(facts):
        remedy = "Set orchestrate_root to a folder the user may write, or ansible_become: true."
        return [_Missing(what, remedy=remedy)]
    return [_Missing(what, "base")]


def _service(host: Host, facts: Facts, profile: Profile) -> list[_Missing]:
    """What brings the unit that a switch restarts, where it is missing.

    Who sets `service_enabled: false` sees to the unit, which may then be a package's.
    """
    unit = restarted_unit(host, profile)
    if not unit or unit in facts.units or is_docker(facts) or not is_linux(facts):
        return []
    if str(host.vars.get("service_enabled", True)).lower() in NO:
        return []
    what = f"there is no {unit}, which the profile restarts"
    if unsupported(facts):
        remedy = (
            f"Write /etc/systemd/system/{unit} there, which runs ROOT/current/run, or change "
            f"`service:` of profile {profile.name}."
        )
        return [_Missing(what, remedy=remedy)]
    return [_Missing(what, "service")]


def _without_name(message: str, host: str) -> str:
    """The message in the same words for every host."""
    nameless = message.removeprefix(f"host {host}: ")
    return nameless.replace(f"no profile matches {host}", "no profile matches", 1)


def _command(host: Host, missing: Sequence[_Missing]) -> str:
    if any(each.role for each in missing):
        return provision_command([host.name])
    return " ".join(dict.fromkeys(each.remedy for each in missing if each.remedy))
