"""What a run came to: one line a host, worst first, and one line for all."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from orchestrator.rollout.outcome import WORST_FIRST, HostOutcome, RunResult, Status

if TYPE_CHECKING:
    from rich.console import Console

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


def show(console: Console, result: RunResult) -> None:
    """Print every host's line, worst first, then the counts."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, show_header=False, pad_edge=False, padding=(0, 2, 0, 0))
    for host in sorted(result.hosts, key=rank):
        table.add_row(
            Text(host.host, style="bold"),
            Text(str(host.status).replace("_", " "), style=style_of(host)),
            Text(sentence(host)),
        )
    console.print(table)
    counts = Counter(str(h.status).replace("_", " ") for h in result.hosts)
    total = ", ".join(f"{n} {status}" for status, n in counts.most_common())
    console.print(f"\n{total or 'no hosts'} · run {result.run} · exit {result.exit_code}")


def style_of(host: HostOutcome) -> str:
    """The colour of the status; going back is what `rollback` was asked for."""
    asked = host.status is Status.ROLLED_BACK and host.exit_code == 0
    return "green" if asked else STYLES[host.status]


def rank(host: HostOutcome) -> tuple[int, str, str]:
    """The sort key that puts the worst host first."""
    return WORST_FIRST.index(host.exit_code), str(host.status), host.host


def sentence(host: HostOutcome) -> str:
    """What happened on the host, what it means and what to do next."""
    if host.status is Status.ROLLED_BACK and host.error:
        return f"to {host.active or host.release}: {told(host)}"
    if host.error:
        return told(host)
    parts = [f"{host.active} ({host.release})" if host.active else host.release or "nothing"]
    if host.artifact:
        parts.append(f"{host.artifact.format} {host.artifact.precision}, {host.config}")
    if host.verification:
        parts.append(host.verification.reason)
    if host.bytes_sent:
        from orchestrator.planning.explain import megabytes

        parts.append(f"{megabytes(host.bytes_sent)} sent")
    return " · ".join(part for part in parts if part)


def told(host: HostOutcome) -> str:
    """The error and its hint in one piece."""
    if host.error is None:
        return ""
    message, hint = host.error.message.rstrip("."), host.error.hint
    return f"{message}. {hint}" if hint else message
