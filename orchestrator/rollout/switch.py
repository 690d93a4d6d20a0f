"""Switching a host to a release: activate, verify, then commit or go back."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from orchestrator import verify
from orchestrator.errors import (
    HaltedError,
    HostError,
    LockedError,
    OrchestrateError,
    PreflightError,
    UnreachableError,
    VerifyError,
)
from orchestrator.history.records import LOST_IN_SWITCH, BenchmarkKey
from orchestrator.planning.diff import damage
from orchestrator.planning.garbage import superseded
from orchestrator.planning.way_back import way_back
from orchestrator.rollout.outcome import BACK, NOWHERE, HostOutcome, Status
from orchestrator.rollout.session import MAYBE_CUT
from orchestrator.rollout.task import as_error, outcome_of
from orchestrator.verify import conditions
from orchestrator.verify.base import Subject
from orchestrator.verify.repeat import Patience
from orchestrator.verify.result import Verdict

if TYPE_CHECKING:
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.rollout.task import Surveyed
    from orchestrator.verify.result import Verification


def switch(
    surveyed: Surveyed, release: Release, *, done: Status, check: bool = False
) -> HostOutcome:
    """Activate the release, verify it, and commit it or go back.

    A switch to it that another run left unconfirmed is gone on with. `check` has the release's
    files hashed first: it lay on the host for long. Raises PreflightError or LockedError when the
    host refuses before anything is switched, and HaltedError; whatever else goes wrong after that
    is told by the outcome.
    """
    session, armed = surveyed.session, surveyed.present.armed
    if armed is not None and armed.release == release.id:
        return _confirm(surveyed, release, done, armed.back)
    back = good_release(surveyed.present)
    session.enter("activate", release.id)
    files = {n: f["sha256"] for n, f in release.manifest["files"].items()} if check else {}
    try:
        session.activate(release, back, files)
    except MAYBE_CUT as exc:
        return _revert(surveyed, release, done, None, exc, back)
    return _confirm(surveyed, release, done, back)


def good_release(present: Present) -> str | None:
    """The release to go back to: the active one if it passed, else what passed before it.

    That may be the one that is about to be switched to, to mend it or to start its service anew.
    """
    current = present.current
    if current is not None and current in present.releases and present.passed(current):
        return current
    return way_back(present)


def _confirm(surveyed: Surveyed, release: Release, done: Status, back: str | None) -> HostOutcome:
    """Verify the release that is active but unconfirmed, and commit it or go back."""
    session, result = surveyed.session, None
    try:
        session.serve(release, back, mended=bool(damage(surveyed.present)))
        result = verify_release(surveyed, release)
        if result.verdict is Verdict.PASS:
            session.take_over(release, back)
            _commit(surveyed, release, result)
            return outcome_of(surveyed, done, release.id, release, result)
        if result.verdict is Verdict.INCONCLUSIVE and session.run.inconclusive == "keep":
            session.take_over(release, back)
            _commit(surveyed, release, result)
            return _unproven(surveyed, release, result)
        error: OrchestrateError = VerifyError(
            result.reason, hint=f"The engine's own words: orchestrate history --host {session.name}"
        )
    except HaltedError:
        raise
    except Exception as exc:  # noqa: BLE001 - whatever it is, the host must not stay like this
        error = as_error(exc, session.name)
    return _revert(surveyed, release, done, result, error, back)


def _commit(surveyed: Surveyed, release: Release, result: Verification) -> None:
    session = surveyed.session
    session.enter("commit", release.id)
    old = superseded(surveyed.present, release.id, session.run.keep)
    session.commit(release.id, str(result.verdict), result.metrics, old)


def _unproven(surveyed: Surveyed, release: Release, result: Verification) -> HostOutcome:
    """The outcome of a release that stays because the strategy says so, without having passed."""
    name = surveyed.session.name
    error = VerifyError(
        f"{release.id} is active but not proven: {result.reason}",
        code="inconclusive",
        hint=f"When the host has calmed down: orchestrate verify --limit {name}",
    )
    return outcome_of(
        surveyed, Status.FAILED, release.id, release, result, error=error, exit_code=NOWHERE
    )


def _revert(
    surveyed: Surveyed,
    release: Release,
    done: Status,
    result: Verification | None,
    error: OrchestrateError,
    back: str | None,
) -> HostOutcome:
    """Put back what was active before, verify it, and say where the host is now."""
    session = surveyed.session
    session.enter("revert", back, error.message)
    failed = result is not None and result.verdict is Verdict.FAIL
    verdict = Verdict.FAIL if failed else Verdict.INCONCLUSIVE
    try:
        present, trouble = session.revert(release.id, back, verdict=verdict, reason=error.message)
    except (HaltedError, LockedError):
        raise
    except UnreachableError as exc:
        return _left_to_itself(surveyed, release, error, exc, back)
    except Exception as exc:  # noqa: BLE001 - the operator must learn of it, whatever it is
        return _stuck(surveyed, release, result, error, as_error(exc, session.name), back)
    if _committed_since(surveyed.present, present, release.id):
        return outcome_of(surveyed, done, release.id, release, result)  # only the answer was lost
    return _where_it_is(surveyed, release, done, result, error, present.current, trouble)


def _committed_since(before: Present, now: Present, release: str) -> bool:
    """Whether the release is active and was committed since, by this run or by another."""
    last = now.decision
    return (
        now.current == release
        and (last.get("what"), last.get("release")) == ("commit", release)
        and last not in before.audit
    )


def _where_it_is(
    surveyed: Surveyed,
    release: Release,
    done: Status,
    result: Verification | None,
    error: OrchestrateError,
    back: str | None,
    trouble: str,
) -> HostOutcome:
    """The outcome of a host on which the switch was undone: `back` is active, and verified now."""
    session = surveyed.session
    if back is None:
        return outcome_of(
            surveyed, Status.FAILED, None, release, result, error=error, exit_code=BACK
        )
    try:
        again, sick = _verify_again(surveyed, back, trouble)
    except HaltedError:
        raise
    except UnreachableError as exc:
        return _not_verified_again(surveyed, release, result, error, exc, back)
    except Exception as exc:  # noqa: BLE001 - the operator must learn of it, whatever it is
        return _stuck(surveyed, release, result, error, as_error(exc, session.name), back)
    if again.verdict is not Verdict.PASS or sick:
        return _worse(surveyed, release, result, error, back, sick or again.reason)
    if back == release.id:
        return outcome_of(surveyed, done, release.id, release, again)
    return outcome_of(
        surveyed, Status.ROLLED_BACK, back, release, result, error=error, exit_code=BACK
    )


def _verify_again(surveyed: Surveyed, back: str, trouble: str) -> tuple[Verification, str]:
    """The verdict on what was put back, and what its service lacks.

    Where the connection is cut it is opened again, as long as the host waits for a sign of life.
    """
    session = surveyed.session
    deadline = time.monotonic() + session.run.revert_after
    while True:
        try:
            return _verify_once(surveyed, back, trouble)
        except MAYBE_CUT:
            session.reconnect_before(deadline)


def _verify_once(surveyed: Surveyed, back: str, trouble: str) -> tuple[Verification, str]:
    """The verdict; the speed of what is put back was judged when it was committed."""
    session = surveyed.session
    before = session.read_release(back)
    sick = trouble or (session.health(back) if session.service.watched(before) else "")
    again = verify_release(surveyed, before, compare_speed=False)
    with contextlib.suppress(PreflightError):  # a log that cannot be written changes nothing
        session.conclude(back, str(again.verdict), again.metrics)
    return again, sick and f"its service is not well: {sick}"


def _not_verified_again(
    surveyed: Surveyed,
    release: Release,
    result: Verification | None,
    error: OrchestrateError,
    cut: UnreachableError,
    back: str,
) -> HostOutcome:
    """The outcome of a host that is known to be back, and was lost before that was verified."""
    lost = UnreachableError(
        f"{error.message}; {back} is back, but could not be verified again: {cut.message}",
        code="not_verified_again",
        hint=f"When the host answers: orchestrate verify --limit {surveyed.session.name}",
    )
    return outcome_of(
        surveyed,
        Status.UNREACHABLE,
        back,
        release,
        result,
        error=lost,
        exit_code=lost.exit_code,
    )


def _worse(
    surveyed: Surveyed,
    release: Release,
    result: Verification | None,
    error: OrchestrateError,
    back: str,
    why: str,
) -> HostOutcome:
    """The outcome of a host on which what was active before does not pass any more either."""
    name = surveyed.session.name
    where = "it stays active" if back == release.id else f"{back} is back"
    worse = VerifyError(
        f"{error.message}; {where} and does not pass: {why}",
        code="revert_failed",
        hint=f"Look at the host itself: orchestrate status --limit {name}",
    )
    return outcome_of(
        surveyed, Status.FAILED, back, release, result, error=worse, exit_code=NOWHERE
    )


def _left_to_itself(
    surveyed: Surveyed,
    release: Release,
    error: OrchestrateError,
    cut: UnreachableError,
    back: str | None,
) -> HostOutcome:
    """The outcome of a host that was lost between switch and commit: it goes back by itself."""
    session = surveyed.session
    said = error.message if cut.message in error.message else f"{error.message}; {cut.message}"
    lost = UnreachableError(
        f"{said}. Unconfirmed, the host goes back to {back or 'no release'} by itself",
        code=LOST_IN_SWITCH,
        hint=f"When it is back: orchestrate status --limit {session.name}",
    )
    return outcome_of(
        surveyed, Status.UNREACHABLE, None, release, error=lost, exit_code=lost.exit_code
    )


def _stuck(
    surveyed: Surveyed,
    release: Release,
    result: Verification | None,
    error: OrchestrateError,
    failed: OrchestrateError,
    back: str | None,
) -> HostOutcome:
    """The outcome of a host that is not known to be where it was before."""
    name = surveyed.session.name
    status = Status.LOCKED if isinstance(failed, LockedError) else Status.FAILED
    stuck = HostError(
        f"{error.message}; going back to {back or 'no release'} failed too: {failed.message}",
        code="revert_failed",
        hint=f"Look now: orchestrate status --limit {name}. {failed.hint}",
    )
    return outcome_of(surveyed, status, None, release, result, error=stuck, exit_code=NOWHERE)


def verify_release(
    surveyed: Surveyed, release: Release, *, compare_speed: bool = True
) -> Verification:
    """The verdict of a release on the host; raises UnreachableError.

    What is put back was fast enough when it was committed; that it loads and answers right is what
    has to be known, and a busy moment must not turn a revert into an emergency.
    """
    session = surveyed.session
    session.enter("verify", release.id)
    key = BenchmarkKey(
        hardware_class=surveyed.facts.hardware_class,
        model=release.model,
        format=release.artifact.format,
        precision=release.artifact.precision,
        engine=release.engine.kind,
    )
    return verify.verify(
        session.service.target(release.id),
        subject(session.root, release),
        surveyed.baselines.get(key) if compare_speed else None,
        conditions=lambda: conditions.on_host(session.target),
        announce=lambda said: session.enter("verify", release.id, said),
        patience=Patience(wait=session.run.halted.wait),
    )


def subject(root: str, release: Release) -> Subject:
    """The release as the smoke benchmarks see it."""
    return Subject(
        folder=f"{root}/releases/{release.id}",
        model=release.artifact.filename,
        config=release.config,
        golden=release.golden,
        format=release.artifact.format,
        precision=release.artifact.precision,
        engine=release.engine,
        verify=release.verify,
    )
