"""`orchestrate trust`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli.common import Context, agreed, pass_context
from orchestrator.errors import HostKeyError, UsageError

if TYPE_CHECKING:
    from orchestrator.fleet.host import Host
    from orchestrator.targets.connection import ConnectionSpec

_NO_KEY = (
    "Only what is reached over SSH has one. Engines behind tcp:// are known by their certificates: "
    "docs/docker-certificates.md."
)


@click.command("trust")
@click.argument("host", metavar="PATTERN")
@click.option("--replace", is_flag=True, help="Also when another key is known for the host.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def command(context: Context, host: str, replace: bool, yes: bool) -> int:
    """Show the keys that hosts offer and add them to known_hosts.

    PATTERN is a host, a group or a pattern, as in --limit. Of a Docker host behind ssh:// it is
    the key of the machine that is gone through.

    Compare the fingerprint with what the host itself says:
    ssh-keygen -lf /etc/ssh/ssh_host_ed25519_key.pub
    """
    from orchestrator.cli import fleet
    from orchestrator.targets import trust

    _, hosts = fleet.choose(context, (), host)
    added: list[str] = []
    found = [(chosen, *_behind_ssh(context, chosen)) for chosen in hosts]
    if not any(spec for _, spec, _ in found):
        name, why = found[0][0].name, found[0][2]
        raise UsageError(f"{name} has no host key: {why}", hint=_NO_KEY)
    for chosen, spec, why in found:
        if spec is None:
            click.echo(f"{chosen.name}: no host key: {why}", err=True)
            continue
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


def _behind_ssh(context: Context, host: Host) -> tuple[ConnectionSpec | None, str]:
    """How the machine with the host's key is reached, or None and why there is no such key."""
    from orchestrator.targets.connection import connection_spec

    project = context.project
    spec = connection_spec(
        host, connect_timeout=project.settings.connect_timeout, folder=project.root
    )
    if spec.kind == "local":
        return None, "it is this machine"
    if spec.kind == "ssh":
        return spec, ""
    from orchestrator.targets.docker.endpoint import endpoint

    engine = endpoint(spec)
    return engine.ssh, "" if engine.ssh else f"its Docker Engine is {engine.shown}"
