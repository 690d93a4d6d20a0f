"""What a run of `provision` came to: changes, advice, readiness, and a line a host, worst first."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.cli import readiness
from orchestrator.cli.common import one_line
from orchestrator.cli.summary import Line, print_lines, rank, totals
from orchestrator.cli.terminal import may_be_gone
from orchestrator.listing import count, names
from orchestrator.provision.outcome import Status

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from orchestrator.cli.common import Context
    from orchestrator.provision.outcome import Change, ProvisionOutcome, ProvisionResult

STYLES = {
    Status.PROVISIONED: "green",
    Status.UNCHANGED: "dim",
    Status.WOULD_CHANGE: "yellow",
    Status.REMOVED: "green",
    Status.FAILED: "bold red",
    Status.UNREACHABLE: "magenta",
    Status.LOCKED: "cyan",
    Status.SKIPPED: "dim",
}


def show(context: Context, result: ProvisionResult) -> None:
    """Print what changed, or would, then advice, readiness, and every host's line."""
    with may_be_gone():
        _changes(context, result)
        _advice(context, result)
        _readiness(context, result)
        _hosts(context, result)


def _hosts(context: Context, result: ProvisionResult) -> None:
    hosts = sorted(result.hosts, key=rank)
    lines = [Line(h.host, words(h), STYLES[h.status], sentence(h)) for h in hosts]
    before = "interrupted: " if result.interrupted else ""
    # A prediction is not recorded: its id would lead nowhere.
    end = [totals(lines), *([] if result.check else [f"run {result.run}"])]
    print_lines(context, lines, before + " · ".join([*end, f"exit {result.exit_code}"]))


def words(host: ProvisionOutcome) -> str:
    """The host's status as people read it."""
    return str(host.status).replace("_", " ")


def sentence(host: ProvisionOutcome) -> str:
    """What happened on the host, and what to do next."""
    if host.error:
        return one_line(host.error.message, host.error.hint)
    if not host.changed:
        return "" if host.status is Status.SKIPPED else "nothing to change"
    return in_words([change.role for change in host.changed])


def in_words(roles: Sequence[str]) -> str:
    """`3 changes: base, onnxruntime`, from the role of each change."""
    named = ", ".join(dict.fromkeys(filter(None, roles)))
    return count(len(roles), "change") + (f": {named}" if named else "")


def _changes(context: Context, result: ProvisionResult) -> None:
    """What changed, or would: hosts with the same changes in one list."""
    for hosts, changes in _alike((h.host, h.changed) for h in result.hosts if h.changed):
        context.tell(f"{'would change' if result.check else 'changed'} on {names(hosts)}:")
        width = max(len(change.role) for change in changes)
        for change in changes:
            context.tell(f"  {change.role:<{width}}  {change.task}")
            for line in change.diff.splitlines():
                context.tell(f"    {line}")
        context.tell("")


def _advice(context: Context, result: ProvisionResult) -> None:
    """What Ansible left to the operator, each sentence once."""
    hosts_of: dict[str, list[str]] = {}
    for host in result.hosts:
        for advice in host.advice:
            hosts_of.setdefault(advice, []).append(host.host)
    for advice, hosts in hosts_of.items():
        context.tell(f"{names(hosts)}: {advice}")
    if hosts_of:
        context.tell("")


def _readiness(context: Context, result: ProvisionResult) -> None:
    found = {host.host: host.readiness for host in result.hosts if host.readiness is not None}
    if found:
        readiness.show(context.console, found)
        context.tell("")


def _alike(
    each: Iterable[tuple[str, tuple[Change, ...]]],
) -> Iterator[tuple[list[str], tuple[Change, ...]]]:
    """The hosts that have the same changes, and those changes."""
    hosts_of: dict[tuple[Change, ...], list[str]] = {}
    for host, changes in each:
        hosts_of.setdefault(changes, []).append(host)
    for changes, hosts in hosts_of.items():
        yield hosts, changes
