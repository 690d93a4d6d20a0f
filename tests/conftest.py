"""Fixtures that any test may ask for."""

from __future__ import annotations

import os

from tests.katago_engine import katago, tiny, tiny_scrambled
from tests.rollout.faults.fault_table import pytest_terminal_summary
from tests.sshd import needs_busybox, sshd_fleet

__all__ = [
    "katago",
    "needs_busybox",
    "pytest_terminal_summary",
    "sshd_fleet",
    "tiny",
    "tiny_scrambled",
]

os.environ["ORT_DISABLE_TELEMETRY"] = "1"
