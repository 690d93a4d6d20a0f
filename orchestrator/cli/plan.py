"""`orchestrate plan`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import (
    Context,
    allow_tag_option,
    host_options,
    one_line,
    pass_context,
    table,
)
from orchestrator.listing import count

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from rich.console import Console

    from orchestrator.planning.diff import HostPlan
    from orchestrator.planning.preflight import Problem
    from orchestrator.rollout.task import Failed, Surveyed

DIFF_HEADER = 2  # lines that name the two releases


@click.command("plan")
@host_options
@click.option("--model", metavar="NAME@VERSION", help="Instead of the inventory's.")
@click.option("--allow-inexact", is_flag=True, help="Take artifacts that fail the accuracy gate.")
@allow_tag_option
@click.option("--offline", is_flag=True, help="From cached facts; hosts are taken as empty.")
@pass_context
def command(
    context: Context,
    groups: tuple[str, ...],
    limit: str | None,
    model: str | None,
    allow_inexact: bool,
    allow_tag: bool,
    offline: bool,
) -> int:
    """Show what a deploy would change, and why. Touches nothing that runs.

    A Docker host gets the image if it is missing: what fits follows from what is in it.
    """
    return show_plan(
        context,
        groups,
        limit,
        model,
        allow_inexact=allow_inexact,
        allow_tag=allow_tag,
        offline=offline,
    )


def show_plan(
    context: Context,
    groups: tuple[str, ...],
    limit: str | None,
    model: str | None,
    *,
    allow_inexact: bool = False,
    allow_tag: bool = False,
    offline: bool = False,
    strategy: Mapping[str, Any] | None = None,
) -> int:
    """Print the plan and return the exit code; hosts that could not be asked count.

    `strategy` are the flags that override `rollout:` in orchestrate.yml.
    """
    from orchestrator.cli import fleet
    from orchestrator.cli.strategy import with_flags
    from orchestrator.rollout.batches import Order
    from orchestrator.rollout.outcome import worst

    inventory, hosts = fleet.choose(context, groups, limit)
    wanted = fleet.wanted(context, inventory, hosts, model, allow_inexact=allow_inexact)
    hosts = fleet.with_a_wish(hosts, wanted)
    plans: Sequence[HostPlan]
    surveyed: Sequence[Surveyed]
    failed: Sequence[Failed]
    order = Order()
    settings = with_flags(context.project.settings, strategy or {}, inventory)
    if offline:
        from orchestrator.rollout.offline import plan_from_cache

        plans = plan_from_cache(fleet.facts_cache(context), hosts, wanted)
        surveyed, failed = (), ()
    else:
        from orchestrator.rollout.batch_run import order_of

        survey = fleet.look(context, "plan", hosts, wanted, allow_tag=allow_tag)
        plans, surveyed, failed = survey.plans, survey.surveyed, survey.failed
        order = order_of(settings.rollout, survey)
    code = worst(f.error.exit_code for f in failed)
    if context.json:
        problems = {s.task.host.name: s.problems for s in surveyed}
        steps = [{"kind": step.kind, "hosts": step.hosts} for step in order.steps]
        context.emit({"exit_code": code, "order": steps, **document(plans, problems, failed)})
    else:
        show(context.console, plans, failed)
        show_problems(context.console, surveyed)
        if told := order.stop or str(order):
            context.console.print(f"Order: {told}.")
    return code


def document(
    plans: Sequence[HostPlan],
    problems: Mapping[str, Sequence[Problem]],
    failed: Sequence[Failed],
) -> dict[str, Any]:
    """The JSON document of a plan; `problems` are by host."""
    from dataclasses import asdict

    from orchestrator.planning.explain import plan_document

    hosts: dict[str, Any] = {
        plan.host: plan_document(plan)
        | {"problems": [asdict(problem) for problem in problems.get(plan.host, ())]}
        for plan in plans
    }
    hosts |= {f.task.host.name: {"error": f.error.as_dict()} for f in failed}
    return {"hosts": hosts}


def show(console: Console, plans: Sequence[HostPlan], failed: Sequence[Failed] = ()) -> None:
    """Print one line a host, the config diffs that differ from each other, and the total."""
    from rich.text import Text

    from orchestrator.planning.explain import container_switch
    from orchestrator.sizes import human_size

    rows = table("host", "action", "artifact", "config", "to send", "why")
    for f in failed:
        why = Text(one_line(f.error.message, f.error.hint))
        rows.add_row(f.task.host.name, Text("cannot plan", "red"), "", "", "", why)
    for plan in sorted(plans, key=lambda p: (p.action == "unchanged", p.host)):
        release = plan.release
        rows.add_row(
            Text(plan.host, "bold"),
            Text(plan.action, "dim" if plan.action == "unchanged" else "green"),
            f"{release.artifact.format} {release.artifact.precision}",
            release.config,
            human_size(plan.bytes_to_send) if plan.bytes_to_send else "",
            Text("; ".join(filter(None, (*plan.reasons, container_switch(plan))))),
        )
    diffs: dict[tuple[str, ...], list[str]] = {}
    for plan in plans:
        if plan.config_diff and plan.present.config:
            changes = tuple(plan.config_diff.splitlines()[DIFF_HEADER:])
            diffs.setdefault(changes, []).append(plan.host)
    for changes, names in diffs.items():
        console.print(f"config of {', '.join(names)}", style="bold")
        console.print(Text("\n".join((*changes, ""))))
    console.print(rows)
    changing = sum(bool(plan.steps) for plan in plans)
    total = human_size(sum(plan.bytes_to_send for plan in plans))
    console.print(
        f"\n{changing} of {count(len(plans) + len(failed), 'host')} would change, {total} to send"
        + (f", {len(failed)} cannot be planned for" if failed else "")
    )


def show_problems(console: Console, surveyed: Sequence[Surveyed]) -> None:
    """Print what speaks against the plans of all hosts in one table, what blocks first."""
    from rich.text import Text

    found = sorted(
        ((s.task.host.name, problem) for s in surveyed for problem in s.problems),
        key=lambda each: (not each[1].blocks, each[0]),
    )
    if not found:
        return
    rows = table("host", "what", "problem", "hint")
    for host, problem in found:
        what = Text(problem.what, "bold red" if problem.blocks else "yellow")
        rows.add_row(Text(host, "bold"), what, Text(problem.message), Text(problem.hint))
    console.print()
    console.print(rows)
    blocked = list(dict.fromkeys(host for host, problem in found if problem.blocks))
    warned = len({host for host, _ in found} - set(blocked))
    told = [f"{len(blocked)} cannot take the release: {', '.join(blocked)}"] if blocked else []
    told += [f"{warned} with warnings only"] if warned else []
    console.print(f"\nhosts with problems: {'; '.join(told)}")
