"""Compose files: checked, understood, and translated for the Docker Engine API. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.compose import body
from orchestrator.compose.interpolation import VARIABLES, filled, interpolated, strangers
from orchestrator.compose.values import BadValueError, pairs
from orchestrator.errors import TemplateError
from orchestrator.schema import SchemaProblem, load_yaml, place, problems, yaml_lines
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.compose.body import Mistake

_SAMPLE = "release"
_SERVICES = "services"
_WRITTEN = " and ".join(f"${{{name}}}" for name in VARIABLES)
_INSTEAD = {
    "build": "Images are made before; name one with `image:`.",
    "configs": "What the engine reads belongs into the release.",
    "depends_on": "The order is decided by the rollout.",
    "env_file": "Write `environment:`.",
    "extends": "Write it out; a template can include another.",
    "name": "Write `container_name:` in the service, and `name:` with each network and volume.",
    "platform": "The image decides.",
    "privileged": "Write `cap_add:` or `devices:` with what is needed.",
    "secrets": "Mount a file of the host with `volumes:`.",
    "version": "Remove it; Docker Compose does not look at it any more.",
    "volumes_from": "Write `volumes:`.",
}


@dataclass(frozen=True, slots=True)
class Resource:
    """A network or volume: what Docker calls it, and the body that creates it.

    An `external` one must be there already; `body` is for `POST /networks/create` or
    `/volumes/create`.
    """

    name: str
    external: bool
    body: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Compose:
    """A compose file without mistakes, as `read` gives it; `source` is what errors call it."""

    document: Mapping[str, Any]
    source: str

    @property
    def services(self) -> Mapping[str, Mapping[str, Any]]:
        """The services by name, `engine` and maybe `front`, as the file has them."""
        services: Mapping[str, Mapping[str, Any]] = self.document[_SERVICES]
        return services


def read(text: str, *, source: str) -> Compose:
    """The compose file in a text.

    Raises TemplateError with every mistake, each as `SOURCE:12: services.engine.ports[0]: ...`.
    """
    document = load_yaml(text, source, error=TemplateError)
    lines = yaml_lines(text)
    found = list(_dollar_mistakes(document, text, source))
    document = {} if document is None else document
    sample = interpolated(document, _SAMPLE)
    at_fault = [_supported(p) for p in problems(sample, _schema(), lines=lines)]
    if not at_fault:
        found += _mistakes(sample)
    at_fault += [_located(mistake, lines) for mistake in found]
    if at_fault:
        raise _error(sorted(at_fault, key=lambda p: p.line or 0), source)
    return Compose(document, source)


def container(compose: Compose, service: str, *, release: str) -> dict[str, Any]:
    """The JSON body of `POST /containers/create` (Engine API 1.40 and later) for a service.

    The container's name is a parameter there, `container_name` has it; `networks` has the networks
    to connect it to after the first. Folders of the host that are mounted must exist.
    """
    entry = interpolated(compose.services[service], release)
    return body.body(entry, _names(compose.document))


def container_name(compose: Compose, service: str) -> str:
    """The name that the file gives the service's container; empty when it gives none."""
    name: str = compose.services[service].get("container_name", "")
    return name


def networks(compose: Compose, service: str, *, release: str) -> dict[str, tuple[str, ...]]:
    """The networks that the service joins, by Docker's names, each with the service's aliases.

    `container` has the first of them. None with `network_mode`.
    """
    entry = interpolated(compose.services[service], release)
    return body.networks(entry, _names(compose.document))


def networks_of(compose: Compose) -> dict[str, Resource]:
    """The networks at the file's top level by their names there."""
    declared = interpolated(compose.document.get("networks", {}), _SAMPLE)
    return {key: _network(key, entry or {}) for key, entry in declared.items()}


def volumes(compose: Compose) -> dict[str, Resource]:
    """The volumes at the file's top level by their names there."""
    declared = interpolated(compose.document.get("volumes", {}), _SAMPLE)
    return {key: _volume(key, entry or {}) for key, entry in declared.items()}


def _network(key: str, entry: Mapping[str, Any]) -> Resource:
    name = entry.get("name", key)
    made = {
        "Name": name,
        "CheckDuplicate": True,
        "Driver": entry.get("driver", "bridge"),
        "Internal": entry.get("internal", False),
        "Attachable": entry.get("attachable", False),
        "EnableIPv6": entry.get("enable_ipv6", False),
        "Options": pairs(entry.get("driver_opts", {}), needed=True),
        "Labels": pairs(entry.get("labels", {}), needed=False),
    }
    return Resource(name, entry.get("external", False), made)


def _volume(key: str, entry: Mapping[str, Any]) -> Resource:
    name = entry.get("name", key)
    made = {
        "Name": name,
        "Driver": entry.get("driver", "local"),
        "DriverOpts": pairs(entry.get("driver_opts", {}), needed=True),
        "Labels": pairs(entry.get("labels", {}), needed=False),
    }
    return Resource(name, entry.get("external", False), made)


def _names(document: Mapping[str, Any]) -> body.Names:
    def real(kind: str) -> dict[str, str]:
        declared = document.get(kind, {})
        return {key: (entry or {}).get("name", key) for key, entry in declared.items()}

    return body.Names(real("networks"), real("volumes"))


@cache
def _schema() -> dict[str, Any]:
    text = Path(__file__).with_name("compose.schema.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def _supported(problem: SchemaProblem) -> SchemaProblem:
    """The problem in the words of compose files: unknown keys are not supported here."""
    here = f"{place(problem.path)}: "
    if problem.message == f"{here}unknown key":
        hint = _INSTEAD.get(str(problem.path[-1]), "")
        hint = hint or problem.hint.replace("Known keys:", "Supported are:")
        return replace(problem, message=f"{here}not supported", hint=hint)
    if problem.path[-1:] == ("restart",) and problem.message.endswith("got false"):
        return replace(problem, hint='Write it in quotes: "no"')
    return problem


def _dollar_mistakes(document: Any, text: str, source: str) -> Iterator[Mistake]:
    for path, written in strangers(document):
        meant = did_you_mean(written.strip("${}"), VARIABLES)
        known = f"Write $$ for a dollar sign; the only variables are {_WRITTEN}."
        yield path, f"{written} is nothing that is filled in here", meant or known
    again = load_yaml(filled(text, _SAMPLE), source, error=TemplateError)
    if interpolated(again, "") != interpolated(document, _SAMPLE):
        message = f"one of {_WRITTEN} stands in a key or is written with YAML escapes"
        yield (), message, "Write it in a value, as it is."


def _mistakes(document: Mapping[str, Any]) -> Iterator[Mistake]:
    names = _names(document)
    for kind in ("networks", "volumes"):
        for key, entry in document.get(kind, {}).items():
            for path, message, hint in _resource_mistakes(entry or {}):
                yield (kind, key, *path), message, hint
    for service, entry in document[_SERVICES].items():
        for path, message, hint in body.mistakes(entry, names):
            yield (_SERVICES, service, *path), message, hint


def _resource_mistakes(entry: Mapping[str, Any]) -> Iterator[Mistake]:
    if entry.get("external"):
        for key in entry.keys() - {"name", "external"}:
            yield (key,), "does not go with external: true", "Remove one of them."
    elif "name" not in entry:
        hint = "Without it Docker Compose would put the name of the file's folder before it."
        yield (), "the key 'name' is missing", hint
    for key in ("driver_opts", "labels"):
        try:
            pairs(entry.get(key, {}), needed=key == "driver_opts")
        except BadValueError as exc:
            yield (key, *exc.path), exc.message, exc.hint


def _located(mistake: Mistake, lines: Mapping[tuple[Any, ...], int]) -> SchemaProblem:
    path, message, hint = mistake
    line = next((lines[path[:n]] for n in range(len(path), 0, -1) if path[:n] in lines), None)
    return SchemaProblem(path, line, f"{place(path)}: {message}", hint)


def _error(found: list[SchemaProblem], source: str) -> TemplateError:
    said = [
        f"{source}{'' if problem.line is None else f':{problem.line}'}: {problem.message}"
        for problem in found
    ]
    if len(found) == 1:
        return TemplateError(said[0], hint=found[0].hint)
    hinted = [f"{s} ({p.hint})" if p.hint else s for s, p in zip(said, found, strict=True)]
    return TemplateError("\n".join(hinted), hint=f"Mend these {len(found)} mistakes in {source}.")
