"""Fixtures that any test may ask for."""

from __future__ import annotations

from tests.sshd import needs_busybox, sshd_fleet

__all__ = ["needs_busybox", "sshd_fleet"]
