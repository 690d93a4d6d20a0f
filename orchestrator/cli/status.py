"""`orchestrate status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, host_options, one_line, pass_context, table
from orchestrator.errors import UnreachableError

if TYPE_CHECKING:
    from rich.console import Console

    from orchestrator.errors import OrchestrateError

STYLES = {"ok": "green", "drift": "yellow", "unverified": "yellow", "failing": "bold red"}


@click.command("status")
@host_options
@pass_context
def command(context: Context, groups: tuple[str, ...], limit: str | None) -> int:
    """Show what each host should run, what it does run, and whether that passed there."""
    from orchestrator.cli import fleet
    from orchestrator.rollout.outcome import worst
    from orchestrator.rollout.standing import standing

    _, hosts = fleet.choose(context, groups, limit)
    survey = fleet.look(context, "status", hosts)
    rows = {s.task.host.name: standing(s.task.host, s.present, s.lock) for s in survey.surveyed}
    failed = {f.task.host.name: f.error for f in survey.failed}
    code = worst(error.exit_code for error in failed.values())
    documents: dict[str, Any] = {name: row.as_dict() for name, row in rows.items()}
    documents |= {
        name: {"state": unseen(error), "error": error.as_dict()} for name, error in failed.items()
    }
    if context.json:
        context.emit({"exit_code": code, "hosts": documents})
    else:
        show(context.console, documents)
    return code


def unseen(error: OrchestrateError) -> str:
    """The state of a host that did not tell its own."""
    return "unreachable" if isinstance(error, UnreachableError) else "unknown"


def show(console: Console, documents: dict[str, Any]) -> None:
    """Print one line a host, those that need a look first."""
    from rich.text import Text

    rows = table("host", "state", "wanted", "active", "verdict", "")
    order = ["unreachable", "unknown", "failing", "drift", "unverified", "empty", "ok"]
    for name, row in sorted(documents.items(), key=lambda i: (order.index(i[1]["state"]), i[0])):
        if "error" in row:
            told = one_line(row["error"]["message"], row["error"]["hint"])
            state = Text(row["state"], "magenta")
            rows.add_row(Text(name, "bold"), state, "", "", "", Text(told))
            continue
        rows.add_row(
            Text(name, "bold"),
            Text(row["state"], STYLES.get(row["state"], "dim")),
            Text(row["wanted"] or ""),
            Text(row["release"] or "nothing"),
            Text(row["verdict"] or ""),
            Text("; ".join(row["notes"])),
        )
    console.print(rows)
