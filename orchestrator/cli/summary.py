"""What a run came to: one line a host, worst first, and one line for all."""

from __future__ import annotations

import sys
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple, Protocol

from orchestrator.cli.common import one_line
from orchestrator.cli.terminal import may_be_gone
from orchestrator.rollout.outcome import WORST_FIRST, HostOutcome, RunResult, Status

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.cli.common import Context

STYLES = {
    Status.DEPLOYED: "green",
    Status.UNCHANGED: "dim",
    Status.VERIFIED: "green",
    Status.ROLLED_BACK: "yellow",
    Status.FAILED: "bold red",
    Status.UNREACHABLE: "magenta",
    Status.LOCKED: "cyan",
    Status.SKIPPED: "dim",
}
# What outcomes of hosts say that a run left out.
NOT_BEGUN = frozenset({"aborted", "interrupted"})


def show(context: Context, result: RunResult, wanted: Mapping[str, str] | None = None) -> None:
    """Print every host's line, worst first, then the counts; in a log, one line a host.

    `wanted` is what a deploy was to bring the hosts, NAME@VERSION by host; None for other commands.
    """
    with may_be_gone():
        _show(context, result, wanted)


def _show(context: Context, result: RunResult, wanted: Mapping[str, str] | None) -> None:
    hosts = sorted(result.hosts, key=rank)
    lines = [Line(h.host, str(h.status).replace("_", " "), style_of(h), sentence(h)) for h in hosts]
    print_lines(context, lines, closing_lines(result, totals(lines), wanted))


class Line(NamedTuple):
    """What became of a host, in words; `style` is the status's."""

    host: str
    status: str
    style: str
    told: str


def print_lines(context: Context, lines: Sequence[Line], closing: str) -> None:
    """Print a line a host, a table on a terminal, whole lines in a log; then what closes them."""
    if not sys.stdout.isatty():
        widths = [max((len(line[i]) for line in lines), default=0) for i in (0, 1)]
        for line in lines:
            context.tell(f"{line.host:<{widths[0]}}  {line.status:<{widths[1]}}  {line.told}")
        context.tell(f"\n{closing}")
        return
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for line in lines:
        cells = Text(line.host, style="bold"), Text(line.status, style=line.style)
        table.add_row(*cells, Text(line.told))
    context.console.print(table)
    context.console.print(f"\n{closing}", markup=False)


def totals(lines: Sequence[Line]) -> str:
    """`4 deployed, 1 rolled back`."""
    counts = Counter(line.status for line in lines)
    return ", ".join(f"{n} {status}" for status, n in counts.most_common()) or "no hosts"


def closing_lines(result: RunResult, total: str, wanted: Mapping[str, str] | None) -> str:
    """What all came to and, where a deploy left hosts out, why and what to do next."""
    before = f"interrupted: {total}" if result.interrupted and not result.declined else total
    run = f" · run {result.run}" if result.run else ""
    lines = [f"{before}{run} · exit {result.exit_code}"]
    if result.aborted:
        lines.insert(0, f"{'stopped' if result.declined else 'aborted'}: {result.aborted}")
    if wanted is not None:
        lines += [*_waiting(result, wanted), *_go_on(result)]
    return "\n".join(lines)


def _waiting(result: RunResult, wanted: Mapping[str, str]) -> list[str]:
    """Which hosts a deploy could not reach, and what brings them there when they are back."""
    away = [] if result.aborted else [host.host for host in result.hosts if _waits(host)]
    versions = {wanted[host] for host in away if host in wanted}
    if not versions:
        return []
    what = versions.pop() if len(versions) == 1 else "what they should have got"
    who = f"{away[0]} waits" if len(away) == 1 else f"{len(away)} hosts wait"
    return [f"{who} for {what}: orchestrate reconcile --watch"]


def _waits(host: HostOutcome) -> bool:
    """Whether the host gets later what it should have got: not where it was lost in a switch."""
    from orchestrator.history.records import LOST_IN_SWITCH

    lost = host.error is not None and host.error.as_dict()["code"] == LOST_IN_SWITCH
    return host.status is Status.UNREACHABLE and not lost


def _go_on(result: RunResult) -> list[str]:
    """How to go on with the hosts that a deploy left out, if any."""
    how = f"on with the hosts that are left: orchestrate deploy --resume {result.run}"
    if result.aborted and not result.interrupted:
        return [f"When it is mended, go {how}"]
    left_out = any(host.status is Status.SKIPPED and host.error for host in result.hosts)
    return [f"Go {how}"] if left_out else []


def style_of(host: HostOutcome) -> str:
    """The colour of the status; going back is what `rollback` was asked for."""
    asked = host.status is Status.ROLLED_BACK and host.exit_code == 0
    return "green" if asked else STYLES[host.status]


class Ended(Protocol):
    """Any command's outcome of a host."""

    @property
    def host(self) -> str:
        """Its name."""

    @property
    def status(self) -> str:
        """Where it ended up."""

    @property
    def exit_code(self) -> int:
        """What it alone would make the command exit with."""


def rank(host: Ended) -> tuple[int, str, str]:
    """The sort key that puts the worst host first."""
    return WORST_FIRST.index(host.exit_code), str(host.status), host.host


def sentence(host: HostOutcome) -> str:
    """What happened on the host, what it means and what to do next."""
    if host.status is Status.ROLLED_BACK and host.error:
        return f"to {host.active or host.release}: {one_line(host.error.message, host.error.hint)}"
    if host.status is Status.SKIPPED and host.error:
        # Why, where that is the same for all of them, and what to do next stand below them.
        left_out = host.error.as_dict()["code"] in NOT_BEGUN
        return "not begun" if left_out else host.error.message
    if host.error:
        return one_line(host.error.message, host.error.hint)
    parts = [f"{host.active} ({host.release})" if host.active else host.release or "nothing"]
    if host.artifact:
        parts.append(f"{host.artifact.format} {host.artifact.precision}, {host.config}")
    if host.verification:
        parts.append(host.verification.reason)
    if host.bytes_sent:
        from orchestrator.sizes import human_size

        parts.append(f"{human_size(host.bytes_sent)} sent")
    return " · ".join(part for part in parts if part)
