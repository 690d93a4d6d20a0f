"""The real `orchestrate` command in a process of its own, which can be held at a step of a rollout.

The processes are forked from one that has imported everything, so that a command takes as long as
its work. A step is a state as the events name it, `started` (the run), `finished` (a host) or
`ended` (the run): `verify` is the moment when it was announced and written down and nothing of it
was done, `after verify` the one when it was done and nothing further was announced. `verify 2` is
the second time.
"""

from __future__ import annotations

import datetime as dt
import json
import multiprocessing
import os
import signal
import sys
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import wait
from typing import TYPE_CHECKING, Any

from orchestrator.events import EventBus, HostFinished, RunFinished, RunStarted, StateEntered

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from multiprocessing.connection import Connection
    from pathlib import Path
    from typing import Self

    from orchestrator.events import Event

PATIENCE = 60.0  # seconds for a command to reach its step, or to end
PRELOADED = [
    "docker",
    "fabric",
    "jinja2",
    "orchestrator.cli.deploy",
    "orchestrator.cli.live",
    "orchestrator.fleet.inventory",
    "orchestrator.history",
    "orchestrator.history.store",
    "orchestrator.models.catalog",
    "orchestrator.rollout.fleet_run",
    "orchestrator.targets.ssh",
    "rich.console",
    "sqlalchemy.dialects.sqlite",
    "tests.controller",
]
_FORKED = multiprocessing.get_context("forkserver")
_FORKED.set_forkserver_preload(PRELOADED)
_one_at_a_time = threading.Lock()  # a process is begun or reaped


@dataclass(frozen=True)
class Answer:
    """What a command came to: exit status, its JSON document, and what it said on stderr."""

    code: int
    document: Any
    stderr: str

    @property
    def hosts(self) -> dict[str, Any]:
        return self.document["hosts"]

    @property
    def error(self) -> dict[str, str]:
        return self.document["error"]

    def statuses(self) -> dict[str, str]:
        return {name: host["status"] for name, host in self.hosts.items()}


@dataclass(frozen=True, slots=True)
class Step:
    """A moment of a rollout; see the module."""

    state: str
    time: int = 1
    acted: bool = False

    @classmethod
    def named(cls, text: str) -> Self:
        """The step that `after verify 2` names."""
        words = text.split()
        acted = words[0] == "after"
        state, *time = words[1:] if acted else words
        return cls(state, int(time[0]) if time else 1, acted)


class Controller:
    """A running command; it waits at `step` until `go`."""

    def __init__(self, words: Sequence[str], folder: Path, step: str = "") -> None:
        self._out, self._err = folder / "stdout", folder / "stderr"
        with _one_at_a_time:
            self._gate, theirs = _FORKED.Pipe()
            self._process = _FORKED.Process(
                target=run_command,
                args=(list(words), environment(), str(self._out), str(self._err), theirs, step),
            )
            self._process.start()
            theirs.close()

    @property
    def pid(self) -> int:
        """Of the command."""
        assert self._process.pid is not None
        return self._process.pid

    def reached(self) -> bool:
        """Whether it stands at its step now; False when it ended without."""
        assert self._gate.poll(PATIENCE), f"neither reached nor ended: {self.said()}"
        try:
            self._gate.recv()
        except (EOFError, ConnectionResetError):
            return False
        return True

    def go(self, *, clock: float = 0.0) -> None:
        """Let it go on, with its clock set that many seconds on."""
        self._gate.send(clock)

    def signal(self, number: signal.Signals) -> None:
        """Send it a signal."""
        os.kill(self.pid, number)

    def kill(self) -> Answer:
        """End it with SIGKILL."""
        self.signal(signal.SIGKILL)
        return self.finish()

    def finish(self, patience: float | None = PATIENCE) -> Answer:
        """What it came to, once it has ended; the code is negative when a signal ended it.

        `patience` None waits as long as the test may take.
        """
        wait([self._process.sentinel], patience)
        with _one_at_a_time:
            self._process.join(0)
            code = self._process.exitcode
            if code is None:
                self._process.kill()
                raise AssertionError(f"did not end: {self.said()}")
            self._gate.close()
            self._process.close()
        printed = self._out.read_text()
        assert "Traceback" not in self.said(), self.said()
        return Answer(code, json.loads(printed) if printed else None, self.said())

    def said(self) -> str:
        """What it has written to stderr so far."""
        return self._err.read_text() if self._err.exists() else ""


def environment() -> dict[str, str]:
    """What a command is given of this process's environment."""
    return {k: v for k, v in os.environ.items() if not k.startswith(("SSH_", "ORCHESTRATE_"))}


def run_command(
    words: list[str], given: dict[str, str], out: str, err: str, gate: Connection, step: str
) -> None:
    """Be the command; called in a process made for it."""
    from orchestrator.cli import main

    os.environ.clear()
    os.environ.update(given)
    for path, descriptor in ((os.devnull, 0), (out, 1), (err, 2)):
        opened = os.open(path, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(opened, descriptor)
        os.close(opened)
    if step:
        hold_at(Step.named(step), lambda: wait_at(gate))
    sys.argv = ["orchestrate", *words]
    main()


def hold_at(step: Step, wait: Callable[[], None]) -> None:
    """Have `wait` called once, in the thread that comes to the step."""
    publish = EventBus.publish
    seen = 0
    held = False

    def held_publish(bus: EventBus, event: Event) -> None:
        nonlocal seen, held
        name = name_of(event)
        due = seen >= step.time and not held
        if due and step.acted and name:
            held = True
            wait()
        publish(bus, event)
        seen += name == step.state
        if seen >= step.time and not held and not step.acted:
            held = True
            wait()

    EventBus.publish = held_publish  # type: ignore[method-assign]


def name_of(event: Event) -> str:
    """The event's name among the steps; "" where it is none."""
    if isinstance(event, StateEntered):
        return event.state
    names: dict[type, str] = {RunStarted: "started", HostFinished: "finished", RunFinished: "ended"}
    return names.get(type(event), "")


def wait_at(gate: Connection) -> None:
    """Say that the step is reached, wait for the word to go on, and set the clock as it says."""
    gate.send("reached")
    shift = gate.recv()
    if shift:
        set_clock(shift)


def set_clock(shift: float) -> None:
    """Let this process read a time of day that many seconds off."""
    true_time = time.time

    class Shifted(dt.datetime):
        @classmethod
        def now(cls, tz: Any = None) -> Self:
            return cls.fromtimestamp(true_time() + shift, tz)

    time.time = lambda: true_time() + shift
    for name, module in list(sys.modules.items()):
        if name.startswith("orchestrator") and hasattr(module, "datetime"):
            module.datetime = Shifted  # type: ignore[attr-defined]
