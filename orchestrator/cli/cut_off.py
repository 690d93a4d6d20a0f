"""What is said of runs whose controller was killed or lost power."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

if TYPE_CHECKING:
    from orchestrator.history.store import History
    from orchestrator.rollout.journal import CutOff


def tell_cut_off(history: History) -> None:
    """Say which runs left hosts in the middle; to be asked while the project's lock is held."""
    from orchestrator.rollout import journal

    for cut in journal.cut_off(history):
        if cut.in_flight:
            one = len(cut.in_flight) == 1
            say_cut_off(cut, f"; {'it is' if one else 'they are'} settled when reached")


def say_cut_off(cut: CutOff, more: str = "") -> None:
    """One line on stderr: which run, and how many hosts it left in the middle."""
    count = len(cut.in_flight)
    flight = f"{count or 'no'} {'host was' if count == 1 else 'hosts were'} in flight"
    click.echo(f"run {cut.run.id} was cut off: {flight}{more}", err=True)
