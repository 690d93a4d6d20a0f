"""How ready hosts are for their profiles, as `facts` and `provision` show it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli.common import table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    from orchestrator.planning.readiness import Readiness


def show(console: Console, found: Mapping[str, Readiness]) -> None:
    """Print one line a host, and below what hosts lack."""
    console.print(rows(found))
    tell(console, found)


def rows(found: Mapping[str, Readiness]) -> Table:
    """What each host serves, and which artifacts of the profile it runs now."""
    from rich.text import Text

    made = table("host", "serves", "runs")
    for name, host in found.items():
        made.add_row(Text(name, "bold"), serves(host), Text(", ".join(host.runs) or "nothing"))
    return made


def serves(host: Readiness) -> Text:
    """`raspberry-pi`, or `raspberry-pi, not yet`."""
    from rich.text import Text

    if host.ready:
        return Text(host.profile, "green")
    return Text(f"{host.profile}, not yet" if host.profile else "no profile", "yellow")


def tell(console: Console, found: Mapping[str, Readiness]) -> None:
    """Print what hosts lack, those that lack the same in one line, those not ready first."""
    from rich.text import Text

    for line, ready in sorted(lines(found), key=lambda each: each[1]):
        console.print(Text(line, "" if ready else "yellow"), soft_wrap=True)


def lines(found: Mapping[str, Readiness]) -> list[tuple[str, bool]]:
    """`pi-3: not ready for raspberry-pi: ... Try: ...`, and whether these hosts are ready."""
    from dataclasses import replace

    from orchestrator.listing import names
    from orchestrator.planning.readiness import provision_command

    alike: dict[tuple[Readiness, bool], list[str]] = {}
    for name, host in found.items():
        if host.lacks:
            provision = host.command == provision_command([name])
            said = replace(host, command="") if provision else host
            alike.setdefault((said, provision), []).append(name)
    told = []
    for (host, provision), hosts in alike.items():
        way = f"Try: {provision_command(hosts)}" if provision else host.command
        told.append((f"{names(hosts)}: {_lacks(host)}. {way}".rstrip(), host.ready))
    return told


def _lacks(host: Readiness) -> str:
    lacks = "; ".join(lack.what for lack in host.lacks)
    if not host.profile:
        return lacks
    standing = "ready" if host.ready else "not ready"
    return f"{standing} for {host.profile}{', but' if host.ready else ':'} {lacks}"
