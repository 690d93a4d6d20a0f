"""`orchestrate reconcile`."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import (
    Context,
    allow_tag_option,
    host_options,
    one_line,
    pass_context,
    table,
)
from orchestrator.errors import InputError, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.errors import OrchestrateError
    from orchestrator.fleet.host import Inventory
    from orchestrator.history.store import History
    from orchestrator.rollout.outcome import HostOutcome, RunResult
    from orchestrator.rollout.reconcile import Standing
    from orchestrator.rollout.task import Wanted

SECONDS = click.FloatRange(min=0, min_open=True)


def _finite(_ctx: click.Context, _param: click.Parameter, seconds: float) -> float:
    """The seconds, where they are a time that passes."""
    if not math.isfinite(seconds):
        raise click.BadParameter(f"{seconds} is no time to wait.")
    return seconds


@click.command("reconcile")
@host_options
@click.option("--watch", is_flag=True, help="Go on until no host waits, or Ctrl-C.")
@click.option(
    "--interval",
    type=SECONDS,
    callback=_finite,
    default=30.0,
    show_default=True,
    metavar="SECONDS",
    help="Between the first tries of a host; doubles each time, up to half an hour.",
)
@click.option("--list", "only_list", is_flag=True, help="Only show which hosts wait for what.")
@click.option(
    "--forget", multiple=True, metavar="HOST", help="Drop what HOST waits for; repeatable."
)
@allow_tag_option
@pass_context
def command(
    context: Context,
    groups: tuple[str, ...],
    limit: str | None,
    watch: bool,
    interval: float,
    only_list: bool,
    forget: tuple[str, ...],
    allow_tag: bool,
) -> int:
    """Bring hosts that a deploy could not reach what they should have got.

    Each host that waits and whose maintenance window (orchestrate_window) is open is tried once,
    or with --watch again and again. A rollout that was aborted leaves no host waiting; a later
    deploy or rollback overrules an earlier one.

    Exit status as for deploy; 5 also where a host still waits: for its window, or for a version
    that was yanked or removed. --watch ends with 0, 3 or 4 when no host waits any more, and with
    130 on Ctrl-C or SIGTERM, at once while nothing is deployed; what waits is kept for next time.
    """
    if sum((watch, only_list, bool(forget))) > 1:
        raise UsageError("--watch, --list and --forget do not go together", hint="Choose one.")
    work = Work(context, groups, limit, interval, allow_tag=allow_tag)
    if forget:
        work.forget(forget)
        return 0
    if only_list:
        show(context, work.look(patient=True))
        return 0
    return work.watch() if watch else work.once()


class Work:
    """The wishes that were chosen on the command line, and what became of their hosts."""

    def __init__(
        self,
        context: Context,
        groups: tuple[str, ...],
        limit: str | None,
        interval: float,
        *,
        allow_tag: bool,
    ) -> None:
        self.context = context
        self.allow_tag = allow_tag
        self.groups = groups
        self.limit = limit
        self.interval = interval
        self.run = ""
        self.outcomes: dict[str, HostOutcome] = {}
        self._told: set[str] = set()
        self._inventory: Inventory
        self._standings: list[Standing] = []

    def look(self, *, patient: bool) -> list[Standing]:
        """How the wishes stand now; raises InputError."""
        from orchestrator.cli import fleet
        from orchestrator.rollout.reconcile import lacking, standing

        with self._history() as history:
            wishes = history.wishes()
        self._inventory, chosen = fleet.choose(self.context, self.groups, self.limit)
        hosts = {host.name: host for host in chosen}
        catalog, now = fleet.catalog(self.context), time.time()
        every = not self.groups and self.limit is None
        self._standings = [
            standing(wish, hosts.get(wish.host), lacking(catalog, wish.model), now, patient=patient)
            for wish in wishes
            if every or wish.host in hosts
        ]
        return self._standings

    def once(self) -> int:
        """Try every host that may be tried; the exit code."""
        standings = self.look(patient=False)
        due = [each for each in standings if each.waits_for is None]
        interrupted = False
        if due:
            interrupted = self.attempt(due).interrupted
        return self._finish([s for s in standings if s not in due], interrupted=interrupted)

    def watch(self) -> int:
        """Try hosts as they become due, until none waits; the exit code."""
        from orchestrator.rollout.reconcile import Watch

        def attempt(due: Sequence[Standing]) -> None:
            if self.attempt(due).interrupted:
                raise KeyboardInterrupt
            self._tell_outcomes([each.wish.host for each in due])

        interrupted = False
        try:
            Watch(
                look=lambda: self.look(patient=True),
                attempt=attempt,
                refuse=self._refuse,
                tell=self._tell,
                clock=time.time,
                sleep=time.sleep,
            ).run()
        except KeyboardInterrupt:
            interrupted = True
        return self._finish(self._standings, interrupted=interrupted)

    def attempt(self, due: Sequence[Standing]) -> RunResult:
        """Deploy to the hosts what is wished for them, and take down which were not reached."""
        from orchestrator.rollout.reconcile import NOT_REACHED

        # What one run opens is closed with it, not when the watch ends.
        with click.Context(command, parent=click.get_current_context()).scope():
            result = self._deploy(due)
        self.run = result.run
        self.outcomes |= {outcome.host: outcome for outcome in result.hosts}
        wishes = {each.wish.host: each for each in due}
        for outcome in result.hosts:
            if outcome.status in NOT_REACHED and not result.interrupted:
                error = outcome.error.message if outcome.error else "it was not begun"
                self._postpone(wishes[outcome.host], error)
        return result

    def forget(self, hosts: Sequence[str]) -> None:
        """Drop wishes; raises UsageError, and drops none, for a host that waits for nothing."""
        from orchestrator.spelling import did_you_mean

        with self._history() as history:
            waiting = {wish.host: wish for wish in history.wishes()}
            for host in hosts:
                if host not in waiting:
                    hint = did_you_mean(host, waiting) or "See: orchestrate reconcile --list"
                    raise UsageError(f"{host} waits for nothing", hint=hint)
            for host in hosts:
                history.forget(host)
        self.context.emit({"forgotten": list(hosts)})
        if not self.context.json:
            for host in hosts:
                self.context.tell(f"{host} does not wait for {waiting[host].model} any more.")

    def _deploy(self, due: Sequence[Standing]) -> RunResult:
        from orchestrator.cli import fleet
        from orchestrator.rollout.batch_run import deploy
        from orchestrator.rollout.reconcile import at_once

        hosts = [each.host for each in due if each.host is not None]
        settings = at_once(self.context.project.settings)
        run, live = fleet.start(
            self.context, "reconcile", hosts, settings=settings, allow_tag=self.allow_tag
        )
        wanted: dict[str, Wanted] = {}
        for each, host in zip(due, hosts, strict=True):
            wanted |= fleet.wanted(
                self.context,
                self._inventory,
                [host],
                each.wish.model,
                allow_inexact=each.wish.allow_inexact,
            )
        with live:
            survey = run.survey(hosts, wanted)
        try:
            blobs = fleet.blob_paths(self.context, survey.plans)
        except BaseException:
            run.abandon(survey)
            raise
        with live:
            return deploy(run, survey, blobs)

    def _finish(self, standings: Sequence[Standing], *, interrupted: bool) -> int:
        from orchestrator.cli import summary
        from orchestrator.rollout.outcome import RunResult

        waiting = {each.wish.host: each.outcome for each in standings}
        hosts = tuple((waiting | self.outcomes).values())
        result = RunResult(self.run, hosts, interrupted=interrupted)
        if self.context.json:
            self.context.emit(result.as_dict() | {"run": self.run or None})
        elif hosts or interrupted:
            summary.show(self.context, result)
        else:
            self.context.tell("No host waits for anything.")
        return result.exit_code

    def _refuse(self, standing: Standing, error: InputError) -> None:
        self._postpone(standing, error.message)
        self._tell([error])

    def _postpone(self, standing: Standing, error: str) -> None:
        from orchestrator.rollout.reconcile import pause

        wish = standing.wish
        until = time.time() + pause(wish.attempts + 1, self.interval)
        with self._history() as history:
            history.postpone(wish.host, until=until, error=error)

    def _tell(self, errors: Sequence[OrchestrateError]) -> None:
        """Say what is waited for, what was said before only once."""
        lines = [one_line(error.message, error.hint) for error in errors]
        for line in lines:
            if line not in self._told:
                click.echo(line, err=True)
        self._told = set(lines)

    def _tell_outcomes(self, hosts: Sequence[str]) -> None:
        from orchestrator.cli import summary

        for host in hosts:
            outcome = self.outcomes[host]
            status = str(outcome.status).replace("_", " ")
            click.echo(f"{host}: {status}, {summary.sentence(outcome)}", err=True)

    def _history(self) -> History:
        from orchestrator.history import open_history

        return open_history(self.context.project.history_url, cannot_be_read)


def cannot_be_read(problem: str) -> None:
    """What waits is in the history: without it nothing can be done."""
    raise UsageError(
        problem, hint="Which hosts wait for what is kept there: deploy to them anew instead."
    )


def show(context: Context, standings: Sequence[Standing]) -> None:
    """Print one line a host that waits."""
    from rich.text import Text

    from orchestrator.rollout.reconcile import local

    if context.json:
        context.emit({"wishes": [document(each) for each in standings]})
        return
    if not standings:
        context.tell("No host waits for anything.")
        return
    rows = table("host", "wanted", "since", "tries", "next try", "window", "")
    for each in standings:
        wish, waits_for = each.wish, each.waits_for
        told = waits_for.message if waits_for else wish.last_error
        due = "" if each.until is None else local(each.until) if waits_for else "now"
        cells = [
            wish.model,
            local(wish.since),
            str(wish.attempts),
            due,
            str(each.window or "always"),
            told,
        ]
        rows.add_row(Text(wish.host, style="bold"), *(Text(cell) for cell in cells))
    context.console.print(rows)


def document(standing: Standing) -> dict[str, Any]:
    """A wish as --json shows it; `waits_for` is null when the host may be tried now."""
    from dataclasses import asdict

    return {
        **asdict(standing.wish),
        "window": str(standing.window) if standing.window else None,
        "until": standing.until,
        "waits_for": standing.waits_for.as_dict() if standing.waits_for else None,
    }
