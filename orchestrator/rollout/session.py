"""One open conversation with one host: what a run can ask of it, step by step."""

from __future__ import annotations

import contextlib
import getpass
import os
import socket
import threading
import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Literal

from orchestrator import targets
from orchestrator.errors import CommandError, HostError, LockedError, TransferError
from orchestrator.events import Event, Progress, StateEntered
from orchestrator.fleet import probe
from orchestrator.planning.release import MANIFEST, read
from orchestrator.rollout.host_state import HostState, host_state
from orchestrator.targets import commands

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path
    from typing import Self

    from orchestrator.fleet.facts import Facts
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Blob, Release
    from orchestrator.targets.base import Completed
    from orchestrator.targets.connection import ConnectionSpec

SLICE = 256 * 1024
LOCK_HOURS = 1
MAX_PID = 2**31


@dataclass(frozen=True, slots=True)
class Run:
    """What all hosts of a run share: its id, what was asked, by whom, and who listens.

    `command_timeout` is in seconds, for the commands of the helper; hashing a large blob on a slow
    card counts into it. `revert_after` is in seconds too (see Strategy), `keep` counts releases.
    `halted` is set when everything has to stop at once.
    """

    id: str
    command: str
    publish: Callable[[Event], None]
    command_timeout: float = 60.0
    revert_after: float = 60.0
    keep: int = 3
    inconclusive: Literal["rollback", "keep"] = "rollback"
    halted: threading.Event = field(default_factory=threading.Event)

    @staticmethod
    def who() -> str:
        """The operator as `user@machine`."""
        try:
            user = getpass.getuser()
        except (KeyError, OSError):
            user = "unknown"
        return f"{user}@{socket.gethostname()}"


class HostSession:
    """A connection to a host and the steps a run takes there; making one connects."""

    def __init__(self, run: Run, spec: ConnectionSpec) -> None:
        self.run = run
        self.spec = spec
        self.seconds: dict[str, float] = {}
        self.bytes_sent = 0
        self.root = spec.root
        self._entered = ("", 0.0)
        self._locked = False
        self.enter("connect")
        self.target = targets.connect(spec)

    @property
    def name(self) -> str:
        """The host's name in the inventory."""
        return self.spec.name

    def enter(self, state: str, release: str | None = None, detail: str = "") -> None:
        """Say that the host is about to do `state`, and time what came before."""
        self._stop_clock()
        self.run.publish(
            StateEntered(
                run=self.run.id, host=self.name, state=state, release=release, detail=detail
            )
        )
        self._entered = (state, time.monotonic())

    def _stop_clock(self) -> None:
        state, since = self._entered
        if state:
            self.seconds[state] = self.seconds.get(state, 0.0) + time.monotonic() - since
        self._entered = ("", 0.0)

    def survey(self) -> tuple[HostState, Facts]:
        """State and facts in one round trip; touches nothing."""
        self.enter("facts")
        completed = self._helper(commands.survey(self.root, self.spec.python))
        state = host_state(commands.answers(completed, self.name))
        self.root = state.root
        return state, probe.parse(completed.stdout)

    def state(self) -> Present:
        """What is on the host now; touches nothing."""
        return host_state(self._answers(commands.state(self.root))).present

    def take_lock(self) -> Present:
        """Take the lock; the state again, now that nobody else can change it.

        Raises LockedError, or PreflightError where the root cannot be written.
        """
        self.enter("lock")
        now = datetime.now(UTC)
        owner = {
            "run": self.run.id,
            "who": Run.who(),
            "pid": os.getpid(),
            "command": self.run.command,
            "since": now.isoformat(timespec="seconds"),
            "until": datetime.fromtimestamp(now.timestamp() + LOCK_HOURS * 3600, UTC).isoformat(
                timespec="seconds"
            ),
        }
        take = commands.take_lock(self.root, owner)
        try:
            answers = self._answers(take)
        except LockedError as held:
            if not _left_behind(held.owner):
                raise
            run = str(held.owner.get("run", ""))
            self.enter(
                "lock", detail=f"run {run} of this machine is no more: its lock is taken over"
            )
            self.break_lock(run)
            answers = self._answers(take)
        self._locked = True
        return host_state(answers).present

    def break_lock(self, run: str = "") -> None:
        """Remove the lock of `run`, or whoever holds it."""
        self._answers(commands.break_lock(self.root, run))

    def send_blob(self, blob: Blob, path: Path, offset: int) -> None:
        """Stream a blob from `offset` into its `.part`.

        Raises TransferError when the host stops taking it, UnreachableError when the link breaks.
        """
        done = offset

        def sent(count: int) -> None:
            nonlocal done
            done += count
            self.bytes_sent += count
            self.run.publish(
                Progress(
                    run=self.run.id, host=self.name, what=blob.name, done=done, total=blob.size
                )
            )

        completed = self.target.upload(
            commands.receive(self.root, blob.sha256, offset),
            _slices(path, offset),
            timeout=self.run.command_timeout,
            on_sent=sent,
        )
        if completed.exit_status != 0:
            said = completed.stderr.strip().splitlines()
            raise TransferError(
                f"{self.name} stopped taking {blob.name} after {done} of {blob.size} bytes"
                + (f": {said[-1]}" if said else ""),
                code="transfer_stopped",
                hint=f"Look at the disk: orchestrate facts --limit {self.name} --refresh",
            )

    def stage(self, release: Release) -> None:
        """Have the host check what arrived and put the release folder together."""
        self._answers(commands.stage(self.root, self.run.id, release))

    def activate(
        self,
        release: str | None,
        *audit: Mapping[str, object],
        check: Mapping[str, str] | None = None,
    ) -> None:
        """Switch `current` to a staged release, or to none, and write the audit lines.

        `check` maps files of the release to the sha256 that they must have; PreflightError if not.
        """
        script = commands.activate(self.root, self.run.id, release, *audit, check=check)
        self._answers(script)

    def committed(self, release: str) -> bool:
        """Whether the last thing written on the host is this run's commit of the release."""
        audit = self.state().audit
        last = audit[-1] if audit else {}
        done = (last.get("what"), last.get("run"), last.get("release"))
        self._locked = self._locked and done != ("commit", self.run.id, release)
        return done == ("commit", self.run.id, release)

    def commit(
        self, release: str, verdict: str, metrics: dict[str, float], *, what: str = "commit"
    ) -> None:
        """Write the verdict on the host and let go of the lock."""
        audit = self.audit(what, release, verdict=verdict, metrics=metrics)
        self._answers(commands.commit(self.root, self.run.id, audit))
        self._locked = False

    def read_release(self, release_id: str) -> Release:
        """A release on the host, as its manifest.json describes it.

        Raises CommandError when it cannot be read and ModelError when it is damaged.
        """
        path = f"{self.root}/releases/{release_id}/{MANIFEST}"
        completed = self.target.run(commands.read_file(path), timeout=self.run.command_timeout)
        if completed.exit_status != 0:
            raise CommandError(
                f"{path} on {self.name} cannot be read: {completed.stderr.strip()}",
                hint=f"Deploy anew: orchestrate deploy --limit {self.name}",
            )
        return read(release_id, completed.stdout)

    def audit(self, what: str, release: str | None, **more: object) -> dict[str, object]:
        """One line for the host's audit.log: when, who, what, release, verdict."""
        return {
            "when": datetime.now(UTC).isoformat(timespec="seconds"),
            "who": Run.who(),
            "run": self.run.id,
            "command": self.run.command,
            "what": what,
            "release": release,
            **{k: v for k, v in more.items() if v},
        }

    def reconnect(self) -> None:
        """Open the connection again after it broke; raises UnreachableError."""
        self.target.close()
        self.target = targets.connect(self.spec)

    def close(self) -> None:
        """Let go of the lock if it is still held, and of the connection; never raises.

        A lock that cannot be let go of is told by `status` and taken over by the next run.
        """
        self._stop_clock()
        if self._locked:
            drop = commands.drop_lock(self.root, self.run.id)
            try:
                self._helper(drop)
            except HostError:
                with contextlib.suppress(HostError):
                    self.reconnect()
                    self._helper(drop)
            self._locked = False
        self.target.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _helper(self, script: bytes) -> Completed:
        return self.target.run(commands.SHELL, stdin=script, timeout=self.run.command_timeout)

    def _answers(self, script: bytes) -> list[commands.Answer]:
        return commands.answers(self._helper(script), self.name)


def _slices(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(SLICE):
            yield piece


def _left_behind(owner: dict[str, Any]) -> bool:
    """Whether the lock is from a process of this machine and user that is no more."""
    pid = owner.get("pid")
    if owner.get("who") != Run.who() or not isinstance(pid, int) or not 0 < pid < MAX_PID:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
