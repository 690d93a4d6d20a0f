"""What is said of runs whose controller was killed or lost power."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.history.store import History
    from orchestrator.rollout.journal import CutOff


def on_stderr(line: str) -> None:
    """Print a line for people."""
    click.echo(line, err=True)


def tell_cut_off(history: History, say: Callable[[str], None]) -> None:
    """Say which runs left hosts in the middle; to be asked while the project's lock is held."""
    from orchestrator.rollout import journal

    for cut in journal.cut_off(history):
        if cut.in_flight:
            one = len(cut.in_flight) == 1
            say_cut_off(cut, f"; {'it is' if one else 'they are'} settled when reached", say)


def say_cut_off(cut: CutOff, more: str = "", say: Callable[[str], None] = on_stderr) -> None:
    """One line: which run, and how many hosts it left in the middle."""
    count = len(cut.in_flight)
    flight = f"{count or 'no'} {'host was' if count == 1 else 'hosts were'} in flight"
    say(f"run {cut.run.id} was cut off: {flight}{more}")
