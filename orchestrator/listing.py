"""Counts and names in a sentence."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

SHOWN = 5


def names(given: Sequence[str], most: int = SHOWN) -> str:
    """`a, b, c, d, e and 3 more`: the first `most` of the names, and how many there are besides."""
    more = f" and {len(given) - most} more" if len(given) > most else ""
    return ", ".join(given[:most]) + more


def count(number: int, word: str) -> str:
    """`1 host`, `2 hosts`."""
    return f"{number} {word}" + ("" if number == 1 else "s")
