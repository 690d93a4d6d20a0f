"""Bringing a lab up, asking after it, and taking it down without leaving anything behind."""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import OrchestrateError, UsageError
from orchestrator.lab import inventory_file
from orchestrator.lab.hosts import lab_hosts
from orchestrator.lab.layout import Layout, make_private, read_json, write_json
from orchestrator.lab.processes import MARK, end_marked

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

FAULTS = ("refuse", "cut-after:BYTES", "new-host-key")
START_SECONDS = 60
ANSWER_SECONDS = 10


@dataclass(frozen=True, slots=True)
class LabHostStatus:
    """A host of a lab; `broken` says how, and is empty for a sound one."""

    name: str
    group: str
    identity: str
    port: int
    broken: str = ""
    up: bool = True


@dataclass(frozen=True, slots=True)
class LabStatus:
    """A lab that is up: the daemon's process id and the hosts."""

    pid: int
    hosts: tuple[LabHostStatus, ...]


def up(
    project: Path,
    counts: dict[str, int],
    *,
    port_base: int = 0,
    latency: float = 0.0,
    rate: int = 0,
) -> LabStatus:
    """Start the lab of `project` and write inventory/lab.yml; what is left of a dead one goes.

    `counts` says how many hosts of each kind. Ports count up from `port_base`, or are any free
    ones when it is 0. `latency` in seconds and `rate` in bytes per second slow every host down.

    Raises UsageError when a lab is up already, OrchestrateError when it does not start.
    """
    _require_servers()
    layout = Layout(project.resolve())
    with _exclusive(layout):
        if there := status(project):
            names = ", ".join(host.name for host in there.hosts)
            raise UsageError(f"a lab is up already: {names}", hint="orchestrate lab down")
        if layout.inventory.exists() and not _is_ours(layout):
            raise UsageError(
                f"{layout.inventory} exists and is not of a lab",
                hint="Move it away: the lab writes its hosts there.",
            )
        _remove(layout)
        try:
            return _start(layout, counts, port_base=port_base, latency=latency, rate=rate)
        except BaseException:
            _remove(layout)
            raise


def status(project: Path) -> LabStatus | None:
    """The lab of `project`, or None when none is up."""
    layout = Layout(project.resolve())
    plan, running = read_json(layout.plan), read_json(layout.running)
    answer = _ask(layout, {"do": "status"}) if plan and running else None
    if answer is None:
        return None
    return LabStatus(
        pid=answer["pid"],
        hosts=tuple(
            LabHostStatus(
                name=host.name,
                group=host.group,
                identity=host.identity.name,
                port=running["hosts"][host.name]["port"],
                broken=answer["broken"].get(host.name, ""),
                up=host.name not in answer["down"],
            )
            for host in lab_hosts(plan["hosts"])
        ),
    )


def down(project: Path) -> bool:
    """Stop the lab of `project` and delete all of it; False when there was nothing.

    Works as well on what a killed `up` or a dead daemon left.
    """
    layout = Layout(project.resolve())
    if not layout.folder.exists() and not _is_ours(layout):
        return False
    with _exclusive(layout):
        _remove(layout)
    with contextlib.suppress(OSError):
        layout.folder.parent.rmdir()
    return True


def take_down(project: Path, hosts: Sequence[str]) -> None:
    """Switch hosts off: connections and all that runs there end, their files stay.

    Raises UsageError, and switches none off, for an unknown host or when no lab is up.
    """
    _tell(project, hosts, {"do": "down", "hosts": [*hosts]})


def bring_up(project: Path, hosts: Sequence[str]) -> None:
    """Undo `take_down`; raises UsageError for an unknown host or when no lab is up."""
    _tell(project, hosts, {"do": "up", "hosts": [*hosts]})


def break_host(project: Path, host: str, how: str) -> None:
    """Make new connections to `host` fail: `refuse`, `cut-after:BYTES` or `new-host-key`.

    Raises UsageError for an unknown host or fault, or when no lab is up.
    """
    fault, _, number = how.partition(":")
    wants_number = fault == "cut-after"
    if fault not in {name.partition(":")[0] for name in FAULTS} or (
        bool(number) != wants_number or (wants_number and not number.isdecimal())
    ):
        raise UsageError(f"cannot break a host by '{how}'", hint=f"One of: {', '.join(FAULTS)}.")
    _tell(project, [host], {"do": "break", "host": host, "how": how})


def mend_host(project: Path, host: str) -> None:
    """Undo `break_host`; raises UsageError for an unknown host or when no lab is up."""
    _tell(project, [host], {"do": "mend", "host": host})


def _tell(project: Path, hosts: Sequence[str], request: dict[str, Any]) -> None:
    there = status(project)
    if there is None:
        raise UsageError("no lab is up", hint="orchestrate lab up")
    known = {host.name: None for host in there.hosts}
    for host in hosts:
        if host not in known:
            hint = f"Its hosts: {', '.join(known)}."
            raise UsageError(f"the lab has no host '{host}'", hint=hint)
    answer = _ask(Layout(project.resolve()), request) or {}
    if "error" in answer:
        raise OrchestrateError(f"lab: {answer['error']}", hint="See .orchestrate/lab/daemon.log.")


def _start(
    layout: Layout, counts: dict[str, int], *, port_base: int, latency: float, rate: int
) -> LabStatus:
    token = secrets.token_hex(16)
    make_private(layout.folder)
    plan = {"token": token, "hosts": counts, "port_base": port_base}
    write_json(layout.plan, {**plan, "latency": latency, "rate": rate})
    with layout.log.open("wb") as log:
        try:
            started = subprocess.run(
                [sys.executable, "-m", "orchestrator.lab.daemon", str(layout.project)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, MARK: token},
                timeout=START_SECONDS,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise OrchestrateError(
                f"the lab did not start within {START_SECONDS} s", hint="Ask for fewer hosts."
            ) from exc
    if started.returncode:
        lines = layout.log.read_text(encoding="utf-8", errors="replace").strip().splitlines()
        raise OrchestrateError(
            f"the lab did not start: {lines[-1] if lines else 'its daemon died'}",
            hint="With --port-base: are those ports free?" if port_base else "",
        )
    hosts = read_json(layout.running)["hosts"]
    keys = {name: (host["port"], host["host_key"]) for name, host in hosts.items()}
    layout.known_hosts.write_text(inventory_file.known_hosts(keys), encoding="utf-8")
    layout.inventory.parent.mkdir(exist_ok=True)
    ports = {name: port for name, (port, _) in keys.items()}
    layout.inventory.write_text(
        inventory_file.inventory(layout, lab_hosts(counts), ports), encoding="utf-8"
    )
    there = status(layout.project)
    if there is None:
        raise OrchestrateError("the lab came up and died", hint="Run `orchestrate lab up` again.")
    return there


def _remove(layout: Layout) -> None:
    """End every process of the lab and delete its files, whatever state it is in."""
    token = read_json(layout.plan).get("token")
    if token:
        _ask(layout, {"do": "stop"})
        end_marked(token)
    if _is_ours(layout):
        layout.inventory.unlink()
    if layout.folder.exists():
        subprocess.run(["chmod", "-R", "u+rwX", str(layout.folder)], check=False)
        shutil.rmtree(layout.folder)


def _is_ours(layout: Layout) -> bool:
    try:
        return layout.inventory.read_text(encoding="utf-8").startswith(inventory_file.HEADER)
    except OSError:
        return False


def _ask(layout: Layout, request: dict[str, Any]) -> dict[str, Any] | None:
    """The daemon's answer to one request, or None when it does not live."""
    port, token = read_json(layout.running).get("control_port"), read_json(layout.plan)["token"]
    if not port:
        return None
    line = json.dumps({**request, "token": token}).encode() + b"\n"
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=ANSWER_SECONDS) as connection:
            connection.sendall(line)
            answer = json.loads(connection.makefile("rb").readline())
    except (OSError, ValueError):
        return None
    known = isinstance(answer, dict) and answer.get("error") != "not the token of this lab"
    return answer if known else None


@contextlib.contextmanager
def _exclusive(layout: Layout) -> Iterator[None]:
    """Hold the project's lab for one command at a time; released even by a killed process."""
    folder = layout.folder.parent
    folder.mkdir(exist_ok=True)
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(
                "another command is bringing this lab up or down", hint="Try again in a moment."
            ) from None
        yield
    finally:
        os.close(descriptor)


def _require_servers() -> None:
    if importlib.util.find_spec("asyncssh") is None:
        raise UsageError(
            "the lab needs asyncssh, which is not installed",
            hint="pip install asyncssh numpy onnx onnxruntime",
        )
