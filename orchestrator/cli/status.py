"""`orchestrate status`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, host_options, one_line, pass_context, table
from orchestrator.errors import InputError, UnreachableError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.console import Console

    from orchestrator.errors import OrchestrateError
    from orchestrator.fleet.host import Host, Inventory
    from orchestrator.planning.diff import HostPlan
    from orchestrator.rollout.fleet_run import Survey
    from orchestrator.rollout.task import Surveyed, Wanted

STYLES = {
    "ok": "green",
    "unconfirmed": "yellow",
    "drift": "yellow",
    "unverified": "yellow",
    "failing": "bold red",
}
# The states as they are shown, those that need a look first.
ORDER = (
    *("unreachable", "unknown", "failing", "unconfirmed", "drift"),
    *("unverified", "empty", "ok"),
)
DRIFT = 3  # the exit code of --check


@click.command("status")
@host_options
@click.option("--check", is_flag=True, help="Exit 3 when a host is not as it should be.")
@pass_context
def command(context: Context, groups: tuple[str, ...], limit: str | None, check: bool) -> int:
    """Show what each host should run, what it does run, and whether that passed there.

    Exit status: 0, 5 a host could not be reached; with --check also 3 a host is not as it should
    be.
    """
    from orchestrator.cli import fleet
    from orchestrator.rollout.outcome import worst
    from orchestrator.rollout.standing import services, standing

    inventory, hosts = fleet.choose(context, groups, limit)
    said: dict[str, str] = {}

    def ask(survey: Survey) -> None:
        said.update(services(survey.surveyed, context.project.settings.parallel))

    survey = fleet.look(context, "status", hosts, before_closing=ask)
    plans = plans_of(context, inventory, survey.surveyed)
    rows = {
        name: standing(
            s.task.host,
            s.present,
            s.lock,
            lock_age=s.lock_age,
            plan=plans.get(name),
            service=said.get(name),
        )
        for s in survey.surveyed
        for name in [s.task.host.name]
    }
    failed = {f.task.host.name: f.error for f in survey.failed}
    codes = [error.exit_code for error in failed.values()]
    if check:
        codes += [0 if row.as_it_should_be else DRIFT for row in rows.values()]
    code = worst(codes)
    documents: dict[str, Any] = {name: row.as_dict() for name, row in rows.items()}
    documents |= {
        name: {"state": unseen(error), "error": error.as_dict()} for name, error in failed.items()
    }
    if context.json:
        context.emit({"exit_code": code, "hosts": documents})
    else:
        show(context.console, documents)
    return code


def plans_of(
    context: Context, inventory: Inventory, surveyed: Sequence[Surveyed]
) -> dict[str, HostPlan | InputError]:
    """What a deploy would do on each host that something is wanted for, or why it could not."""
    from orchestrator.planning.plan import plan_host

    wishes: dict[str, Wanted | InputError] = {}
    plans: dict[str, HostPlan | InputError] = {}
    for each in surveyed:
        host = each.task.host
        ref = str(host.vars.get("orchestrate_model") or "")
        if ref and ref not in wishes:
            wishes[ref] = _wish(context, inventory, host)
        wish = wishes.get(ref)
        if isinstance(wish, InputError):
            plans[host.name] = wish
        elif wish is not None:
            try:
                plans[host.name] = plan_host(wish.inputs(host, each.facts, each.present))
            except InputError as exc:
                plans[host.name] = exc
    return plans


def _wish(context: Context, inventory: Inventory, host: Host) -> Wanted | InputError:
    from orchestrator.cli import fleet

    try:
        return fleet.wanted(context, inventory, [host], None)[host.name]
    except InputError as exc:
        return exc


def unseen(error: OrchestrateError) -> str:
    """The state of a host that did not tell its own."""
    return "unreachable" if isinstance(error, UnreachableError) else "unknown"


def show(console: Console, documents: dict[str, Any]) -> None:
    """Print one line a host, those that need a look first."""
    from rich.text import Text

    rows = table("host", "state", "wanted", "active", "verdict", "")
    for name, row in sorted(documents.items(), key=lambda i: (ORDER.index(i[1]["state"]), i[0])):
        if "error" in row:
            told = one_line(row["error"]["message"], row["error"]["hint"])
            state = Text(row["state"], "magenta")
            rows.add_row(Text(name, "bold"), state, "", "", "", Text(told))
            continue
        rows.add_row(
            Text(name, "bold"),
            Text(row["state"], STYLES.get(row["state"], "dim")),
            Text(row["wanted"] or ""),
            Text(_active(row)),
            Text(row["verdict"] or ""),
            Text("; ".join(row["notes"])),
        )
    console.print(rows)


def _active(row: dict[str, Any]) -> str:
    """What is active, as NAME@VERSION and the id of its release."""
    if row["release"] is None:
        return "nothing"
    return f"{row['active']} ({row['release']})" if row["active"] else str(row["release"])
