"""The live table: what each host is doing now, with progress, rate and time left."""

from __future__ import annotations

import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import click

from orchestrator.cli.terminal import answer, may_be_gone
from orchestrator.events import BatchStarted, Event, HostFinished, Progress, StateEntered
from orchestrator.listing import count

if TYPE_CHECKING:
    from rich.live import Live
    from rich.table import Table

MB = 1_000_000


@dataclass
class Row:
    """What a host is doing: `rate` in bytes per second since `since`."""

    state: str
    detail: str = ""
    done: int = 0
    total: int = 0
    first: int = 0
    since: float = 0.0
    entered: float = field(default_factory=time.monotonic)


class LiveTable:
    """A subscriber that draws the hosts in flight while it is entered; silent off a terminal.

    It can be entered again, so that a question can be asked between two phases of a run.
    """

    def __init__(self, hosts: int, *, on_stdout: bool) -> None:
        self._count = hosts
        self._rows: dict[str, Row] = {}
        self._reverting: dict[str, str] = {}
        self._finished: dict[str, str] = {}
        self._batch = ""
        self._shown = sys.stderr.isatty() and (not on_stdout or sys.stdout.isatty())
        self._live: Live | None = None

    def __enter__(self) -> None:
        """Start to draw."""
        self._rows.clear()
        if self._shown:
            from rich.console import Console
            from rich.live import Live

            self._live = Live(
                console=Console(stderr=True, highlight=False),
                get_renderable=self.draw,
                refresh_per_second=8,
                transient=True,
            )
            with may_be_gone():
                self._live.start()

    def __exit__(self, *_exc: object) -> None:
        """Stop, and take the table off the screen."""
        if self._live is not None:
            with may_be_gone():
                self._live.stop()
            self._live = None

    def say(self, text: str, style: str = "") -> None:
        """Print a line on stderr, above the table where it is drawn."""
        live = self._live
        with may_be_gone():
            if live is None:
                click.secho(text, fg=style or None, err=True)
            else:
                live.console.print(text, style=style, markup=False, soft_wrap=True)

    def ask(self, question: str) -> bool:
        """What the operator answers, with the table off the screen; Ctrl-C is a no."""
        self.__exit__()
        try:
            return answer(question)
        except (click.Abort, KeyboardInterrupt):
            self.say("")
            return False
        finally:
            self.__enter__()

    def on_event(self, event: Event) -> None:
        """Take in one event; drawing happens apart from it."""
        if isinstance(event, StateEntered):
            if event.state == "revert":
                self._reverting[event.host] = event.detail
            why = self._reverting.get(event.host)
            detail = f"going back: {why}" if why else event.detail or event.release or ""
            self._rows[event.host] = Row(event.state, detail)
        elif isinstance(event, Progress):
            row = self._rows.setdefault(event.host, Row("stage"))
            if row.total != event.total or row.detail != event.what:
                row.since, row.first = time.monotonic(), event.done
            row.detail, row.done, row.total = event.what, event.done, event.total
        elif isinstance(event, HostFinished):
            self._rows.pop(event.host, None)
            status = str(event.outcome["status"]).replace("_", " ")
            self._finished[event.host] = status
        elif isinstance(event, BatchStarted):
            hosts = count(len(event.hosts), "host")
            of = "" if event.kind == "canary" else f" {event.batch} of {event.batches}"
            self._batch = f"{event.kind}{of}, {hosts} · "

    def draw(self) -> Table:
        """The table as it is now."""
        from rich.progress_bar import ProgressBar
        from rich.table import Table

        counts = Counter(self._finished.values())
        done = ", ".join(f"{n} {status}" for status, n in counts.items())
        table = Table(
            box=None,
            pad_edge=False,
            caption=f"{self._batch}{len(self._finished)} of {count(self._count, 'host')} done"
            + (f": {done}" if done else ""),
            caption_justify="left",
        )
        table.add_column("host", no_wrap=True)
        table.add_column("state", no_wrap=True)
        table.add_column("for", justify="right", no_wrap=True)
        table.add_column("")
        table.add_column("")
        now = time.monotonic()
        for name, row in sorted(self._rows.items()):
            bar = ProgressBar(row.total, row.done, width=24) if row.total else ""
            told = speed(row) if row.total else row.detail
            table.add_row(name, row.state, f"{now - row.entered:.0f} s", bar, told)
        return table


def speed(row: Row) -> str:
    """`12.3 of 40.0 MB  8.1 MB/s  3 s left`."""
    text = f"{row.done / MB:.1f} of {row.total / MB:.1f} MB"
    elapsed = time.monotonic() - row.since
    rate = (row.done - row.first) / elapsed if elapsed > 0.5 else 0.0  # noqa: PLR2004
    if rate > 0 and row.done < row.total:
        text += f"  {rate / MB:.1f} MB/s  {(row.total - row.done) / rate:.0f} s left"
    return text
