"""Finding and ending the processes of one lab.

Every process of a lab carries the lab's random token in its environment, and so do the processes
that it starts. A process is only ever signalled through a pidfd whose environment was read after
the pidfd was opened: a recycled process id is never hit. Linux only: elsewhere nothing is found.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import time
from pathlib import Path

from orchestrator.errors import OrchestrateError

MARK = "ORCHESTRATE_LAB"
_PROC = Path("/proc")


def marked(token: str) -> list[int]:
    """Ids of the other live processes that carry `token`, those that we may look at."""
    wanted = f"{MARK}={token}".encode()
    return [
        int(entry.name)
        for entry in (_PROC.iterdir() if _PROC.is_dir() else ())
        if entry.name.isdigit()
        and int(entry.name) != os.getpid()
        and _carries(int(entry.name), wanted)
    ]


def end_marked(token: str, *, patience: float = 10.0) -> int:
    """Kill every process that carries `token`, wait until they are gone, and count them.

    Raises OrchestrateError when some are left after `patience` seconds.
    """
    deadline = time.monotonic() + patience
    ended: set[int] = set()
    while found := marked(token):
        if time.monotonic() > deadline:
            raise OrchestrateError(
                f"processes of the lab do not end: {', '.join(map(str, found))}",
                hint="Look at them with ps, then run `orchestrate lab down` again.",
            )
        for pid in found:
            if _end(pid, token):
                ended.add(pid)
    return len(ended)


def _carries(pid: int, wanted: bytes) -> bool:
    try:
        environ = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return wanted in environ.split(b"\0")


def _end(pid: int, token: str) -> bool:
    """Kill `pid` if it still carries `token`, and give it a second to be gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _carries(pid, f"{MARK}={token}".encode()):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], 1.0)
    finally:
        os.close(pidfd)
    return True
