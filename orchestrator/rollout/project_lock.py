"""The lock of a fleet project: one command at a time switches its hosts.

It is `flock` on `.orchestrate/lock`, so it dies with the process that holds it. What stands in the
file tells others who that is.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import json
import os
import threading
from typing import TYPE_CHECKING, Any

from orchestrator.errors import LockedError, UsageError
from orchestrator.events import BatchStarted, Event, RolloutAborted, RunStarted
from orchestrator.rollout import this_process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

# The commands that switch hosts.
SWITCHING = frozenset({"deploy", "rollback", "resume", "reconcile"})
# The commands that change hosts, one at a time.
CHANGING = SWITCHING | {"provision"}
# What `unlock` calls it.
NAME = "fleet-project"
# The errors of file systems that know no locks.
NO_LOCKS = frozenset({errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP})
LONGEST = 4096  # bytes that are read
SHORT = 200  # characters of what the holder is doing


class ProjectLock:
    """Held from the start until `release`; a subscriber that notes what its holder is doing."""

    def __init__(self, handle: int, command: str) -> None:
        self._handle: int | None = handle
        self._guard = threading.Lock()
        self._owner = this_process.owner("", command, 0)
        self._note(doing="")

    @property
    def held(self) -> bool:
        """Whether it was not released yet."""
        return self._handle is not None

    def on_event(self, event: Event) -> None:
        """See Subscriber."""
        match event:
            case RunStarted():
                self._note(run=event.run, doing=f"{len(event.hosts)} hosts")
            case BatchStarted():
                self._note(doing=f"{event.kind} {event.batch} of {event.batches}")
            case RolloutAborted():
                self._note(doing=f"stopping: {event.reason}")

    def release(self) -> None:
        """Let go; safe to call twice."""
        with self._guard:
            handle, self._handle = self._handle, None
            if handle is not None:
                with contextlib.suppress(OSError):
                    os.ftruncate(handle, 0)
                os.close(handle)

    def _note(self, **more: str) -> None:
        """Write the owner; on a full disk the lock holds without it."""
        self._owner |= {key: text[:SHORT] for key, text in more.items()}
        text = json.dumps(self._owner).encode() + b"\n"
        with self._guard, contextlib.suppress(OSError):
            if self._handle is not None:
                os.pwrite(self._handle, text, 0)
                os.ftruncate(self._handle, len(text))


def take(state: Path, command: str) -> ProjectLock:
    """The lock of the fleet project whose `.orchestrate` is `state`.

    Raises LockedError at once when somebody holds it, and UsageError where no lock can be made.
    """
    try:
        state.mkdir(parents=True, exist_ok=True)
        while True:
            handle = os.open(state / "lock", os.O_RDWR | os.O_CREAT, 0o666)
            try:
                if not _is_free(handle):
                    raise locked(_read(handle))
                if _is_still(handle, state / "lock"):
                    return ProjectLock(os.dup(handle), command)
            finally:
                os.close(handle)
    except OSError as exc:
        raise UsageError(
            f"the fleet project cannot be locked: {state / 'lock'}: {exc.strerror}",
            hint="Make that folder writable: without the lock two rollouts could cross.",
        ) from exc


def owner(state: Path) -> Mapping[str, Any] | None:
    """What the lock tells of who holds it; None when nobody does."""
    try:
        handle = os.open(state / "lock", os.O_RDWR)
    except FileNotFoundError:
        return None
    try:
        return None if _is_free(handle) else _read(handle)
    finally:
        os.close(handle)


def break_lock(state: Path) -> None:
    """Let the next command have the lock, whoever holds it now."""
    (state / "lock").unlink(missing_ok=True)


def locked(held: Mapping[str, Any]) -> LockedError:
    """The error that says who holds the lock, since when, doing what, and how to break it."""
    pid, who = held.get("pid"), held.get("who", "somebody unknown")
    machine = str(who).rpartition("@")[2]
    stop = f"stop that process (kill {pid} on {machine})" if pid else "stop that process"
    return LockedError(
        f"the fleet project is locked by {who}{told(held)}",
        code="project_locked",
        hint=f"Wait, or {stop}. Only where it is gone and the lock is not, as NFS may have it: "
        f"orchestrate unlock {NAME}",
        owner=dict(held),
    )


def told(held: Mapping[str, Any]) -> str:
    """Since when, with which command and run, doing what, and whether its process is gone."""
    since = f" since {held['since']}" if held.get("since") else ""
    run = f"run {held['run']}" if held.get("run") else ""
    gone = ", which is gone" if this_process.is_gone(held) else ""
    pid = f"pid {held['pid']}{gone}" if held.get("pid") else ""
    words = [str(word) for word in (held.get("command"), run, held.get("doing"), pid) if word]
    return since + (f" ({', '.join(words)})" if words else "")


def _is_free(handle: int) -> bool:
    """Whether this process has the lock now."""
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    except OSError as exc:
        if exc.errno not in NO_LOCKS:
            raise
        return not _read(handle)  # whoever let go has emptied it; who died has not
    return True


def _is_still(handle: int, path: Path) -> bool:
    """Whether the file at the path is the one that was locked: `break_lock` removes it."""
    try:
        return os.path.samestat(os.fstat(handle), path.stat())
    except FileNotFoundError:
        return False


def _read(handle: int) -> dict[str, Any]:
    text = os.pread(handle, LONGEST, 0).partition(b"\n")[0]
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    if not isinstance(found, dict):
        return {}
    return {key: _printable(each) if isinstance(each, str) else each for key, each in found.items()}


def _printable(text: str) -> str:
    """The text without what would do something to a terminal: anybody may have written it."""
    return "".join(c if c.isprintable() else "?" for c in text)
