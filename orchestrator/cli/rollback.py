"""`orchestrate rollback`."""

from __future__ import annotations

import click

from orchestrator.cli.common import Context, confirm, host_options, pass_context


@click.command("rollback")
@host_options
@click.option(
    "--to", metavar="RELEASE", help="A release, or NAME@VERSION; default: what last passed before."
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def command(
    context: Context, groups: tuple[str, ...], limit: str | None, to: str | None, yes: bool
) -> int:
    """Put hosts back on the last release that passed there; model and config go back as one.

    Nothing is sent: the release lies on the host. It is verified again; where it fails, the host
    keeps what it had. Exit status as for deploy.
    """
    from orchestrator.cli import fleet
    from orchestrator.cli.deploy import finish

    _, hosts = fleet.choose(context, groups, limit)
    run, live = fleet.start(context, "rollback", hosts)
    with live:
        survey = run.survey(hosts)
    try:
        targets = run.ways_back(survey, to)
        if not yes and targets:
            for host, (now, back) in targets.items():
                click.echo(f"{host}: {now or 'nothing'} → {back}", err=True)
            confirm("Go ahead?")
    except BaseException:
        run.abandon(survey)
        raise
    with live:
        result = run.rollback(survey, targets)
    return finish(context, result)
