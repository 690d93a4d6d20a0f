"""Who holds a lock: this process as others see it, and whether another owner is still there."""

from __future__ import annotations

import getpass
import math
import os
import socket
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_PID = 2**31


def who() -> str:
    """The operator as `user@machine`."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


@cache
def machine() -> str:
    """What a pid is unique in: this boot of this machine and its pid namespace; "" if unknown."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        return f"{boot}:{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return ""


def owner(run: str, command: str, lease: float) -> dict[str, object]:
    """The owner.json of a lock that this process takes.

    Without a sign of life for `lease` seconds the owner counts as gone.
    """
    return {
        "run": run,
        "who": who(),
        "command": command,
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
        "lease": math.ceil(lease),
        "pid": os.getpid(),
        "machine": machine(),
    }


def seconds_to_watch(owner: Mapping[str, Any]) -> int | None:
    """How long a lock must stay silent before it may be taken over; None when it may not.

    A process of this machine that ended needs no watching. Another owner must have been silent for
    its lease by the host's clock, which may have jumped: it is watched before it is believed.
    """
    if is_gone(owner):
        return 0
    lease, age = owner.get("lease"), owner.get("age")
    if not isinstance(lease, int) or not isinstance(age, int):
        return None
    if age < 0:
        return lease
    return math.ceil(lease / 2) if age > lease else None


def is_gone(owner: Mapping[str, Any]) -> bool:
    """Whether the owner was a process of this machine that is no more."""
    pid = owner.get("pid")
    if not machine() or owner.get("machine") != machine():
        return False
    if not isinstance(pid, int) or isinstance(pid, bool) or not 0 < pid < MAX_PID:
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return True
    except OSError:
        return False
    return False
