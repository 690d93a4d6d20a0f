"""`orchestrate history`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli import common
from orchestrator.cli.common import Context, pass_context
from orchestrator.errors import UsageError
from orchestrator.history.records import HostRecord, Transition

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from rich.table import Table

    from orchestrator.history.records import Benchmark, Milestone, RunDetail, RunRecord
    from orchestrator.history.store import History
    from orchestrator.rollout.journal import CutOff
    from orchestrator.verify.baseline import Baseline

STYLES = {
    "deployed": "green",
    "verified": "green",
    "provisioned": "green",
    "removed": "green",
    "pass": "green",
    "unchanged": "dim",
    "rolled_back": "yellow",
    "inconclusive": "yellow",
    "failed": "bold red",
    "fail": "bold red",
    "unreachable": "magenta",
    "locked": "cyan",
    "unfinished": "yellow",
    "never_begun": "dim",
}
# The columns that are typed again.
WHOLE = ("run", "host")
# Columns of a terminal from which on a reason has room in its row.
WIDE = 120


@click.command("history")
@click.argument("run", required=False)
@click.option("--host", metavar="HOST", help="What became of one host, run by run.")
@click.option("--benchmarks", is_flag=True, help="What was measured, and the baselines from it.")
@click.option(
    "-n", "count", type=click.IntRange(1), default=20, show_default=True, help="At most so many."
)
@pass_context
def command(
    context: Context, run: str | None, host: str | None, benchmarks: bool, count: int
) -> None:
    """Show past runs, newest first, or one RUN (the start of its id will do) step by step."""
    if run and (host or benchmarks):
        raise UsageError(
            "RUN goes with neither --host nor --benchmarks", hint="Leave one of them out."
        )
    from orchestrator.history import open_history

    with open_history(context.project.history_url, refuse) as history:
        if benchmarks:
            show_benchmarks(
                context, history.benchmarks(host=host, limit=count), history.baselines()
            )
        elif host:
            show_host(context, host, _known_host(history, host, count))
        elif run:
            show_run(context, history, known_run(history, run))
        else:
            show_runs(context, history.runs(count))


def show_runs(context: Context, runs: list[RunRecord]) -> None:
    """Print one line a run."""
    from dataclasses import asdict

    if context.json:
        context.emit({"runs": [asdict(run) for run in runs]})
        return
    if not runs:
        context.console.print("No runs yet.")
        return
    table = _table("run", "started", "command", "hosts", "outcome", "exit", "took", "by")
    for run in runs:
        table.add_row(
            _styled(run.id, "bold"),
            _local(run.started),
            run.command,
            str(run.hosts),
            _status(run.outcome or "unfinished"),
            "" if run.exit_code is None else str(run.exit_code),
            "" if run.finished is None else f"{run.finished - run.started:.1f} s",
            run.user,
        )
    context.console.print(table)


def show_run(context: Context, history: History, detail: RunDetail) -> None:
    """Print a run: what became of each of its hosts, and every state they entered."""
    from dataclasses import asdict

    from orchestrator.rollout import journal

    later = history.outcomes_since(detail.run.started)
    cut = journal.read(detail, later)
    settled_by = journal.settled_by(detail, later)
    if context.json:
        context.emit(
            {
                "run": asdict(detail.run),
                "hosts": {record.host: record.outcome for record in detail.hosts},
                "in_flight": {host: step.state for host, step in cut.in_flight.items()},
                "never_begun": list(cut.never_begun),
                "settled_by": settled_by,
                "transitions": [asdict(step) for step in detail.transitions],
                "milestones": [asdict(milestone) for milestone in detail.milestones],
            }
        )
        return
    show_runs(context, [detail.run])
    for line in related(history, detail.run, settled_by):
        context.console.print(_styled(line))
    context.console.print()
    records = every_host(detail, cut)
    named = [((_styled(record.host, "bold"),), record) for record in records]
    show_outcomes(context, ("host",), named)
    show_words(context, records)
    context.console.print()
    show_steps(context, detail)


def show_steps(context: Context, detail: RunDetail) -> None:
    """Print every state that a host entered and what happened to the run as a whole, in order."""
    steps_table = _table("after", "host", "state", "release", "")
    steps: list[Milestone | Transition] = [*detail.milestones, *detail.transitions]
    for step in sorted(steps, key=lambda step: step.time):
        after = f"{step.time - detail.run.started:.2f} s"
        if isinstance(step, Transition):
            host, told = _styled(step.host, "bold"), _styled(step.detail)
            steps_table.add_row(after, host, step.state, step.release or "", told)
        else:
            steps_table.add_row(after, "", *milestone_words(step))
    context.console.print(steps_table)


def related(history: History, run: RunRecord, settled_by: Mapping[str, str]) -> list[str]:
    """A line for each run that this one goes on with, or that went on with this one."""
    from orchestrator.rollout import journal

    asked = journal.request(run)
    lines = [f"resumes run {asked['resumes']}"] if asked.get("resumes") else []
    lines += [f"goes on with what run {asked['rest_of']} left"] if asked.get("rest_of") else []
    for by in dict.fromkeys(settled_by.values()):
        hosts = ", ".join(host for host, settler in settled_by.items() if settler == by)
        lines.append(f"settled by run {by}: {hosts}")
    later = history.runs_since(run.started)
    going_on = [each.id for each in later if journal.request(each).get("rest_of") == run.id]
    return lines + ([f"gone on with by run {', '.join(going_on)}"] if going_on else [])


def every_host(detail: RunDetail, cut: CutOff) -> list[HostRecord]:
    """An entry for each host of the run, in its order; of one without an outcome, how far it got.

    A run that ended before anything was touched has none for those.
    """
    from orchestrator.history.store import ABANDONED
    from orchestrator.rollout import journal

    run = detail.run
    known = dict(cut.done) | dict(cut.settled)
    for host, step in cut.in_flight.items():
        told = {"release": "", "tried": step.release, "error": {"message": f"last in {step.state}"}}
        known[host] = HostRecord(run.id, host, step.time, "unfinished", told)
    if run.outcome != ABANDONED:
        for host in cut.never_begun:
            known[host] = HostRecord(run.id, host, run.started, "never_begun", {"release": ""})
    return [known[host] for host in journal.names(detail) if host in known]


def milestone_words(milestone: Milestone) -> tuple[str, str, Any]:
    """A milestone as the cells `state`, `release` and what it tells."""
    told = milestone.document
    if milestone.event == "batch_started":
        state = f"{told['kind']} {told['batch']} of {told['batches']}"
        return state, "", _styled(", ".join(told["hosts"]))
    not_begun = ", ".join(told["not_begun"]) or "none"
    return "aborted", "", _styled(f"{told['reason']}; not begun: {not_begun}")


def show_host(context: Context, host: str, records: list[HostRecord]) -> None:
    """Print one line for each run that the host was in."""
    from dataclasses import asdict

    if context.json:
        context.emit({"host": host, "runs": [asdict(record) for record in records]})
        return
    named = [((_styled(record.run, "bold"), _local(record.time)), record) for record in records]
    show_outcomes(context, ("run", "ended"), named)
    show_words(context, records[:1])


def show_outcomes(
    context: Context, columns: tuple[str, ...], named: list[tuple[tuple[Any, ...], HostRecord]]
) -> None:
    """Print one line an outcome behind its cells; a narrow terminal has the reasons below."""
    narrow = context.console.width < WIDE
    table = _table(*columns, "status", "tried", "active", "verdict", *([] if narrow else [""]))
    for cells, record in named:
        table.add_row(*cells, *_outcome(record), *([] if narrow else [_styled(_reason(record))]))
    context.console.print(table)
    for cells, record in named:
        reason = _reason(record)
        if narrow and reason:
            named_already = reason.startswith(cells[0].plain)
            context.console.print(*([] if named_already else cells[:1]), _styled(reason))


def show_words(context: Context, records: Iterable[HostRecord]) -> None:
    """Print what the engine itself said where a host did not pass."""
    for record in records:
        verify = record.outcome.get("verify") or {}
        if verify.get("verdict") != "pass" and verify.get("detail"):
            context.console.print(f"\nwhat the engine said on {record.host}:", style="bold")
            context.console.print(_styled(verify["detail"]))


def show_benchmarks(
    context: Context, benchmarks: list[Benchmark], baselines: Mapping[Any, Baseline]
) -> None:
    """Print one line a measurement, then the baselines."""
    from dataclasses import asdict

    from orchestrator.verify.baseline import amount

    if context.json:
        measured = [asdict(b) | {"key": b.key._asdict()} for b in benchmarks]
        held = [key._asdict() | asdict(baseline) for key, baseline in baselines.items()]
        context.emit({"benchmarks": measured, "baselines": held})
        return
    if not benchmarks:
        context.console.print("No benchmarks yet.")
        return
    table = _table("measured", "host", "class", "model", "artifact", "engine", "verdict", "")
    for benchmark in benchmarks:
        key = benchmark.key
        table.add_row(
            _local(benchmark.time),
            _styled(benchmark.host, "bold"),
            key.hardware_class,
            f"{key.model}@{benchmark.version}",
            f"{key.format} {key.precision}",
            key.engine,
            _status(benchmark.verdict),
            _styled(benchmark.reason),
        )
    context.console.print(table)
    context.console.print()
    table = common.table("class", "model", "artifact", "engine", "baseline", "spread", "samples")
    for key, baseline in sorted(baselines.items()):
        table.add_row(
            _styled(key.hardware_class, "bold"),
            key.model,
            f"{key.format} {key.precision}",
            key.engine,
            f"{baseline.median:.4g} {baseline.metric.replace('_per_', '/')}",
            f"± {amount(baseline.spread)}" if baseline.samples > 1 else "",
            str(baseline.samples),
        )
    context.console.print(table)


def known_run(history: History, run: str) -> RunDetail:
    """The run whose id starts so; raises UsageError where that is not exactly one."""
    detail = history.run(run)
    if detail is None:
        latest = ", ".join(record.id for record in history.runs(3))
        raise UsageError(
            f"no single run has an id that starts with {run}",
            hint=f"The latest: {latest}" if latest else "There are no runs yet.",
        )
    return detail


def _known_host(history: History, host: str, count: int) -> list[HostRecord]:
    from orchestrator.spelling import did_you_mean

    records = history.host(host, count)
    if not records:
        raise UsageError(
            f"the history knows nothing of a host {host}",
            hint=did_you_mean(host, history.host_names()) or "See: orchestrate history",
        )
    return records


def refuse(problem: str) -> None:
    """What to do with a history that cannot be used, where nothing can be done without it."""
    raise UsageError(
        problem,
        hint="Move the file away to start a new history; the hosts' audit.log still know theirs.",
    )


def _outcome(record: HostRecord) -> tuple[Any, ...]:
    """Status, what was tried, what is active and the verdict as cells."""
    outcome = record.outcome
    verify = outcome.get("verify") or {}
    release = outcome.get("release")
    return (
        _status(record.status),
        outcome.get("tried") or "",
        "nothing" if release is None else release,
        _status(verify.get("verdict", "")),
    )


def _reason(record: HostRecord) -> str:
    verify = record.outcome.get("verify") or {}
    error = record.outcome.get("error") or {}
    return str(error.get("message") or verify.get("reason", "") or _changes(record))


def _changes(record: HostRecord) -> str:
    """What `provision` changed on the host, in a few words."""
    from orchestrator.cli.provision_summary import in_words

    changed = record.outcome.get("changed")
    return in_words([change["role"] for change in changed]) if changed else ""


def _table(*columns: str) -> Table:
    """A table whose run ids and hosts stay whole however narrow the terminal is."""
    table = common.table(*columns)
    for column in table.columns:
        column.no_wrap = column.header in WHOLE
        column.overflow = "fold"
    return table


def _status(word: str) -> Any:
    return _styled(word.replace("_", " "), STYLES.get(word, ""))


def _styled(text: str, style: str = "") -> Any:
    """The text as it is: brackets in it are no markup."""
    from rich.text import Text

    return Text(text, style=style)


def _local(seconds: float) -> str:
    from datetime import UTC, datetime

    return f"{datetime.fromtimestamp(seconds, UTC).astimezone():%Y-%m-%d %H:%M:%S}"
