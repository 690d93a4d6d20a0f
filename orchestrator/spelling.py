"""The word that a person probably meant."""

from __future__ import annotations

import difflib
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable


def nearest(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """The choice nearest to `word`, whatever its case; empty when none is near.

    `cutoff` is the likeness that counts as near, 0 to 1, as `difflib.get_close_matches` has it.
    """
    by_lower = {choice.lower(): choice for choice in choices}
    near = difflib.get_close_matches(word.lower(), by_lower, n=1, cutoff=cutoff)
    return by_lower[near[0]] if near else ""


def did_you_mean(word: str, choices: Iterable[str], *, cutoff: float = 0.6) -> str:
    """`Did you mean 'x'?`, a hint, for the choice nearest to `word`; empty when none is near."""
    meant = nearest(word, choices, cutoff=cutoff)
    return f"Did you mean {meant!r}?" if meant else ""
