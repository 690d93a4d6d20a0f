"""Waiting for what will happen, without sleeping for luck."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

LONG = 60.0
SELDOM = 0.1  # seconds between two looks at what takes long: looking takes time from it


def wait_until(condition: Callable[[], object], what: str, *, seconds: float = LONG) -> None:
    """Return once `condition()` holds; fail with `what` did not happen within that time."""
    begun = time.monotonic()
    while not condition():
        passed = time.monotonic() - begun
        assert passed < seconds, f"never happened: {what}"
        time.sleep(min(0.005 + passed / 20, SELDOM))
