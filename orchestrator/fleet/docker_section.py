"""The section `docker:` of a profile."""

from __future__ import annotations

import re
from ipaddress import ip_address
from typing import TYPE_CHECKING, Any

from orchestrator.fleet.profile import DockerSpec
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    Mistakes = Iterator[tuple[tuple[Any, ...], str, str]]

LOOPBACK = "127.0.0.1"
EVERYWHERE = frozenset({"0.0.0.0", "::"})  # noqa: S104 - compared with
LAST_PORT = 65535
# Networks of the Docker Engine itself, on which a container has no other name.
BUILT_IN = frozenset({"bridge", "default", "host", "none"})
_PINNED = re.compile(r"(^|.@)sha256:[0-9a-f]{64}$")
_PORT = re.compile(
    r"(?:(?:(?P<address>\[[^\]]+\]|[^:\[\]]+):)?(?P<published>\d+):)?(?P<target>\d+)"
)


def mistakes(
    entry: Mapping[str, Any], here: tuple[Any, ...], templates: frozenset[str]
) -> Mistakes:
    """What a schema cannot say of a section: ports, networks, images, the compose template."""
    yield from _port_mistakes(entry.get("ports", []), (*here, "ports"))
    name = entry.get("compose", "")
    if name and name not in templates:
        known = f"In templates/ are: {', '.join(sorted(templates)) or 'none'}."
        hint = did_you_mean(name, templates) or known
        yield (*here, "compose"), f"there is no templates/{name}", hint
    front = entry.get("front", "")
    if front and not _PINNED.search(front):
        hint = "Write NAME@sha256:DIGEST, or sha256:ID of an image that is on every such host."
        yield (*here, "front"), f"'{front}' can change what it names", hint
    network = entry.get("network", "")
    if network in BUILT_IN:
        hint = "Make one (docker network create NAME), and name that."
        yield (*here, "network"), f"in the network {network} containers have no names", hint
    elif network and not (entry.get("ports") or entry.get("expose")):
        hint = "Add `expose:` with the ports that are reached from there, or remove `network:`."
        yield (*here, "network"), "no port is reached from there", hint


def _port_mistakes(ports: list[Any], here: tuple[Any, ...]) -> Mistakes:
    seen: dict[str, list[str]] = {}
    for index, port in enumerate(ports):
        problem = _port_problem(port)
        if problem:
            hint = "Write PORT, PUBLISHED:TARGET or IP:PUBLISHED:TARGET, in quotes."
            yield (*here, index), f"'{port}': {problem}", hint
            continue
        address, published, _ = split(published_port(port))
        others = seen.setdefault(published, [])
        same = next((a for a in others if a == address or {a, address} & EVERYWHERE), None)
        if same is not None:
            hint = "Give each published port once for an address."
            yield (*here, index), f"port {published} of {same} is published already", hint
        others.append(address)


def _port_problem(port: Any) -> str:
    found = _PORT.fullmatch(_text(port))
    if found is None:
        return "is no port"
    for number in filter(None, (found["published"], found["target"])):
        if not 0 < int(number) <= LAST_PORT:
            return f"{number} is not a port from 1 to {LAST_PORT}"
    address = found["address"]
    try:
        ip_address((address or LOOPBACK).strip("[]"))
    except ValueError:
        return f"{address} is no IP address"
    return ""


def published_port(port: Any) -> str:
    """`IP:PUBLISHED:TARGET` of a port as the section has it; on loopback unless it says otherwise.

    An IPv6 address has brackets.
    """
    found = _PORT.fullmatch(_text(port))
    assert found is not None  # noqa: S101 - `mistakes` has seen it
    address = ip_address((found["address"] or LOOPBACK).strip("[]"))
    shown = f"[{address}]" if address.version == 6 else str(address)  # noqa: PLR2004
    target = int(found["target"])
    return f"{shown}:{int(found['published'] or target)}:{target}"


def _text(port: Any) -> str:
    """The port as text: to JSON Schema 80.0 is a whole number too."""
    return port if isinstance(port, str) else str(int(port))


def split(port: str) -> tuple[str, str, str]:
    """Address (without brackets), published and target port of a `published_port`."""
    address, published, target = port.rsplit(":", 2)
    return address.strip("[]"), published, target


def spec(entry: Mapping[str, Any]) -> DockerSpec:
    """The section as planning has it: numbers and ports that mean the same are the same."""
    of: dict[str, Callable[[Any], Any]] = {
        "ports": lambda ports: tuple(published_port(port) for port in ports),
        "expose": lambda ports: tuple(dict.fromkeys(int(port) for port in ports)),
        "gpu_memory_mb": int,
        "memory_mb": int,
        "cpus": float,
        "watch": float,
        "drain": float,
    }
    return DockerSpec(**{key: of.get(key, str)(value) for key, value in entry.items()})
