"""What is wrong in an inventory, where, and what to do about it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.errors import InventoryError

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Problem:
    """A mistake in a file of the inventory; `line` counts from 1.

    A `warning` works but should not stay. `stops` marks what no fleet command may run with.
    """

    file: Path
    line: int
    message: str
    hint: str
    level: Literal["error", "warning"] = "error"
    stops: bool = False


class FileError(InventoryError):
    """An inventory cannot be read because of one problem, kept with its file and line."""

    def __init__(self, problem: Problem) -> None:
        super().__init__(f"{problem.file}:{problem.line}: {problem.message}", hint=problem.hint)
        self.problem = problem


def file_error(file: Path, line: int, message: str, hint: str) -> FileError:
    """The error for a problem that makes the inventory unreadable."""
    return FileError(Problem(file, line, message, hint, stops=True))
