"""`orchestrate resume`, and what `deploy --resume` goes on with."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, pass_context
from orchestrator.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.fleet.host import Host, Inventory
    from orchestrator.history.records import RunDetail
    from orchestrator.history.store import History
    from orchestrator.rollout.journal import CutOff, Left
    from orchestrator.rollout.outcome import RunResult
    from orchestrator.rollout.task import Wanted

LAST = "last"
MANY = 1000
# The commands that bring hosts to a version, and say in their request to which.
DEPLOYING = frozenset({"deploy", "reconcile"})
NO_RUN: Mapping[str, Any] = {"run": None, "outcome": "unchanged", "exit_code": 0, "hosts": {}}


@click.command("resume")
@click.argument("run", required=False)
@pass_context
def command(context: Context, run: str | None) -> int:
    """Bring what a run that was cut off left in the middle to its end.

    RUN is the start of a run's id; by default it is the latest whose controller was killed or lost
    power. A host that was switched is verified there and confirmed, or goes back. Nothing is sent,
    and hosts that were not begun stay as they are: for those there is deploy --resume RUN.

    Exit status: 0 every host is settled, 3 some went back, 4 some are in neither state, 5 some
    could not be reached, 6 another command works on the fleet project or on a host.
    """
    from orchestrator.cli.cut_off import say_cut_off
    from orchestrator.fleet import inventory

    context.project_lock("resume")
    with _history(context) as history:
        cut, others = _chosen(history, run)
        if cut is None:
            return _nothing(context, history, run)
        say_cut_off(cut)
        known = inventory.load(context.project.inventory).hosts
        hosts = [known[name] for name in cut.in_flight if name in known]
        result = _settle(context, cut, hosts) if hosts else None
        _end(history, cut, known)
        left = _left(history, cut.run.id)
    _show(context, cut, result)
    _say_rest(cut, left)
    for other in others:
        say_cut_off(other, ": orchestrate resume")
    return result.exit_code if result else 0


@dataclass(frozen=True, slots=True)
class Rest:
    """What a deploy, by its id, left to do: hosts that are not there, and what they were to get."""

    run: str
    inventory: Inventory
    hosts: tuple[Host, ...]
    wanted: Mapping[str, Wanted]
    allow_tag: bool = False


def rest_of(context: Context, run: str) -> Rest:
    """The hosts that a deploy failed on, put back or never reached, with what it was asked.

    `run` is the start of its id, or `last`. Raises UsageError where there is no such deploy.
    """
    from orchestrator.cli import fleet
    from orchestrator.fleet import inventory
    from orchestrator.rollout import journal

    with _history(context) as history:
        detail = _deploy_named(history, run)
        rest = journal.left(history, detail)
    asked = journal.request(detail.run)
    loaded = inventory.load(context.project.inventory)
    left = [name for name in rest.hosts if name in asked["wanted"]]
    _say_overruled(rest)
    gone = [name for name in left if name not in loaded.hosts]
    if gone:
        click.echo(f"Left alone, not in the inventory any more: {', '.join(gone)}", err=True)
    hosts = tuple(loaded.hosts[name] for name in left if name in loaded.hosts)
    refs = {host.name: str(asked["wanted"][host.name]) for host in hosts}
    wanted: dict[str, Wanted] = {}
    for ref in dict.fromkeys(refs.values()):
        same = [host for host in hosts if refs[host.name] == ref]
        inexact = bool(asked.get("allow_inexact"))
        wanted |= fleet.wanted(context, loaded, same, ref, allow_inexact=inexact)
    return Rest(detail.run.id, loaded, hosts, wanted, bool(asked.get("allow_tag")))


def nothing_left(context: Context, run: str) -> int:
    """Say that a run left nothing to go on with."""
    context.emit(NO_RUN)
    if not context.json:
        context.tell(f"Nothing left to do: no host waits for what run {run} should bring.")
    return 0


def _chosen(history: History, run: str | None) -> tuple[CutOff | None, list[CutOff]]:
    """The cut-off run that is meant, and the others that left hosts in the middle."""
    from orchestrator.cli.history import known_run
    from orchestrator.rollout import journal

    found = journal.cut_off(history)
    if run is None or run == LAST:
        meant = found[0] if found else None
    else:
        given = known_run(history, run).run.id
        meant = next((each for each in found if given in {each.run.id, *each.resumed_by}), None)
    return meant, [each for each in found if each is not meant and each.in_flight]


def _nothing(context: Context, history: History, run: str | None) -> int:
    """Say that there is nothing to resume."""
    from orchestrator.cli.history import known_run
    from orchestrator.rollout import journal

    context.emit(
        {"run": None, "resumes": None, "outcome": "unchanged", "exit_code": 0, "hosts": {}}
    )
    if context.json:
        return 0
    if run is None or run == LAST:
        context.tell("Nothing to resume: no run was cut off.")
        return 0
    detail = known_run(history, run)
    this = detail.run
    if this.finished is None:
        context.tell(f"Nothing to resume: run {this.id} ({this.command}) switches nothing.")
        return 0
    ended = f"{this.outcome}, exit {this.exit_code}"
    context.tell(f"Nothing to resume: run {this.id} came to its end ({ended}).")
    if this.command == "deploy" and journal.left(history, detail).hosts:
        context.tell(f"What it did not reach: orchestrate deploy --resume {this.id}")
    return 0


def _settle(context: Context, cut: CutOff, hosts: Sequence[Host]) -> RunResult:
    """Bring the hosts to their end, as a run of its own."""
    from orchestrator.cli import fleet

    run, live = fleet.start(context, "resume", hosts, request={"resumes": cut.run.id})
    with live:
        return run.settle(run.survey(hosts), {cut.run.id, *cut.resumed_by})


def _end(history: History, cut: CutOff, known: Mapping[str, Host]) -> None:
    """Close the run, unless a host that could be settled later is still in the middle."""
    from orchestrator.rollout import journal

    now = next((each for each in journal.cut_off(history) if each.run.id == cut.run.id), cut)
    if not any(host in known for host in now.in_flight):
        journal.end(history, now)


def _show(context: Context, cut: CutOff, result: RunResult | None) -> None:
    """Print where each host was when the run was cut off, and what became of it."""
    from orchestrator.cli import summary

    document = result.as_dict() if result else NO_RUN
    at = {
        host: {"state": step.state, "release": step.release, "time": step.time}
        for host, step in cut.in_flight.items()
    }
    never_begun = list(cut.never_begun)
    context.emit({**document, "resumes": cut.run.id, "cut_off": at, "never_begun": never_begun})
    if context.json:
        return
    for host, step in cut.in_flight.items():
        of = f" of {step.release}" if step.release else ""
        gone = "" if result and host in document["hosts"] else "; not in the inventory any more"
        context.tell(f"{host} was cut off in {step.state}{of}{gone}")
    if result is not None:
        summary.show(context, result)


def _left(history: History, run: str) -> Left:
    """What the run left to do by now; nothing where the history cannot be read any more."""
    from orchestrator.rollout import journal

    detail = history.run(run)
    return journal.Left((), {}) if detail is None else journal.left(history, detail)


def _say_rest(cut: CutOff, left: Left) -> None:
    """Say which hosts the run never came to, and how to go on."""
    if cut.never_begun:
        click.echo(f"Never begun: {', '.join(cut.never_begun)}", err=True)
    _say_overruled(left)
    if cut.run.command == "deploy" and left.hosts:
        click.echo(
            f"Hosts that are not where it should bring them: {', '.join(left.hosts)}. "
            f"Go on: orchestrate deploy --resume {cut.run.id}",
            err=True,
        )
    elif cut.run.command == "rollback":
        names = ",".join(host for host in cut.never_begun if host in left.hosts)
        if names:
            click.echo(f"Go on: orchestrate rollback --limit '{names}'", err=True)


def _say_overruled(left: Left) -> None:
    """Say which hosts a later run gave something else."""
    for run in dict.fromkeys(left.overruled.values()):
        hosts = ", ".join(host for host, by in left.overruled.items() if by == run)
        click.echo(f"Left alone, overruled by run {run}: {hosts}", err=True)


def _deploy_named(history: History, run: str) -> RunDetail:
    """The deploy with that id, or the last; raises UsageError."""
    from orchestrator.cli.history import known_run
    from orchestrator.rollout import journal

    if run == LAST:
        deploys = [each.id for each in history.runs(MANY) if each.command == "deploy"]
        if not deploys:
            raise UsageError("there is no deploy to go on with", hint="See: orchestrate history")
        run = deploys[0]
    detail = known_run(history, run)
    if resumed := journal.resumes(detail.run):
        detail = known_run(history, resumed)
    if detail.run.command not in DEPLOYING:
        raise UsageError(
            f"run {detail.run.id} was no deploy but a {detail.run.command}",
            hint="Name a deploy: orchestrate history",
        )
    if not isinstance(journal.request(detail.run).get("wanted"), dict):
        raise UsageError(
            f"the history does not know what run {detail.run.id} was asked for",
            hint="Name its hosts: orchestrate deploy --limit PATTERN",
        )
    return detail


def _history(context: Context) -> History:
    from orchestrator.cli.history import refuse
    from orchestrator.history import open_history

    return open_history(context.project.history_url, refuse)
