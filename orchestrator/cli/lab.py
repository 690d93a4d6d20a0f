"""`orchestrate lab`: a fleet of local SSH hosts to try everything on."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

import click

from orchestrator.cli.common import Context, Group, pass_context
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from orchestrator.lab.fleet import LabStatus

DEFAULT_HOSTS = "rpi:2,jetson:2,gpu:2"


@click.group(cls=Group)
def command() -> None:
    """A fleet of local SSH hosts to try everything on.

    Each host is a real SSH server on a port of 127.0.0.1 that runs commands for real; only its
    hardware is simulated.
    """


@command.command()
@click.argument("names", nargs=-1, metavar="[HOST]...")
@click.option(
    "--hosts",
    metavar="KIND:N,...",
    help=f"Kinds: rpi, jetson, gpu, cpu; default: {DEFAULT_HOSTS}.",
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
def up(
    context: Context,
    names: tuple[str, ...],
    hosts: str | None,
    port_base: int | None,
    latency: int,
    rate: int,
) -> None:
    """Start the hosts and write inventory/lab.yml; with HOST switch those on again.

    Only hosts that `lab down HOST` switched off are started with HOST.
    """
    from orchestrator.lab import fleet
    from orchestrator.lab.hosts import parse_hosts

    if names:
        if hosts or port_base or latency or rate:
            raise UsageError(
                "the options of `lab up` are those of a new lab, hosts of this one are named",
                hint=f"orchestrate lab up {' '.join(names)}",
            )
        fleet.bring_up(context.project.root, names)
        show(context, fleet.status(context.project.root))
        return
    lab = fleet.up(
        context.project.root,
        parse_hosts(hosts or DEFAULT_HOSTS),
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
    """The hosts of the lab, and which of them are down or broken on purpose."""
    from orchestrator.lab import fleet

    show(context, fleet.status(context.project.root))


@command.command()
@click.argument("names", nargs=-1, metavar="[HOST]...")
@pass_context
def down(context: Context, names: tuple[str, ...]) -> None:
    """Stop the hosts and delete all that they had; with HOST only switch those off.

    A host that is off has lost its connections and all that ran there, and keeps its files.
    """
    from orchestrator.lab import fleet

    if names:
        fleet.take_down(context.project.root, names)
        show(context, fleet.status(context.project.root))
        return
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
    table = Table("host", "group", "pretends to be", "port", "", box=None)
    for host in lab.hosts:
        state = ", ".join(filter(None, ["" if host.up else "down", host.broken]))
        table.add_row(host.name, host.group, host.identity, str(host.port), state)
    context.console.print(table)
