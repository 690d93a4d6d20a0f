"""What runs that were cut off had begun, read from the history: enough to go on from.

A run without an end whose process no longer holds the fleet project's lock was cut off: ask only
while holding that lock. Commands that switch nothing leave nothing behind that has to be settled.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.events import RunFinished
from orchestrator.history import LOOKING
from orchestrator.history.wishes import overrules
from orchestrator.rollout.outcome import INTERRUPTED, Status
from orchestrator.rollout.project_lock import SWITCHING

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.history.records import HostRecord, RunDetail, RunRecord, Transition
    from orchestrator.history.store import History

# Outcomes that leave a host as it was found: it may still be in the middle of something.
NOT_REACHED = frozenset({Status.UNREACHABLE, Status.LOCKED, Status.SKIPPED})
ARRIVED = frozenset({Status.DEPLOYED, Status.VERIFIED})
# The states that go on to a release, in which a host that ends as `unchanged` was not yet there.
FORWARD = frozenset({"lock", "preflight", "stage", "activate"})


@dataclass(frozen=True, slots=True)
class CutOff:
    """A run that was cut off, with every host of it in one of four places.

    `in_flight` are the hosts that something was begun on and nobody has brought to an end, with the
    last state that they were about to enter; `settled` those that a later run did, `done` those
    that have an outcome, and on those `never_begun` nothing was touched. `resumed_by` are the runs
    that set out to settle this one and were cut off too. `last` is the time of the last thing that
    is known of it.
    """

    run: RunRecord
    in_flight: Mapping[str, Transition]
    settled: Mapping[str, HostRecord]
    done: Mapping[str, HostRecord]
    never_begun: tuple[str, ...]
    last: float
    resumed_by: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Left:
    """What a run left to do: the `hosts` that are still to be brought, in the run's order.

    `overruled` are those that a later run gave something else, each with the id of the first one.
    """

    hosts: tuple[str, ...]
    overruled: Mapping[str, str]


def cut_off(history: History) -> list[CutOff]:
    """The runs that were cut off and not brought to an end yet, newest first."""
    unfinished = [run for run in history.unfinished_runs() if run.command in SWITCHING]
    known = {run.id for run in unfinished}
    resuming: dict[str, list[str]] = {}
    for run in unfinished:
        if resumes(run) in known:
            resuming.setdefault(str(resumes(run)), []).append(run.id)
    found = []
    for run in unfinished:
        detail = None if resumes(run) in known else history.run(run.id)
        if detail is not None:
            later = history.outcomes_since(run.started)
            found.append(read(detail, later, tuple(resuming.get(run.id, ()))))
    return found


def read(
    detail: RunDetail, later: Iterable[HostRecord], resumed_by: tuple[str, ...] = ()
) -> CutOff:
    """Where each host of a run was when it was cut off; `later` are outcomes since it started."""
    changing = {t.host: t for t in detail.transitions if t.state not in LOOKING}
    done = {
        record.host: record
        for record in detail.hosts
        if record.host not in changing or record.time >= changing[record.host].time
    }
    open_ended = {host: t for host, t in changing.items() if host not in done}
    settled = {
        record.host: record
        for record in later
        if record.host in open_ended
        and record.run != detail.run.id
        and record.time > open_ended[record.host].time
        and record.status not in NOT_REACHED
    }
    times = [t.time for t in detail.transitions] + [record.time for record in detail.hosts]
    return CutOff(
        run=detail.run,
        in_flight={host: t for host, t in open_ended.items() if host not in settled},
        settled=settled,
        done=done,
        never_begun=tuple(h for h in names(detail) if h not in changing and h not in done),
        last=max(times, default=detail.run.started),
        resumed_by=resumed_by,
    )


def settled_by(detail: RunDetail, later: Iterable[HostRecord]) -> dict[str, str]:
    """The runs that brought hosts which this one was cut off on to their end, by host.

    `later` are outcomes since it started. In a run that was closed stands what they made of it.
    """
    later = tuple(later)
    own = {record.host: record.time for record in detail.hosts}
    open_still = read(detail, later).settled.values()
    closed = (r for r in later if r.run != detail.run.id and own.get(r.host) == r.time)
    return {record.host: record.run for record in (*open_still, *closed)}


def end(history: History, cut: CutOff) -> None:
    """Close a run that was cut off, with what became of its hosts since."""
    for run in (*cut.resumed_by, cut.run.id):
        closed = RunFinished(run=run, time=cut.last, outcome="interrupted", exit_code=INTERRUPTED)
        history.end_run(closed, cut.settled.values() if run == cut.run.id else ())


def left(history: History, detail: RunDetail) -> Left:
    """What a run that should bring hosts to a version left to do, as it stands by now."""
    started = detail.run.started
    return left_since(detail, history.runs_since(started), history.outcomes_since(started))


def left_since(
    detail: RunDetail, runs: Iterable[RunRecord], outcomes: Iterable[HostRecord]
) -> Left:
    """As `left`; `runs` and their `outcomes` are those since the run started, oldest first."""
    begun = {t.host: t.release for t in detail.transitions if t.state in FORWARD}
    known = {run.id: run for run in runs}
    later = [(known[r.run], r) for r in outcomes if r.run in known and _counts(detail, known, r)]
    taken_over = {(record.host, record.time) for _, record in later}
    there = {
        record.host
        for record in detail.hosts
        if (record.host, record.time) not in taken_over and _arrived(record, begun)
    }
    overruled: dict[str, str] = {}
    for run, record in later:
        asked = known.get(resumes(run) or run.id)
        if asked is None:
            continue
        if not _same_wanted(detail.run, asked, record.host):
            overruled.setdefault(record.host, run.id)
            continue
        overruled.pop(record.host, None)
        settled = run is not asked
        if _arrived(record, {record.host: begun.get(record.host)} if settled else {}):
            there.add(record.host)
    hosts = [host for host in names(detail) if host not in there]
    return Left(
        tuple(host for host in hosts if host not in overruled),
        {host: overruled[host] for host in hosts if host in overruled},
    )


def _counts(detail: RunDetail, known: Mapping[str, RunRecord], record: HostRecord) -> bool:
    """Whether an outcome is of a later run that gave the host something, or tried to."""
    last = max((t.time for t in detail.transitions if t.host == record.host), default=0.0)
    later = record.run != detail.run.id and record.time > last
    return later and overrules(known[record.run].command, record.outcome)


def _arrived(record: HostRecord, begun: Mapping[str, str | None]) -> bool:
    """Whether the outcome is of a host that was brought to its version, or had it already.

    `begun` are the releases that the hosts were on the way to.
    """
    if record.status != Status.UNCHANGED or record.host not in begun:
        return record.status in {*ARRIVED, Status.UNCHANGED}
    release = begun[record.host]
    return release is not None and release == record.outcome.get("release")


def _same_wanted(one: RunRecord, other: RunRecord, host: str) -> bool:
    """Whether two runs should bring the host to the same version."""
    wanted, by_other = ((request(run).get("wanted") or {}).get(host) for run in (one, other))
    return one.id == other.id or (wanted is not None and wanted == by_other)


def names(detail: RunDetail) -> list[str]:
    """All hosts of a run; of one that did not record them, those that something is known of."""
    known = [t.host for t in detail.transitions] + [record.host for record in detail.hosts]
    return list(dict.fromkeys([*request(detail.run).get("hosts", ()), *known]))


def resumes(run: RunRecord) -> str | None:
    """The run that this one set out to settle, where it is a `resume`."""
    return request(run).get("resumes") if run.command == "resume" else None


def request(run: RunRecord) -> Mapping[str, Any]:
    """What was asked of a run, as far as it was recorded."""
    return run.request if isinstance(run.request, dict) else {}
