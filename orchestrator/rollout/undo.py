"""Putting hosts back on what they had when the rollout that changed them was aborted."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import HostError
from orchestrator.rollout.host_run import rollback_host
from orchestrator.rollout.outcome import BACK, Status

if TYPE_CHECKING:
    from orchestrator.errors import OrchestrateError
    from orchestrator.rollout.outcome import HostOutcome
    from orchestrator.rollout.task import HostTask, Surveyed


def undo_task(task: HostTask) -> HostTask:
    """The work of putting a host back: its audit.log tells it as what it is, a rollback."""
    return replace(task, run=replace(task.run, command="rollback"), wanted=None)


def put_back(surveyed: Surveyed, done: HostOutcome, reason: str, hint: str) -> HostOutcome:
    """The host on the release that it had before `done`, verified there, or why it is not.

    `surveyed` is the host as it is now, `done` what this run made of it.
    """
    assert done.previous is not None  # noqa: S101
    if surveyed.present.current != done.release:
        surveyed.session.close()
        now = surveyed.present.current or "nothing"
        return not_put_back(done, HostError(f"{now} is active there in the meantime"))
    back = rollback_host(surveyed, done.previous)
    if back.release == done.previous and not back.exit_code:
        return replace(
            done,
            status=Status.ROLLED_BACK,
            exit_code=BACK,
            release=back.release,
            active=back.active,
            verification=None,
            error=HostError(f"it passed and was put back: {reason}", code="aborted", hint=hint),
            seconds=_sum(done, back),
        )
    if back.release == done.release or back.status in {Status.LOCKED, Status.UNREACHABLE}:
        return not_put_back(done, back.error)
    return replace(back, previous=done.previous, tried=done.tried)


def not_put_back(done: HostOutcome, error: OrchestrateError | None) -> HostOutcome:
    """The outcome of a host that keeps the new release; `error` is None if it had none before."""
    name = done.host
    if error is None:
        why, hint = "nothing was active before", f"Look at it: orchestrate status --limit {name}"
    else:
        why = error.message
        hint = f"Put it back yourself: orchestrate rollback --limit {name}"
    code = error.exit_code if error is not None else 0
    kept = HostError(f"not put back, {done.release} stays: {why}", code="not_put_back", hint=hint)
    return replace(done, exit_code=code, error=kept)


def _sum(done: HostOutcome, back: HostOutcome) -> dict[str, float]:
    return {
        state: done.seconds.get(state, 0.0) + back.seconds.get(state, 0.0)
        for state in {*done.seconds, *back.seconds}
    }
