"""Hosts that are folders, run by the real helper, and everything that can go wrong with them.

Each command of the controller is carried out by a real shell on a real folder, so that only links,
clocks and processes are make-believe: a link is cut, a controller dies, a command is killed or
frozen before its n-th change, a timer fires, the power goes, somebody else comes.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from shlex import quote
from typing import TYPE_CHECKING, Any

from orchestrator.errors import UnreachableError
from orchestrator.targets import commands
from orchestrator.targets.base import Completed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from orchestrator.targets.base import Part

CHANGING = ("mv", "rm", "ln", "mkdir", "cp", "chmod", "cat", "printf", "echo")
STOPPED = 137
# What a real timer's patience and a lease are here, in seconds of the make-believe clock.
PATIENCE = 3
LONG_AGO = 1_000_000_000


class ControllerDiedError(BaseException):
    """The controller's process ended here: nothing that it still wants to do is done."""


class PromiseBrokenError(BaseException):
    """What must hold does not, told past all that turns errors into outcomes."""


@dataclass(frozen=True, slots=True)
class Fault:
    """Something that happens at a command of the controller; `at` counts changes or attempts."""

    kind: str
    at: int = 0
    more: Any = None


def _counted(stop: tuple[str, int] | None) -> str:
    """Shell text: each change is counted, and before the n-th the shell gets a signal.

    What a subshell does goes on, as it would.
    """
    wake = (
        'sleep() { for frozen in $FROZEN; do kill -CONT "$frozen"; '
        'while started_at "$frozen"; do command sleep 0.005; done; done 2>/dev/null; }\n'
    )
    if stop is None:
        return wake
    name, count = stop
    step = (
        f'changes=0\nstep() {{ changes=$((changes + 1)); [ "$changes" -ne {count} ] || '
        f"! itself || kill -{name} $$; }}\n"
        'itself() { read -r this _ </proc/self/stat && [ "$this" = $$ ]; }\n'
    )
    return wake + step + "".join(f'{c}() {{ step; command {c} "$@"; }}\n' for c in CHANGING)


@dataclass
class Frozen:
    """A command that stands still on the host while its controller believes the link is cut."""

    process: subprocess.Popen[bytes]
    run: str


class FaultyHost:
    """A root folder, and the processes on the host that work in it."""

    def __init__(self, folder: Path, name: str) -> None:
        self.name = name
        self.folder = folder / name
        self.root = self.folder / "root"
        self.folder.mkdir(parents=True)
        self.frozen: list[Frozen] = []
        self.damaged: set[str] = set()
        self.events = 0  # how often somebody else may have changed something
        self.outside = 0  # lines of the audit log when that was last so
        self.silent = 0
        self._hold = self.folder / "hold"
        os.mkfifo(self._hold)
        programs = self.folder / "bin"
        programs.mkdir()
        (programs / "setsid").write_text(f"#!/bin/sh\nexec cat {quote(str(self._hold))}\n")
        (programs / "setsid").chmod(0o755)
        (programs / "sync").symlink_to("/bin/true")
        self._env = {"PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(self.folder)}

    def run(self, script: bytes, stop: tuple[str, int] | None = None) -> Completed:
        """What the host answers to the helper and its calls."""
        done = subprocess.run(
            ["sh", "-s"],
            input=_counted(stop).encode() + script,
            capture_output=True,
            env=self._env | {"FROZEN": self._frozen_pids()},
            check=False,
        )
        status = done.returncode if done.returncode >= 0 else 128 - done.returncode
        return Completed(status, done.stdout.decode(), done.stderr.decode())

    def receive(self, command: str, data: bytes) -> Completed:
        """What the host answers to a command that takes `data`."""
        done = subprocess.run(
            ["sh", "-c", command], input=data, capture_output=True, env=self._env, check=False
        )
        return Completed(done.returncode, done.stdout.decode(), done.stderr.decode())

    def freeze(self, script: bytes, count: int, run: str) -> None:
        """Begin a command and leave it standing before its n-th change."""
        with tempfile.TemporaryFile() as text:
            text.write(_counted(("STOP", count)).encode() + script)
            text.seek(0)
            process = subprocess.Popen(
                ["sh", "-s"],
                stdin=text,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                env=self._env | {"FROZEN": self._frozen_pids()},
            )
        os.waitid(os.P_PID, process.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
        if process.poll() is None:
            self.frozen.append(Frozen(process, run))

    def thaw(self) -> None:
        """Let what stands still go on to its end."""
        while self.frozen:
            one = self.frozen.pop(0)
            late, before = self.owner() not in {None, one.run}, self.current
            with suppress(ProcessLookupError):
                one.process.send_signal(signal.SIGCONT)
            one.process.wait(30)
            assert not late or self.current == before, "who lost the lock changes nothing"

    def kill_all(self) -> None:
        """End every process on the host, as a power cut does."""
        for one in self.frozen:
            one.process.kill()
            one.process.wait(30)
        self.frozen.clear()
        self._release_timers()

    def close(self) -> None:
        """Leave no process behind."""
        self.kill_all()
        shutil.rmtree(self.folder, ignore_errors=True)

    def fire_timers(self, stop: tuple[str, int] | None = None) -> int:
        """The timers of all unconfirmed switches hear nothing for as long as they wait."""
        fired = 0
        for guard in sorted(self.root.glob("lock/armed-*/guard.sh")):
            if not self._alive(guard.parent / "timer"):
                continue
            fired += 1
            self._kill_timer(guard.parent / "timer")
            self._guard(guard, "wait", stop)
        return fired

    def restart(self, *, starts_engine: bool = True) -> None:
        """The power goes and comes back; then what keeps the engine running starts it."""
        self.kill_all()
        if starts_engine and (self.root / "current" / "run").exists():
            subprocess.run(
                ["sh", str(self.root / "current" / "run")],
                capture_output=True,
                env=self._env,
                check=False,
            )

    def change_service(self) -> None:
        """The service is well, refuses its activate command, is not healthy, and so on in turn."""
        refuses, sick = self.folder / "refuses", self.folder / "sick"
        if refuses.exists():
            refuses.rename(sick)
        elif sick.exists():
            sick.unlink()
        else:
            refuses.touch()

    def service_is_well(self) -> None:
        """Whatever was wrong with the service is mended."""
        for name in ("refuses", "sick"):
            (self.folder / name).unlink(missing_ok=True)

    def age_lock(self) -> None:
        """Nothing was heard of the lock's owner for very long."""
        for beat in self.root.glob("lock/beat-*"):
            os.utime(beat, (LONG_AGO, LONG_AGO))

    def _guard(self, guard: Path, word: str, stop: tuple[str, int] | None) -> None:
        relative = str(guard.relative_to(self.root))
        subprocess.run(
            ["sh", "-c", _counted(stop) + '. "./$0"', relative, word],
            cwd=self.root,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=self._env | {"FROZEN": self._frozen_pids()},
            check=False,
        )

    def _frozen_pids(self) -> str:
        return " ".join(str(one.process.pid) for one in self.frozen)

    def _alive(self, signed: Path) -> bool:
        try:
            pid, _started = signed.read_text().split()
            return Path(f"/proc/{pid}").exists()
        except (OSError, ValueError):
            return False

    def _kill_timer(self, signed: Path) -> None:
        with suppress(OSError, ValueError):
            os.kill(int(signed.read_text().split()[0]), signal.SIGKILL)

    def _release_timers(self) -> None:
        """Every timer waits for somebody to write into the pipe."""
        for timer in self.root.glob("lock/*/timer"):
            self._kill_timer(timer)
        with suppress(OSError):
            os.close(os.open(self._hold, os.O_WRONLY | os.O_NONBLOCK))

    # What is there, read without the helper.

    @property
    def current(self) -> str | None:
        link = self.root / "current"
        return os.readlink(link).removeprefix("releases/") if link.is_symlink() else None

    def audit(self) -> list[dict[str, Any]]:
        """All lines, with those that are confirmed and not written yet."""
        log = self.root / "audit.log"
        texts = log.read_text().splitlines() if log.exists() else []
        for line in self.root.glob("lock/kept-*/line"):
            texts += [text for text in line.read_text().splitlines() if text not in texts]
        return [json.loads(text) for text in texts if text]

    def decided(self) -> bool:
        """Whether no switch is unconfirmed, or confirmed or undone only in part."""
        return not [*self.root.glob("lock/armed-*"), *self.root.glob("lock/fired-*")]

    def owner(self) -> str | None:
        """The run that holds the lock."""
        beats = [path.name.removeprefix("beat-") for path in self.root.glob("lock/beat-*")]
        return beats[0] if beats else None

    def incomplete(self, release: str) -> list[str]:
        """The files of a release that are missing or not as its manifest says."""
        manifest = self.root / "releases" / release / "manifest.json"
        if not manifest.is_file():
            return ["manifest.json"]
        files: dict[str, Any] = json.loads(manifest.read_text())["files"]
        return [n for n, f in files.items() if digest(manifest.parent / n) != f["sha256"]]

    def false_blobs(self) -> list[str]:
        """Files of the store that are named as blobs and are none."""
        blobs = (p for p in self.root.glob("store/sha256/*/*") if p.suffix != ".part")
        return [p.name for p in blobs if not p.name.startswith(".") and digest(p) != p.name]

    def snapshot(self) -> dict[str, str]:
        """Everything in the root that a controller can change, by path."""
        found = {}
        for path in self.root.rglob("*"):
            if path.is_symlink():
                found[str(path)] = os.readlink(path)
            elif path.is_file() and path.name not in {"work", "service.log"}:
                found[str(path)] = digest(path)
        return found


def digest(path: Path) -> str:
    """The sha256 of a file, or nothing where there is none."""
    try:
        return hashlib.sha256(path.read_bytes()).hexdigest()
    except OSError:
        return ""


class Clock:
    """Seconds that pass only when somebody waits."""

    def __init__(self) -> None:
        self.now = 0.0

    def monotonic(self) -> float:
        return self.now


@dataclass
class Tally:
    """How often the state machine moved, and what was done to it meanwhile."""

    states: Counter[str] = field(default_factory=Counter)
    faults: Counter[tuple[str, str]] = field(default_factory=Counter)
    outcomes: Counter[str] = field(default_factory=Counter)

    @property
    def transitions(self) -> int:
        return self.states.total() + self.faults.total()

    def table(self) -> list[str]:
        """Fault by state, in columns."""
        kinds = sorted({kind for kind, _ in self.faults})
        states = list(dict.fromkeys([*self.states, *(state for _, state in self.faults)]))
        rows = [["fault", *states, "all"]]
        for kind in kinds:
            counts = [self.faults[kind, state] for state in states]
            rows.append([kind, *map(str, counts), str(sum(counts))])
        rows.append(["entered", *(str(self.states[s]) for s in states), str(self.states.total())])
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        return [
            "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
            for row in rows
        ]


class Controller:
    """A process that works on hosts, with the faults that will befall it, by number of command."""

    def __init__(
        self,
        scene: Scene,
        number: int,
        machine: str,
        faults: Iterable[tuple[int, Fault]] = (),
        verdicts: Iterable[str] = (),
    ) -> None:
        self.scene = scene
        self.run = f"run-{number}"
        self.pid = number
        self.machine = machine
        self.alive = True
        self.away = 0
        self.state = "connect"
        self.session: Any = None
        self.verdicts = list(verdicts)
        self.disturbed = False
        self._faults = dict(faults)
        self._count = 0

    def connect(self, host: FaultyHost) -> FaultyTarget:
        self._check_alive()
        if self.away:
            self.away -= 1
            self.scene.wait(host)
            raise unreachable(host)
        return FaultyTarget(self, host)

    def carry_out(self, target: FaultyTarget, deliver: Callable[[Any], Completed]) -> Completed:
        """A command of this controller, and what happens to it."""
        self._check_alive()
        if target.cut:
            raise unreachable(target.host)
        self._count += 1
        fault = self._faults.pop(self._count, None)
        try:
            if fault is None:
                return deliver(None)
            self.scene.tally.faults[fault.kind, self.state] += 1
            return FAULTS[fault.kind](self, target, deliver, fault)
        except AssertionError as broken:
            raise PromiseBrokenError(str(broken)) from broken

    def _check_alive(self) -> None:
        if not self.alive:
            raise ControllerDiedError

    # The faults.

    def cut(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        """The link breaks before the command arrives; so many attempts to connect fail after."""
        return self._lose(target, fault.at)

    def cut_after(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        deliver(None)
        return self._lose(target, fault.at)

    def die(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        if fault.at:
            deliver(None)
        self.alive = False
        raise ControllerDiedError

    def die_killed(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        deliver(("KILL", fault.at))
        self.alive = False
        raise ControllerDiedError

    def die_frozen(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        deliver(("STOP", fault.at))
        self.alive = False
        raise ControllerDiedError

    def kill(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        return deliver(("KILL", fault.at))

    def kill_cut(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        deliver(("KILL", fault.at))
        return self._lose(target, 0)

    def freeze(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        deliver(("STOP", fault.at))
        return self._lose(target, 0)

    def timer(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        self.scene.outside(target.host)
        target.host.fire_timers(("KILL", fault.at) if fault.at else None)
        return deliver(None)

    def power(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        self.scene.outside(target.host)
        target.host.restart(starts_engine=bool(fault.at))
        return self._lose(target, 0)

    def other(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        """Somebody else does something while this controller sleeps."""
        self.scene.outside(target.host)
        self.disturbed = True
        if fault.at:
            target.host.age_lock()
        fault.more(target.host)
        self.scene.outside(target.host)
        return deliver(None)

    def thaw(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        """What stood still on the host goes on."""
        self.scene.outside(target.host)
        target.host.thaw()
        return deliver(None)

    def halt(self, target: FaultyTarget, deliver: Any, fault: Fault) -> Completed:
        """Ctrl-C twice."""
        if self.session is None:
            return self._lose(target, 0)
        self.session.run.halted.set()
        self.session.halt()
        return self._lose(target, 0)

    def _lose(self, target: FaultyTarget, away: int) -> Completed:
        target.cut = True
        self.away = away
        raise unreachable(target.host)


FAULTS: dict[str, Any] = {
    name: getattr(Controller, name)
    for name in (
        "cut", "cut_after", "die", "die_killed", "die_frozen", "kill", "kill_cut", "freeze",
        "timer", "power", "other", "halt", "thaw",
    )
}  # fmt: skip


class FaultyTarget:
    """A connection to a host that is a folder; see Target."""

    def __init__(self, controller: Controller, host: FaultyHost) -> None:
        self.controller = controller
        self.host = host
        self.cut = False

    def run(self, command: str, *, stdin: bytes = b"", timeout: float, on_line: Any = None):
        def deliver(stop: tuple[str, int] | None) -> Completed:
            if not stdin:
                return self.host.receive(command, b"")
            if stop and stop[0] == "STOP":
                self.host.freeze(stdin, stop[1], self.controller.run)
                return Completed(0, "", "")
            return self.host.run(stdin, stop)

        return self._watched(stdin, deliver)

    def upload(self, command: str, chunks: Iterable[bytes], *, timeout: float, on_sent: Any):
        data = b"".join(chunks)

        def deliver(stop: tuple[str, int] | None) -> Completed:
            arrives = data if stop is None else data[: stop[1]]
            done = self.host.receive(command, arrives)
            on_sent(len(arrives))
            return done if stop is None else Completed(STOPPED, "", "killed")

        return self._watched(b"", deliver)

    def store(self, part: Part, chunks: Iterable[bytes], *, timeout: float, on_sent: Any):
        return self.upload(commands.receive(part), chunks, timeout=timeout, on_sent=on_sent)

    def benchmark(self) -> str:
        """The verdict that is next, over this connection."""

        def deliver(stop: tuple[str, int] | None) -> Completed:
            verdicts = self.controller.verdicts
            return Completed(0, verdicts.pop(0) if verdicts else "pass", "")

        return self.controller.carry_out(self, deliver).stdout

    def close(self) -> None:
        self.cut = True

    def _watched(self, stdin: bytes, deliver: Callable[[Any], Completed]) -> Completed:
        """A controller without the lock changes nothing, unless it takes the lock."""

        def watched(stop: tuple[str, int] | None) -> Completed:
            if takes_lock(stdin) or self.host.owner() == self.controller.run:
                return deliver(stop)
            before = self.host.snapshot()
            done = deliver(stop)
            if not self.host.frozen:
                assert self.host.snapshot() == before, "without the lock nothing is changed"
            return done

        return self.controller.carry_out(self, watched)


def takes_lock(script: bytes) -> bool:
    """Whether the script is one that may change a host whose lock the controller has not."""
    main = script.rpartition(b"main() {\n")[2].lstrip()
    return main.startswith((b"take_lock", b"seize", b"break_lock"))


def unreachable(host: FaultyHost) -> UnreachableError:
    return UnreachableError(f"{host.name}: the link is cut", code="connection_lost")


class Scene:
    """Hosts, the controller that works now, and a clock for all of them."""

    def __init__(self, folder: Path, names: Iterable[str], tally: Tally) -> None:
        self.folder = folder
        self.hosts = {name: FaultyHost(folder, name) for name in names}
        self.tally = tally
        self.clock = Clock()
        self.working: list[Controller] = []
        self.alive: set[int] = set()
        self._number = 1000

    def controller(self, *, machine: str = "here", **faults: Any) -> Controller:
        """A new process, of this machine or another."""
        self._number += 1
        return Controller(self, self._number, machine, **faults)

    def outside(self, host: FaultyHost) -> None:
        """Note that from now on the host may be as no controller has left it."""
        host.events += 1
        host.outside = len(host.audit())

    def wait(self, host: FaultyHost) -> None:
        """A second without a link: a timer may have waited long enough."""
        self.clock.now += 1
        host.silent = (host.silent + 1) % (PATIENCE + 1)
        if not host.silent:
            self.outside(host)
            host.fire_timers()

    def close(self) -> None:
        for host in self.hosts.values():
            host.close()
