"""`orchestrate verify`."""

from __future__ import annotations

import click

from orchestrator.cli.common import Context, host_options, pass_context


@click.command("verify")
@host_options
@pass_context
def command(context: Context, groups: tuple[str, ...], limit: str | None) -> int:
    """Run the smoke benchmark of what is active now; nothing is switched.

    Exit status 0 when every host passes, 4 when one does not: it is still active there.
    """
    from orchestrator.cli import fleet
    from orchestrator.cli.deploy import finish

    _, hosts = fleet.choose(context, groups, limit)
    run, live = fleet.start(context, "verify", hosts)
    with live:
        result = run.verify(run.survey(hosts))
    return finish(context, result)
