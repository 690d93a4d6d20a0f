"""Mistakes in what an inventory says of Docker hosts."""

from __future__ import annotations

import re
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from orchestrator.errors import InventoryError
from orchestrator.fleet.image import HINT as IMAGE_HINT
from orchestrator.fleet.image import image_source
from orchestrator.fleet.urls import without_password
from orchestrator.listing import names

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.fleet.host import Host, Inventory

_CONNECTION = "ansible_connection"
ENGINE = "orchestrate_docker_host"
IMAGE = "orchestrate_image"
CONTAINER = "orchestrate_container"
ONLY_THERE = (ENGINE, "orchestrate_docker_tls", IMAGE, CONTAINER)
_WAYS = {"unix", "ssh", "tcp", "https"}
_WAYS_HINT = (
    "Write unix:///var/run/docker.sock, ssh://user@host, tcp://host:2376, or the name of a docker "
    "context."
)
_PLAIN = re.compile(r"http://|tcp://[^/]*:2375/?$")


class Mistake(NamedTuple):
    """What is wrong; `variable` and `value` say what to look for, both empty when it is missing."""

    host: str
    variable: str
    value: str
    message: str
    hint: str


def mistakes(inventory: Inventory) -> Iterator[Mistake]:
    """What is missing on Docker hosts, what is no good there, and what has no effect elsewhere."""
    known = [host for host in inventory.hosts.values() if "{{" not in _text(host, _CONNECTION)]
    there = [host for host in known if _text(host, _CONNECTION) == "docker"]
    for host in there:
        yield from _of_docker_host(host)
    yield from _twins(there)
    # What a group gives to Docker hosts and to others as well is meant for the former.
    meant = {(name, _text(host, name)) for host in there for name in ONLY_THERE}
    idle: defaultdict[tuple[str, str], list[str]] = defaultdict(list)
    for host in known:
        for name in ONLY_THERE:
            value = _text(host, name)
            if host not in there and value and (name, value) not in meant:
                idle[name, value].append(host.name)
    for (name, value), hosts in idle.items():
        yield Mistake(
            hosts[0],
            name,
            value,
            f"'{name}' has no effect on {names(hosts)}: ansible_connection is not docker",
            "Write ansible_connection: docker beside it, or take it out.",
        )


def _text(host: Host, name: str) -> str:
    value = host.vars.get(name)
    return "" if value is None else str(value)


def _twins(hosts: list[Host]) -> Iterator[Mistake]:
    """Hosts that are the same container of the same Docker Engine."""
    seen: dict[tuple[str, str], str] = {}
    for host in hosts:
        engine, name = _text(host, ENGINE), _text(host, CONTAINER) or "orchestrate"
        other = seen.setdefault((engine, name), host.name)
        if engine and "{{" not in engine + name and other != host.name:
            yield Mistake(
                host.name,
                ENGINE,
                engine,
                f"it is container '{name}' of the same Docker Engine as {other}",
                "Give each an orchestrate_container of its own.",
            )


def _of_docker_host(host: Host) -> Iterator[Mistake]:
    for name, hint in ((ENGINE, _WAYS_HINT), (IMAGE, IMAGE_HINT)):
        if not _text(host, name):
            yield Mistake(host.name, "", "", f"Docker host '{host.name}' has no {name}", hint)
    engine, image = _text(host, ENGINE), _text(host, IMAGE)
    scheme, is_url, _ = engine.partition("://")
    shown = without_password(engine)
    if _PLAIN.match(engine):
        yield Mistake(
            host.name,
            ENGINE,
            engine,
            f"{ENGINE} is '{shown}', plain TCP: whoever gets there is root on that machine",
            "Give the Docker Engine certificates (docs/docker-certificates.md) and write "
            "tcp://host:2376; or write ssh://user@host.",
        )
    elif is_url and scheme not in _WAYS and "{{" not in engine:
        message = f"{ENGINE} is '{shown}': '{scheme}' is no way to a Docker Engine here"
        yield Mistake(host.name, ENGINE, engine, message, _WAYS_HINT)
    if image and "{{" not in image:
        try:
            image_source(host.name, image, Path())
        except InventoryError as exc:
            message = exc.message.removeprefix(f"{host.name}: ")
            yield Mistake(host.name, IMAGE, image, message, exc.hint)
