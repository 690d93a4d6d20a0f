"""`orchestrate trust`."""

from __future__ import annotations

import click

from orchestrator.cli.common import Context, agreed, pass_context
from orchestrator.errors import HostKeyError


@click.command("trust")
@click.argument("host", metavar="PATTERN")
@click.option("--replace", is_flag=True, help="Also when another key is known for the host.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def command(context: Context, host: str, replace: bool, yes: bool) -> int:
    """Show the keys that hosts offer and add them to known_hosts.

    PATTERN is a host, a group or a pattern, as in --limit.

    Compare the fingerprint with what the host itself says:
    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
    """
    from orchestrator.cli import fleet
    from orchestrator.targets import trust
    from orchestrator.targets.connection import connection_spec

    _, hosts = fleet.choose(context, (), host)
    added = []
    for chosen in hosts:
        spec = connection_spec(chosen, connect_timeout=context.project.settings.connect_timeout)
        offered = trust.offered_key(spec)
        click.echo(f"{chosen.name}: {offered.kind} {offered.fingerprint}", err=True)
        if offered.known == "yes":
            click.echo(f"  already in {offered.file}", err=True)
            continue
        if offered.known == "changed" and not replace:
            raise HostKeyError(
                f"{chosen.name}: {offered.file} has another key for {offered.name}",
                code="host_key_mismatch",
                hint="If the host was reinstalled, give --replace.",
            )
        if yes or agreed(f"  Add it to {offered.file}?"):
            trust.remember(offered)
            added.append(chosen.name)
            click.echo(f"  added to {offered.file}", err=True)
    context.emit({"trusted": added})
    return 0
