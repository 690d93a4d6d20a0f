"""`orchestrate unlock`."""

from __future__ import annotations

import click

from orchestrator.cli.common import Context, agreed, host_options, one_line, pass_context


@click.command("unlock")
@host_options
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def command(context: Context, groups: tuple[str, ...], limit: str | None, yes: bool) -> int:
    """Break a lock that somebody left on a host, after showing whose it is."""
    from orchestrator.cli import fleet
    from orchestrator.rollout.outcome import worst
    from orchestrator.targets import commands

    _, hosts = fleet.choose(context, groups, limit)
    run, live = fleet.start(context, "unlock", hosts)
    with live:
        survey = run.survey(hosts)
    broken = []
    try:
        for surveyed in survey.surveyed:
            name = surveyed.task.host.name
            if surveyed.lock is None:
                continue
            held = commands.locked(surveyed.lock, name)
            click.echo(held.message, err=True)
            if yes or agreed("Break it?"):
                surveyed.session.break_lock()
                broken.append(name)
    finally:
        run.abandon(survey)
    for failed in survey.failed:
        click.echo(one_line(failed.error.message, failed.error.hint), err=True)
    context.emit({"unlocked": broken})
    if not context.json:
        click.echo(f"Unlocked: {', '.join(broken)}." if broken else "Nothing was unlocked.")
    return worst(failed.error.exit_code for failed in survey.failed)
