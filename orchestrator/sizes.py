"""Bytes as people read them."""

from __future__ import annotations

STEP = 1000  # SI: 1 MB is 1,000,000 bytes


def human_size(size: float) -> str:
    """A number of bytes with its unit: `812 B`, `3.1 kB`, `97.9 MB`, `1.2 GB`."""
    for unit in ("B", "kB", "MB"):
        if size < STEP:
            return f"{size:.0f} B" if unit == "B" else f"{size:.1f} {unit}"
        size /= STEP
    return f"{size:.1f} GB"
