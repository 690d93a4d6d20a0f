"""`orchestrate unlock`."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, agreed, one_line, pass_context
from orchestrator.listing import names as names_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from orchestrator.errors import OrchestrateError
    from orchestrator.fleet.host import Host
    from orchestrator.rollout.task import Surveyed


_PLAIN = re.compile(r"[\w.-]+")


@click.command("unlock")
@click.argument("names", metavar="HOST...", nargs=-1, required=True)
@click.option("--yes", is_flag=True, help="Do not ask.")
@pass_context
def command(context: Context, names: tuple[str, ...], yes: bool) -> int:
    """Break the locks of hosts, after showing whose they are.

    HOST is a host's name or a pattern, as in --limit. A host with a switch that nobody confirmed
    goes back first. The name fleet-project means the lock of the fleet project.
    """
    from orchestrator.rollout.outcome import worst
    from orchestrator.rollout.project_lock import NAME

    def allowed(question: str) -> bool:
        return yes or agreed(question)

    named = [name for name in names if name != NAME]
    hosts = _hosts(context, named) if named else []
    broken = _unlock_project(context, allowed) if NAME in names else []
    documents: dict[str, Any] = {}
    errors: list[OrchestrateError] = []
    if hosts:
        unlocking = Unlocking(allowed)
        unlocking.work(context, hosts)
        broken += unlocking.broken
        documents, errors = unlocking.documents, unlocking.errors
    for error in errors:
        click.echo(one_line(error.message, error.hint), err=True)
    code = worst(error.exit_code for error in errors)
    context.emit({"exit_code": code, "unlocked": broken, "hosts": documents})
    if not context.json:
        context.tell(f"Unlocked: {', '.join(broken)}." if broken else "Nothing was unlocked.")
    return code


class Unlocking:
    """The hosts whose locks were broken, what was found on each, and what went wrong."""

    def __init__(self, allowed: Callable[[str], bool]) -> None:
        self.broken: list[str] = []
        self.documents: dict[str, Any] = {}
        self.errors: list[OrchestrateError] = []
        self._allowed = allowed
        self._unlocked: list[str] = []

    def work(self, context: Context, hosts: Sequence[Host]) -> None:
        """Look at the hosts, and break the locks that may be broken."""
        from orchestrator.cli import fleet

        run, live = fleet.start(context, "unlock", hosts)
        with live:
            survey = run.survey(hosts)
        try:
            self.errors += [failed.error for failed in survey.failed]
            for surveyed in survey.surveyed:
                self._one(surveyed)
            if self._unlocked:
                are = "is" if len(self._unlocked) == 1 else "are"
                click.echo(f"{names_of(self._unlocked)} {are} not locked", err=True)
        finally:
            run.abandon(survey)

    def _one(self, surveyed: Surveyed) -> None:
        from orchestrator.errors import HostError

        if surveyed.lock is None:
            self._unlocked.append(surveyed.task.host.name)
            return
        name = surveyed.task.host.name
        self.documents[name] = _show(surveyed)
        if not self._allowed("Break it?"):
            return
        try:
            if self._changed_hands(surveyed):
                click.echo(f"{name}: somebody else has it now, it was not broken", err=True)
                return
            surveyed.session.break_lock()
            active = surveyed.session.state().current
        except HostError as exc:
            self.errors.append(exc)
            return
        self.broken.append(name)
        self.documents[name]["active"] = active
        if surveyed.present.armed is not None:
            click.echo(f"  {active or 'nothing'} is active there now", err=True)

    def _changed_hands(self, surveyed: Surveyed) -> bool:
        """Whether the lock is another's by now: an answer can take its time."""
        state, _ = surveyed.session.survey()
        return state.lock != surveyed.lock


def _hosts(context: Context, names: Sequence[str]) -> list[Host]:
    """The hosts that the names and patterns mean, each once; raises UsageError."""
    from orchestrator.cli import fleet
    from orchestrator.errors import UsageError
    from orchestrator.fleet import inventory
    from orchestrator.fleet.inventory.names import suggestion

    known = inventory.load(context.project.inventory)
    found: dict[str, Host] = {}
    for name in names:
        if _PLAIN.fullmatch(name) and name not in {*known.hosts, *known.groups}:
            raise UsageError(f"no host is named '{name}'", hint=suggestion(name, known.hosts))
        _, hosts = fleet.choose(context, (), name)
        found |= {host.name: host for host in hosts}
    return list(found.values())


def _unlock_project(context: Context, allowed: Callable[[str], bool]) -> list[str]:
    """Break the lock of the fleet project; the name of what was broken."""
    from orchestrator.rollout import project_lock

    held = project_lock.owner(context.project.state)
    if held is None:
        click.echo("the fleet project is not locked", err=True)
        return []
    click.echo(project_lock.locked(held).message, err=True)
    if not allowed("Break it?"):
        return []
    project_lock.break_lock(context.project.state)
    return [project_lock.NAME]


def _show(surveyed: Surveyed) -> dict[str, Any]:
    """Print whose lock it is and what goes back when it is broken; both as a document."""
    from orchestrator.targets import commands

    age = None if surveyed.lock_age is None else str(surveyed.lock_age)
    held = commands.locked(surveyed.lock or "", surveyed.task.host.name, age)
    click.echo(held.message, err=True)
    if surveyed.lock_age is not None and surveyed.lock_age <= commands.QUIET:
        told = f"  last sign of life {surveyed.lock_age} s ago: that run may well be at work"
        click.echo(told, err=True)
    armed = surveyed.present.armed
    if armed is None:
        return {"owner": held.owner, "unconfirmed": None}
    click.echo(
        f"  {armed.release} is active and not confirmed (run {armed.run}): "
        f"{armed.back or 'nothing'} is put back first",
        err=True,
    )
    return {"owner": held.owner, "unconfirmed": {"release": armed.release, "back": armed.back}}
