"""Finding and ending the processes of one lab.

Every process of a lab carries the lab's random token in its environment, and so do the processes
that it starts; those of a host carry the host's name, too. A process is only ever signalled through
a pidfd whose environment was read after the pidfd was opened: a recycled process id is never hit.
Linux only: elsewhere nothing is found.
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
HOST_MARK = "ORCHESTRATE_LAB_HOST"
_PROC = Path("/proc")


def marked(token: str, host: str = "") -> list[int]:
    """Ids of the other live processes that carry `token`, those that we may look at.

    With a `host` only those of that host.
    """
    return [
        int(entry.name)
        for entry in (_PROC.iterdir() if _PROC.is_dir() else ())
        if entry.name.isdigit()
        and int(entry.name) != os.getpid()
        and _carries(int(entry.name), token, host)
    ]


def end_marked(token: str, host: str = "", *, patience: float = 10.0) -> int:
    """Kill every process that carries `token`, wait until they are gone, and count them.

    With a `host` only those of that host. Raises OrchestrateError when some are left after
    `patience` seconds.
    """
    deadline = time.monotonic() + patience
    ended: set[int] = set()
    while found := marked(token, host):
        if time.monotonic() > deadline:
            raise OrchestrateError(
                f"processes of the lab do not end: {', '.join(map(str, found))}",
                hint="Look at them with ps, then run `orchestrate lab down` again.",
            )
        for pid in found:
            if _end(pid, token, host):
                ended.add(pid)
    return len(ended)


def _carries(pid: int, token: str, host: str) -> bool:
    wanted = {f"{MARK}={token}".encode()}
    if host:
        wanted.add(f"{HOST_MARK}={host}".encode())
    try:
        environ = (_PROC / str(pid) / "environ").read_bytes()
    except OSError:
        return False
    return wanted.issubset(environ.split(b"\0"))


def _end(pid: int, token: str, host: str) -> bool:
    """Kill `pid` if it still carries `token`, and give it a second to be gone."""
    try:
        pidfd = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if not _carries(pid, token, host):
            return False
        with contextlib.suppress(ProcessLookupError):
            signal.pidfd_send_signal(pidfd, signal.SIGKILL)
        select.select([pidfd], [], [], 1.0)
    finally:
        os.close(pidfd)
    return True
