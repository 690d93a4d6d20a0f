"""Waiting for what will happen, without sleeping for luck."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 60.0


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = LONG) -> None:
    """Return once `condition()` holds; fail with `what` did not happen within that time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.005)
