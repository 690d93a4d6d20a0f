"""What the kinds of sources share."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

OnProgress = Callable[[int, int | None], None]
"""Told the bytes that are here, and how many there will be, None when nobody knows."""


@dataclass(frozen=True, slots=True)
class Fetched:
    """A file that arrived: `path` is ours to move, `filename` is what its source calls it.

    `source` is what to write into the manifest: free of passwords, good for fetching it again.
    """

    path: Path
    filename: str
    sha256: str
    size: int
    source: str


def expect(found: str, wanted: str | None, source: str) -> None:
    """Pass when nothing was wanted or `found` is it; else raise ModelError."""
    if wanted is not None and found != wanted:
        raise ModelError(
            f"{source} has another sha256: expected {wanted}, found {found}",
            hint="The file is damaged, or not the one that is meant: nothing of it was kept.",
        )
