"""The states of one host, up to the switch (see `switch.py` for the rest).

    connect → facts → plan → lock → preflight → stage → activate → verify → commit
                                                           └──── revert → verify ────┘

Each state is announced before it is acted on. Errors come out as outcomes, never as exceptions.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import (
    HaltedError,
    HostError,
    InputError,
    LockedError,
    ModelError,
    OrchestrateError,
    PreflightError,
    TransferError,
    UnreachableError,
    VerifyError,
)
from orchestrator.planning.diff import missing_blobs, unwell
from orchestrator.planning.plan import plan_host
from orchestrator.planning.preflight import preflight, preflight_error
from orchestrator.rollout import services
from orchestrator.rollout.outcome import BACK, NOWHERE, HostOutcome, Status
from orchestrator.rollout.session import HostSession
from orchestrator.rollout.switch import switch, verify_release
from orchestrator.rollout.task import Failed, HostTask, Surveyed, as_error, outcome_of
from orchestrator.verify.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping
    from pathlib import Path

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.host import Host
    from orchestrator.planning.diff import HostPlan
    from orchestrator.planning.present import Armed, Present
    from orchestrator.planning.release import Release
    from orchestrator.rollout.task import Wanted


def survey_host(task: HostTask) -> Surveyed | Failed:
    """Connect, read state and facts, and plan; nothing is touched on the host."""
    session = None
    try:
        session = HostSession(task.run, task.connection, services.of)
        state, facts = session.survey()
        surveyed = Surveyed(
            task, session, facts, state.present, state.lock, lock_age=state.lock_age
        )
        if task.wanted is None:
            return surveyed
        session.enter("plan")
        plan = _plan(session, task.wanted, task.host, facts, state.present)
        problems = preflight(plan, facts, now=time.time())
        return replace(surveyed, plan=plan, problems=problems)
    except Exception as exc:  # noqa: BLE001 - one host's trouble must not stop the others
        if session is not None:
            session.target.close()
        return Failed(task, as_error(exc, task.host.name))


def _plan(
    session: HostSession, wanted: Wanted, host: Host, facts: Facts, present: Present
) -> HostPlan:
    """The host's plan; its service is asked where all else is as it should be."""
    plan = plan_host(wanted.inputs(host, facts, present))
    if plan.action != "unchanged" or not session.service.watched(plan.release):
        return plan
    return unwell(plan, session.health(plan.release.id))


def deploy_host(surveyed: Surveyed, blob_path: Mapping[str, Path]) -> HostOutcome:
    """Bring the host to its plan's release; `blob_path` maps digests to files here."""
    assert surveyed.plan is not None  # noqa: S101
    if surveyed.plan.action == "unchanged" and surveyed.lock is None:
        surveyed.session.close()
        return outcome_of(surveyed, Status.UNCHANGED, release=surveyed.plan.release.id)
    return _guarded(surveyed, lambda: _deploy(surveyed, blob_path))


def settle_host(surveyed: Surveyed, of: Container[str] | None = None) -> HostOutcome:
    """Bring a host that a run left in the middle to its end: confirmed, or back where it was.

    An unconfirmed switch is verified and committed, or undone. Where the host has been switched and
    confirmed, or has gone back by itself, that is told. Nothing is sent. `of` are the runs that it
    is about, None for any.
    """

    def work() -> HostOutcome:
        present = surveyed.session.take_lock()
        return _settle(replace(surveyed, present=present), of)

    return _guarded(surveyed, work)


def _settle(surveyed: Surveyed, of: Container[str] | None = None) -> HostOutcome:
    session, present = surveyed.session, surveyed.present
    if present.armed is not None and not present.half_switched:
        release = session.read_release(present.armed.release)
        return switch(surveyed, release, done=Status.DEPLOYED)
    if present.armed is not None:
        present = _undo_foreign(session, present.armed)
        surveyed = replace(surveyed, present=present)
    if present.current is not None and not present.passed(present.current):
        return _verify_active(surveyed, present.current)
    last = present.decision
    ours = of is None or str(last.get("run")) in of
    if last.get("what") == "commit" and of is not None and ours:
        went_back = last.get("command") == "rollback"
        done = Status.ROLLED_BACK if went_back else Status.DEPLOYED
        return outcome_of(surveyed, done, present.current)
    if last.get("what") == "revert" and last.get("by") == "host" and ours:
        error = HostError(
            f"it went back by itself: {last.get('reason')}",
            code="went_back",
            hint=f"Deploy again: orchestrate deploy --limit {session.name}",
        )
        status = Status.FAILED if present.current is None else Status.ROLLED_BACK
        return outcome_of(surveyed, status, present.current, error=error, exit_code=BACK)
    return outcome_of(surveyed, Status.UNCHANGED, present.current)


def rollback_host(surveyed: Surveyed, to: str) -> HostOutcome:
    """Put the host back on release `to`, which lies there, and verify it."""

    def work() -> HostOutcome:
        session = surveyed.session
        present = session.take_lock()
        if present.armed is not None:
            present = _undo_foreign(session, present.armed)
        elif present.current != surveyed.present.current:
            raise PreflightError(
                f"{session.name} was switched to {present.current} in the meantime",
                code="changed_meanwhile",
                hint=f"Look at it and ask again: orchestrate status --limit {session.name}",
            )
        release = session.read_release(to)
        now = replace(surveyed, present=present)
        return switch(now, release, done=Status.ROLLED_BACK, check=True)

    return _guarded(surveyed, work)


def verify_host(surveyed: Surveyed) -> HostOutcome:
    """Run the smoke benchmark of what is active; nothing is switched whatever it says.

    A switch that a run left unconfirmed is brought to its end instead.
    """

    def work() -> HostOutcome:
        session = surveyed.session
        if surveyed.present.current is None:
            raise _nothing_active(session)
        now = replace(surveyed, present=session.take_lock())
        if now.present.armed is not None:
            return _settle(now)
        if now.present.current is None:
            raise _nothing_active(session)
        return _verify_active(now, now.present.current)

    return _guarded(surveyed, work)


def _nothing_active(session: HostSession) -> PreflightError:
    return PreflightError(
        f"nothing is active on {session.name}",
        code="nothing_active",
        hint=f"Deploy first: orchestrate deploy --limit {session.name}",
    )


def _verify_active(surveyed: Surveyed, current: str) -> HostOutcome:
    """What the smoke benchmark says of the active release; the lock is let go."""
    session = surveyed.session
    try:
        release = session.read_release(current)
    except ModelError as exc:
        return outcome_of(surveyed, Status.FAILED, current, error=exc, exit_code=NOWHERE)
    result = verify_release(surveyed, release)
    session.conclude(current, str(result.verdict), result.metrics)
    if result.verdict is Verdict.PASS:
        return outcome_of(surveyed, Status.VERIFIED, current, release, result)
    error = VerifyError(
        f"{current} is active and does not pass: {result.reason}",
        hint=f"Go back: orchestrate rollback --limit {session.name}",
    )
    return outcome_of(
        surveyed, Status.FAILED, current, release, result, error=error, exit_code=NOWHERE
    )


def failed_outcome(failed: Failed) -> HostOutcome:
    """The outcome of a host that could not be surveyed."""
    error = failed.error
    return HostOutcome(
        failed.task.host.name, _status_of(error), exit_code=error.exit_code, error=error
    )


def skipped_outcome(surveyed: Surveyed) -> HostOutcome:
    """The outcome of a host that was not begun when the run was interrupted."""
    surveyed.session.close()
    return outcome_of(surveyed, Status.SKIPPED, surveyed.present.current)


def _guarded(surveyed: Surveyed, work: Callable[[], HostOutcome]) -> HostOutcome:
    """`work`, its errors turned into an outcome, the lock let go and the connection closed."""
    session = surveyed.session
    try:
        with session:
            outcome = work()
    except Exception as exc:  # noqa: BLE001 - one host's trouble must not stop the others
        outcome = _failed(surveyed, as_error(exc, session.name))
    return replace(outcome, seconds=dict(session.seconds), bytes_sent=session.bytes_sent)


def _failed(surveyed: Surveyed, error: OrchestrateError) -> HostOutcome:
    """The outcome of a host where an error ended the work before anything was switched.

    Once everything had to stop at once, any error is a consequence of that.
    """
    session = surveyed.session
    if session.run.halted.is_set():
        error = HaltedError(
            f"stopped at once: {session.halt_told or 'nothing was switched'}",
            hint=f"See what is there: orchestrate status --limit {session.name}",
        )
    if session.seen is not None:
        surveyed = replace(surveyed, present=session.seen)
    return outcome_of(
        surveyed,
        _status_of(error),
        surveyed.present.current,
        error=error,
        # Input that turns out wrong this late leaves the host as it was, like any refusal.
        exit_code=BACK if isinstance(error, InputError) else error.exit_code,
    )


def _status_of(error: OrchestrateError) -> Status:
    if isinstance(error, UnreachableError):
        return Status.UNREACHABLE
    return Status.LOCKED if isinstance(error, LockedError) else Status.FAILED


def _deploy(surveyed: Surveyed, blob_path: Mapping[str, Path]) -> HostOutcome:
    session, task, current = surveyed.session, surveyed.task, surveyed.plan
    assert current is not None and task.wanted is not None  # noqa: S101, PT018
    if refused := preflight_error(session.name, surveyed.problems):
        raise refused
    present = session.take_lock()
    if present.armed is not None and (
        present.half_switched or present.armed.release != current.release.id
    ):
        present = _undo_foreign(session, present.armed)
    if present != surveyed.present:
        current = _plan(session, task.wanted, task.host, surveyed.facts, present)
        surveyed = replace(surveyed, present=present, plan=current)
    if current.action == "unchanged":
        return outcome_of(surveyed, Status.UNCHANGED, current.release.id)
    session.enter("preflight", current.release.id)
    problems = preflight(current, surveyed.facts, now=time.time())
    if refused := preflight_error(session.name, problems):
        raise refused
    if "stage" in current.steps:
        session.enter("stage", current.release.id)
        _stage(session, current.release, present, blob_path)
    return switch(surveyed, current.release, done=Status.DEPLOYED)


def _undo_foreign(session: HostSession, armed: Armed) -> Present:
    """The state after undoing an unconfirmed switch to something else than what is wanted now."""
    session.enter("revert", armed.back, f"run {armed.run} left {armed.release} unconfirmed")
    present, _ = session.revert(armed.release, armed.back)
    return present


def _stage(
    session: HostSession, release: Release, present: Present, blob_path: Mapping[str, Path]
) -> None:
    """Send what is missing and put the release together; once more if something was damaged."""
    try:
        _send(session, release, present, blob_path)
        session.stage(release)
    except TransferError as exc:
        if exc.as_dict()["code"] != "damaged_blob":
            raise
        _send(session, release, session.state(), blob_path)  # the host removed what was damaged
        session.stage(release)


def _send(
    session: HostSession, release: Release, present: Present, blob_path: Mapping[str, Path]
) -> None:
    for blob in missing_blobs(release, present):
        arrived = present.parts.get(blob.sha256, 0)
        if arrived != blob.size:
            session.send_blob(blob, blob_path[blob.sha256], arrived if arrived < blob.size else 0)
