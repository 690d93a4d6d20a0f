"""`orchestrate lab`: a fleet of local SSH hosts to try everything on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.common import Context, pass_context

if TYPE_CHECKING:
    from orchestrator.lab.fleet import LabStatus


@click.group()
def command() -> None:
    """A fleet of local SSH hosts to try everything on.

    Each host is a real SSH server on a port of 127.0.0.1 that runs commands for real; only its
    hardware is simulated.
    """


@command.command()
@click.option(
    "--hosts",
    default="rpi:2,jetson:2,gpu:2",
    show_default=True,
    metavar="KIND:N,...",
    help="Kinds: rpi, jetson, gpu, cpu.",
)
@click.option(
    "--port-base",
    type=click.IntRange(1024, 65000),
    default=None,
    help="First port; default: any free ports.",
)
@click.option(
    "--latency", type=click.IntRange(0), default=0, metavar="MS", help="Added to each round trip."
)
@click.option(
    "--rate", type=click.IntRange(0), default=0, metavar="KBPS", help="KB/s a connection carries."
)
@pass_context
def up(context: Context, hosts: str, port_base: int | None, latency: int, rate: int) -> None:
    """Start the hosts and write inventory/lab.yml."""
    from orchestrator.lab import fleet
    from orchestrator.lab.hosts import parse_hosts

    lab = fleet.up(
        context.project.root,
        parse_hosts(hosts),
        port_base=port_base or 0,
        latency=latency / 1000,
        rate=rate * 1000,
    )
    show(context, lab)
    context.console.print(
        "They are in inventory/lab.yml: try [bold]orchestrate facts --group lab[/]"
    )


@command.command()
@pass_context
def status(context: Context) -> None:
    """The hosts that are up, and which of them are broken on purpose."""
    from orchestrator.lab import fleet

    show(context, fleet.status(context.project.root))


@command.command()
@pass_context
def down(context: Context) -> None:
    """Stop the hosts and delete all that they had."""
    from orchestrator.lab import fleet

    was_up = fleet.down(context.project.root)
    context.console.print("The lab is gone." if was_up else "No lab is up.")
    context.emit({"lab": None, "was_up": was_up, "exit_code": 0})


@command.command(name="break")
@click.argument("host")
@click.option(
    "--how", required=True, metavar="FAULT", help="refuse, cut-after:BYTES or new-host-key."
)
@pass_context
def break_(context: Context, host: str, how: str) -> None:
    """Make new connections to HOST fail.

    refuse: nobody listens. cut-after:BYTES: the connection is reset after so many bytes from us.
    new-host-key: the host shows a key that is not in known_hosts.
    """
    from orchestrator.lab import fleet

    fleet.break_host(context.project.root, host, how)
    show(context, fleet.status(context.project.root))


@command.command()
@click.argument("host")
@pass_context
def mend(context: Context, host: str) -> None:
    """Undo what `lab break` did to HOST."""
    from orchestrator.lab import fleet

    fleet.mend_host(context.project.root, host)
    show(context, fleet.status(context.project.root))


def show(context: Context, lab: LabStatus | None) -> None:
    """Print the hosts of a lab as a table, and as JSON when asked."""
    from rich.table import Table

    context.emit({"lab": asdict(lab) if lab else None, "exit_code": 0})
    if lab is None:
        context.console.print("No lab is up.")
        return
    table = Table("host", "group", "pretends to be", "port", "broken", box=None)
    for host in lab.hosts:
        table.add_row(host.name, host.group, host.identity, str(host.port), host.broken)
    context.console.print(table)
