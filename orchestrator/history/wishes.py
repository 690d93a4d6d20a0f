"""What hosts that a deploy could not reach should get when they are back.

A wish comes from a deploy that ended without being aborted, and goes when the host was reached, or
was lost in the middle of a switch.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from orchestrator.events import RunFinished
from orchestrator.history.records import LOST_IN_SWITCH
from orchestrator.history.tables import HOSTS, MILESTONES, RUNS, WISHES

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection

    from orchestrator.events import HostFinished

ABORTED = "rollout_aborted"
RECONCILE = "reconcile"
UNREACHABLE = "unreachable"
# Outcomes of hosts that were brought to a release, or back to one. One that is locked or was not
# begun is where it was before.
REACHED = frozenset({"deployed", "unchanged", "rolled_back", "failed"})
# Commands that give hosts a release, and so overrule what was wished before.
OVERRULING = frozenset({"deploy", "rollback", "resume", RECONCILE})


@dataclass(frozen=True, slots=True)
class Wish:
    """A host that should get `model` (name@version), as `run` asked for at `since`.

    `attempts` count those of `reconcile`; at `next_attempt` the next is due. Times are seconds
    since the epoch.
    """

    host: str
    model: str
    allow_inexact: bool
    run: str
    since: float
    attempts: int = 0
    next_attempt: float = 0.0
    last_error: str = ""


def follow(connection: Connection, event: HostFinished | RunFinished) -> None:
    """Bring the wishes up to date with what became of a host, or with a run that ended."""
    command = connection.scalar(select(RUNS.c.command).where(RUNS.c.id == event.run))
    if isinstance(event, RunFinished):
        if command != RECONCILE:
            _record(connection, event)
    elif overrules(command, event.outcome):
        forget(connection, event.host)


def overrules(command: str | None, outcome: Mapping[str, Any]) -> bool:
    """Whether what was wanted of a host before does not hold any more after this outcome of it."""
    if command == "rollback":
        return True
    reached = outcome["status"] in REACHED or _lost_in_switch(outcome)
    return command in OVERRULING and reached


def _lost_in_switch(outcome: Mapping[str, Any]) -> bool:
    return (outcome.get("error") or {}).get("code") == LOST_IN_SWITCH


def forget(connection: Connection, host: str) -> None:
    """Drop the host's wish, if there is one."""
    connection.execute(delete(WISHES).where(WISHES.c.host == host))


def postpone(connection: Connection, host: str, *, until: float, error: str) -> None:
    """Count an attempt that did not reach the host; the next is due at `until`."""
    connection.execute(
        update(WISHES)
        .where(WISHES.c.host == host)
        .values(attempts=WISHES.c.attempts + 1, next_attempt=until, last_error=error)
    )


def _record(connection: Connection, event: RunFinished) -> None:
    """Wish for the hosts that a run did not reach what it wanted for them."""
    aborted = select(MILESTONES.c.id).where(
        MILESTONES.c.run == event.run, MILESTONES.c.event == ABORTED
    )
    request = connection.scalar(select(RUNS.c.request).where(RUNS.c.id == event.run)) or {}
    wanted = request.get("wanted", {})
    if not wanted or connection.scalar(aborted.limit(1)) is not None:
        return
    missed = select(HOSTS.c.host, HOSTS.c.outcome).where(
        HOSTS.c.run == event.run, HOSTS.c.status == UNREACHABLE
    )
    for host, outcome in connection.execute(missed).all():
        if host in wanted and not _lost_in_switch(outcome):
            wish = Wish(
                host=host,
                model=wanted[host],
                allow_inexact=bool(request.get("allow_inexact")),
                run=event.run,
                since=event.time,
                next_attempt=event.time,
                last_error=(outcome.get("error") or {}).get("message", ""),
            )
            forget(connection, host)
            connection.execute(insert(WISHES).values(**asdict(wish)))
