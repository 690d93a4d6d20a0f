"""`orchestrate deploy`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, allow_tag_option, confirm, host_options, pass_context
from orchestrator.cli.strategy import strategy_options, with_flags
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.rollout.outcome import RunResult


@click.command("deploy")
@host_options
@click.option("--model", metavar="NAME@VERSION", help="Instead of the inventory's, for this run.")
@click.option("--allow-inexact", is_flag=True, help="Take artifacts that fail the accuracy gate.")
@allow_tag_option
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.option("--check", is_flag=True, help="Only show the plan, as `plan` does.")
@click.option(
    "--resume",
    "left_by",
    metavar="RUN",
    help="Only hosts that RUN failed on or never reached, as it was asked; or `last`.",
)
@strategy_options
@pass_context
def command(
    context: Context,
    groups: tuple[str, ...],
    limit: str | None,
    model: str | None,
    allow_inexact: bool,
    allow_tag: bool,
    yes: bool,
    check: bool,
    left_by: str | None,
    strategy: Mapping[str, Any],
) -> int:
    """Bring hosts to the wanted version, verified there or rolled back.

    Canaries go first, then batches, until too many fail: `rollout:` in orchestrate.yml, and the
    flags of the same names.

    Exit status: 0 every host is there and verified, 3 some were rolled back, 4 some are in neither
    state, 5 some could not be reached, 6 some are locked, 2 bad input and nothing was touched.
    """
    from orchestrator.cli import fleet, plan
    from orchestrator.cli.resume import nothing_left, rest_of
    from orchestrator.rollout import batch_run

    request: dict[str, Any] = {
        "model": model,
        "allow_inexact": allow_inexact,
        "allow_tag": allow_tag,
        "groups": groups,
        "limit": limit,
    }
    if left_by is not None:
        alone(request | {"check": check})
        rest = rest_of(context, left_by)
        if not rest.hosts:
            return nothing_left(context, rest.run)
        allow_tag = rest.allow_tag
        request = {"rest_of": rest.run, "allow_tag": allow_tag}
        inventory, hosts, wanted = rest.inventory, rest.hosts, rest.wanted
    elif check:
        return plan.show_plan(
            context,
            groups,
            limit,
            model,
            allow_inexact=allow_inexact,
            allow_tag=allow_tag,
            strategy=strategy,
        )
    else:
        inventory, hosts = fleet.choose(context, groups, limit)
        wanted = fleet.wanted(context, inventory, hosts, model, allow_inexact=allow_inexact)
        hosts = fleet.with_a_wish(hosts, wanted)
    settings = with_flags(context.project.settings, strategy, inventory)
    run, live = fleet.start(
        context,
        "deploy",
        hosts,
        settings=settings,
        unasked=yes,
        request=request,
        allow_tag=allow_tag,
    )
    with live:
        survey = run.survey(hosts, wanted)
    try:
        blobs = fleet.blob_paths(context, survey.plans)
        ask = not yes and any(p.steps for p in survey.plans)
        if ask:
            plan.show(context.console, survey.plans, survey.failed)
        plan.show_problems(context.console, survey.surveyed)
        if ask:
            order = batch_run.order_of(settings.rollout, survey)
            context.console.print(f"Order: {order.stop or order}.")
            confirm("Go ahead?")
    except BaseException:
        run.abandon(survey)
        raise
    with live:
        result = batch_run.deploy(run, survey, blobs)
    return finish(context, result, {host: each.version.ref for host, each in wanted.items()})


def alone(others: Mapping[str, Any]) -> None:
    """Refuse what --resume RUN has from RUN itself."""
    given = [f"--{name.replace('_', '-').removesuffix('s')}" for name in others if others[name]]
    if given:
        raise UsageError(
            f"--resume goes with what its run was asked for, not with {', '.join(given)}",
            hint="Leave that out, or --resume.",
        )


def finish(context: Context, result: RunResult, wanted: Mapping[str, str] | None = None) -> int:
    """Print what came of a run and return its exit code; `wanted` as for `summary.show`."""
    from orchestrator.cli import summary

    if context.json:
        context.emit(result.as_dict())
    else:
        summary.show(context, result, wanted)
    return result.exit_code
