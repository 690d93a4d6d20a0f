"""One open conversation with one host: what a run can ask of it, step by step."""

from __future__ import annotations

import contextlib
import threading
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Literal

from orchestrator import targets
from orchestrator.errors import (
    CommandError,
    HaltedError,
    HostError,
    LockedError,
    TransferError,
    UnreachableError,
)
from orchestrator.events import Event, Progress, StateEntered
from orchestrator.planning.present import Present
from orchestrator.planning.release import MANIFEST, read
from orchestrator.rollout import this_process
from orchestrator.rollout.heartbeat import Heartbeat
from orchestrator.rollout.host_state import HostState, host_state
from orchestrator.targets import commands
from orchestrator.targets.base import Part

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import Self

    from orchestrator.fleet.facts import Facts
    from orchestrator.planning.release import Blob, Release
    from orchestrator.rollout.services.base import Service
    from orchestrator.targets.base import Completed
    from orchestrator.targets.connection import ConnectionSpec

SLICE = 256 * 1024
HALT_SECONDS = 5.0  # what a host gets to stop its work when everything has to stop at once
# After these the connection may be dead while the host is well.
MAYBE_CUT = (UnreachableError, CommandError)
RECONNECT_PAUSE = 1.0


@dataclass(frozen=True, slots=True)
class Run:
    """What all hosts of a run share: its id, what was asked, by whom, and who listens.

    `command_timeout` is in seconds, for the commands of the helper; hashing a large blob on a slow
    card counts into it. `revert_after` is in seconds too (see Strategy), `keep` counts releases.
    `halted` is set when everything has to stop at once. On Docker hosts `images` says whether an
    image that is missing is brought, `allow_tag` whether one may be named by a tag; compose files
    are written out into the folder `compose_files`.
    """

    id: str
    command: str
    publish: Callable[[Event], None]
    command_timeout: float = 60.0
    revert_after: float = 60.0
    keep: int = 3
    inconclusive: Literal["rollback", "keep"] = "rollback"
    images: Literal["find", "bring"] = "find"
    allow_tag: bool = False
    compose_files: Path | None = None
    halted: threading.Event = field(default_factory=threading.Event)


class HostSession:
    """A connection to a host and the steps a run takes there; making one connects."""

    def __init__(
        self, run: Run, spec: ConnectionSpec, runs_releases: Callable[[HostSession], Service]
    ) -> None:
        """`runs_releases` makes the host's Service.

        `seen` is the state that was found last, once the lock was taken.
        """
        self.run = run
        self.spec = spec
        self.seconds: dict[str, float] = {}
        self.bytes_sent = 0
        self.root = spec.root
        self.halt_told = ""
        self.seen: Present | None = None
        self._entered = ("", 0.0)
        self._locked = False
        self._heartbeat: Heartbeat | None = None
        self._one_at_a_time = threading.Lock()
        self.enter("connect")
        self.target = targets.connect(spec)
        self.service = runs_releases(self)

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
        """State and facts in one round trip; nothing that runs is touched.

        On a Docker host that has a keeper started, and the image brought where `run.images` says
        so.
        """
        self.enter("facts")
        self.service.prepare()
        if self.service.untouched:
            return HostState(self.root, Present()), self.service.facts("")
        completed = self._helper(commands.survey(self.root, self.spec.python))
        state = host_state(commands.answers(completed, self.name))
        self.root = state.root
        return state, self.service.facts(completed.stdout)

    def state(self) -> Present:
        """What is on the host now; touches nothing."""
        return host_state(self.ask(commands.state(self.root))).present

    def take_lock(self) -> Present:
        """Take the lock; the state again, now that nobody else can change it.

        A lock whose owner is gone is taken over, with the switch that was left unconfirmed: it is
        then `armed` in the state. Raises LockedError, or PreflightError where the root cannot be
        written.
        """
        self.enter("lock")
        self._locked = True  # also if the answer is lost
        owner = this_process.owner(self.run.id, self.run.command, self.run.revert_after)
        try:
            answers = self.ask(commands.take_lock(self.root, self.run.id, owner))
        except LockedError as held:
            seconds = this_process.seconds_to_watch(held.owner)
            if seconds is None:
                self._locked = False
                raise
            before = str(held.owner.get("run", ""))
            self.enter("lock", detail=f"run {before} is no more: its lock is taken over")
            seize = commands.seize(self.root, self.run.id, owner, before, seconds)
            answers = self.ask(seize, timeout=self.run.command_timeout + seconds)
        if self._heartbeat is not None:
            self._heartbeat.end()
        self._heartbeat = Heartbeat(
            lambda: self.target, self.root, self.run.id, revert_after=self.run.revert_after
        )
        self.seen = host_state(answers).present
        if self.seen.armed is None:
            self.service.settle(self.seen)
        return self.seen

    def break_lock(self) -> None:
        """Remove the lock of whoever holds it, after undoing what they left unconfirmed."""
        self.ask(commands.break_lock(self.root, f"unlocked by {this_process.who()}"))

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

        completed = self.target.store(
            Part(self.root, self.run.id, blob.sha256, offset, blob.size),
            _slices(path, offset),
            timeout=self.run.command_timeout,
            on_sent=sent,
        )
        if completed.exit_status == commands.NOT_OURS:
            raise LockedError(
                f"the lock on {self.name} is not held by run {self.run.id} any more",
                code="lock_lost",
                hint=f"See who has it: orchestrate status --limit {self.name}",
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
        self.ask(commands.stage(self.root, self.run.id, release))

    def activate(
        self, release: Release, back: str | None, check: Mapping[str, str] | None = None
    ) -> None:
        """Switch `current` to a staged release; unless confirmed the host goes to `back` by itself.

        `check` maps files of the release to the sha256 that they must have; PreflightError if not.
        """
        script = commands.activate(
            self.root,
            self.run.id,
            release,
            back,
            self.audit("activate", release.id),
            patience=commands.whole_seconds(self.run.revert_after),
            check=check,
        )
        self.ask(script)

    def serve(self, release: Release, back: str | None, *, mended: bool) -> None:
        """Have the active release run, which would go back to `back`; raises ServiceError.

        `mended` as for Service.start.
        """
        self.service.start(release, back, mended=mended)

    def take_over(self, release: Release, back: str | None) -> None:
        """Have the release answer that runs and was verified; raises ServiceError."""
        self.service.take_over(release, back)
        self.service.confirm(release)

    def health(self, release: str) -> str:
        """What is wrong with what runs the release, in one line; empty when nothing."""
        return self.service.trouble(release)

    def revert(
        self, release: str, back: str | None, *, verdict: str = "", reason: str = ""
    ) -> tuple[Present, str]:
        """Undo the unconfirmed switch to `release`: the state after it, and what went wrong.

        Where the connection is cut it is opened again and again, until the host must have gone
        back by itself; then the lock is taken anew. Raises UnreachableError when it stays away.
        """
        audit = (
            *([self.audit("verify", release, verdict=verdict, reason=reason)] if verdict else ()),
            self.audit("revert", back, **{"from": release}),
        )
        script = commands.revert(self.root, self.run.id, *audit)
        deadline = time.monotonic() + self.run.revert_after + self.run.command_timeout
        while True:
            try:
                answers = self.ask(script)
            except LockedError:
                return self._without_lock(), ""
            except MAYBE_CUT:
                self.reconnect_before(deadline)
            else:
                told = next((a.text for a in answers if a.tag == "reverted"), "")
                self.seen = host_state(answers).present
                trouble = told.partition("; ")[2] or self._settled_before(deadline, self.seen)
                return self.seen, trouble

    def _settled_before(self, deadline: float, present: Present) -> str:
        """What went wrong with having run what was put back; a cut connection is opened again."""
        while True:
            try:
                return self.service.settle(present, patient=True)
            except MAYBE_CUT:
                self.reconnect_before(deadline)

    def _without_lock(self) -> Present:
        """The state after this run lost its lock; taken anew where the host went back by itself.

        Raises LockedError where another run has decided since what is active.
        """
        self._locked = False
        self.seen = self.state()
        last = self.seen.decision
        if last.get("run") != self.run.id:
            raise LockedError(
                f"run {last.get('run', 'unknown')} took over {self.name} from run {self.run.id}, "
                "which had given no sign of life",
                code="lock_lost",
                hint=f"See what is there: orchestrate status --limit {self.name}",
            )
        return self.seen if last.get("what") == "commit" else self.take_lock()

    def commit(
        self,
        release: str,
        verdict: str,
        metrics: Mapping[str, float],
        superseded: Sequence[str] = (),
    ) -> None:
        """Confirm the switch to the release, write the verdict, and let go of the lock.

        Releases that are `superseded` are removed, with the blobs that only they had. Where the
        connection breaks just then, it is opened again to see. Raises LockedError when the host
        went back by itself before.
        """
        audit = self.audit("commit", release, verdict=verdict, metrics=dict(metrics))
        settles = self.service.needs_settling
        script = commands.commit(self.root, self.run.id, audit, superseded, hold=settles)
        deadline = time.monotonic() + self.run.revert_after
        while True:
            try:
                self.ask(script)
            except LockedError:
                if not self._committed(release):
                    raise
                break
            except MAYBE_CUT:
                self.reconnect_before(deadline)
                if self._committed(release):
                    break
            else:
                break
        if settles and self.seen is not None:
            releases = {*self.seen.releases, release} - set(superseded)
            now = replace(self.seen, current=release, armed=None, releases=tuple(releases))
            with contextlib.suppress(HostError):  # the next command that takes the lock does it
                if trouble := self.service.settle(now):
                    self.enter("commit", release, f"committed, but {trouble}")
        else:
            self._let_go()

    def conclude(self, release: str, verdict: str, metrics: Mapping[str, float]) -> None:
        """Write a verdict on what is active and let go of the lock."""
        audit = self.audit("verify", release, verdict=verdict, metrics=dict(metrics))
        self.ask(commands.conclude(self.root, self.run.id, audit))
        self._let_go()

    def _committed(self, release: str) -> bool:
        """Whether this run's commit of the release is the last commit on the host."""
        last = self.state().decision
        done = (last.get("what"), last.get("run"), last.get("release"))
        return done == ("commit", self.run.id, release)

    def _let_go(self) -> None:
        self._locked = False
        if self._heartbeat is not None:
            self._heartbeat.end()

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
            "who": this_process.who(),
            "run": self.run.id,
            "command": self.run.command,
            "what": what,
            "release": release,
            **{k: v for k, v in more.items() if v},
        }

    def reconnect(self) -> None:
        """Open the connection again after it broke; raises UnreachableError."""
        with self._one_at_a_time:
            self._check_halted()
            self.target.close()
            self.target = targets.connect(self.spec)

    def reconnect_before(self, deadline: float) -> None:
        """Open the connection again, as often as it takes; what has gone wrong is raised when late.

        To be called while that is handled.
        """
        while time.monotonic() < deadline:
            with contextlib.suppress(UnreachableError):
                return self.reconnect()
            self.run.halted.wait(RECONNECT_PAUSE)
        raise  # noqa: PLE0704 - what the caller handles

    def pause(self, seconds: float) -> None:
        """Wait; raises HaltedError where everything has to stop at once."""
        self.run.halted.wait(seconds)
        self._check_halted()

    def halt(self) -> None:
        """Stop what runs on the host, undo what is unconfirmed there, and hang up; never raises.

        For another thread than the one that works with the session, once `run.halted` is set. What
        was found on the host is `halt_told`.
        """
        script = commands.halt(self.root, self.run.id, "the controller was stopped at once")
        self.halt_told = "it did not answer any more: it goes back by itself if it has to"
        with self._one_at_a_time, contextlib.suppress(HostError, OSError, EOFError):
            try:
                answers = self._halted(script)
            except MAYBE_CUT:
                self.target.close()
                self.target = targets.connect(self.spec)
                answers = self._halted(script)
            now = host_state(answers).present.current
            back = any(answer.tag == "halted" for answer in answers)
            self.halt_told = f"{now or 'nothing'} is active" + (", put back" if back else "")
            self._locked = False
        self._let_go()
        self.target.close()

    def _halted(self, script: bytes) -> list[commands.Answer]:
        completed = self.target.run(commands.SHELL, stdin=script, timeout=HALT_SECONDS)
        return commands.answers(completed, self.name)

    def _check_halted(self) -> None:
        if self.run.halted.is_set():
            raise HaltedError(
                f"{self.name}: stopped at once",
                hint=f"See what is there: orchestrate status --limit {self.name}",
            )

    def close(self) -> None:
        """Let go of the lock if it is still held, and of the connection; never raises.

        A lock that cannot be let go of is told by `status` and taken over by the next run. One with
        an unconfirmed switch stays until the host has gone back.
        """
        self._stop_clock()
        if self._locked and not self.run.halted.is_set():
            drop = commands.drop_lock(self.root, self.run.id)
            try:
                self._helper(drop)
            except HostError:
                with contextlib.suppress(HostError):
                    self.reconnect()
                    self._helper(drop)
        self._let_go()
        self.target.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _helper(self, script: bytes, timeout: float | None = None) -> Completed:
        self._check_halted()
        seconds = self.run.command_timeout if timeout is None else timeout
        return self.target.run(commands.SHELL, stdin=script, timeout=seconds)

    def ask(self, script: bytes, timeout: float | None = None) -> list[commands.Answer]:
        """The helper's answers to a script; raises the HostError that it tells of."""
        return commands.answers(self._helper(script, timeout), self.name)


def _slices(path: Path, offset: int) -> Iterator[bytes]:
    with path.open("rb") as file:
        file.seek(offset)
        while piece := file.read(SLICE):
            yield piece
