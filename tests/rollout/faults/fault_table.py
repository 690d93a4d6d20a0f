"""The table at the end of a run: what was done to a rollout at which step, and what came of it."""

from __future__ import annotations

from dataclasses import astuple, dataclass, fields
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    import pytest

PROPERTY = "fault"


@dataclass(frozen=True, slots=True)
class Row:
    """One case: what the command said, and where the host was before anybody came back to it."""

    fault: str
    step: str
    exit: str
    status: str
    ended: str
    how: str
    lock: str


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Print the rows of all cases, from whichever process ran them."""
    rows = [
        Row(*value)
        for reports in terminalreporter.stats.values()
        for report in reports
        if getattr(report, "when", "") == "call"
        for name, value in report.user_properties
        if name == PROPERTY
    ]
    if rows:
        terminalreporter.section("faults")
        for line in table(sorted(rows, key=astuple)):
            terminalreporter.write_line(line)


def table(rows: Iterable[Row]) -> list[str]:
    """The rows under a heading, in columns."""
    cells = [tuple(field.name for field in fields(Row)), *map(astuple, rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in cells
    ]
