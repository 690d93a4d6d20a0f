"""Switching a host to a release: activate, verify, then commit or go back."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING

from orchestrator import verify
from orchestrator.errors import (
    CommandError,
    HostError,
    OrchestrateError,
    PreflightError,
    UnreachableError,
    VerifyError,
)
from orchestrator.history.records import BenchmarkKey
from orchestrator.planning.way_back import way_back
from orchestrator.rollout.outcome import BACK, NOWHERE, HostOutcome, Status
from orchestrator.rollout.task import as_error, outcome_of
from orchestrator.verify.base import Subject
from orchestrator.verify.result import Verdict

if TYPE_CHECKING:
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.rollout.session import HostSession
    from orchestrator.rollout.task import Surveyed
    from orchestrator.verify.result import Verification

# After these the connection may be dead while the host is well.
MAYBE_CUT = (UnreachableError, CommandError)


def switch(
    surveyed: Surveyed,
    release: Release,
    *,
    done: Status,
    activate: bool = True,
    check: bool = False,
) -> HostOutcome:
    """Activate the release (unless it is active), verify it, and commit it or go back.

    `check` has its files hashed first: it lay on the host for long. Raises PreflightError or
    LockedError when the host refuses before anything is switched; whatever goes wrong after that
    is told by the outcome.
    """
    session, back_to = surveyed.session, good_release(surveyed.present, other_than=release.id)
    result = None
    if activate:
        session.enter("activate", release.id)
        files = {n: f["sha256"] for n, f in release.manifest["files"].items()} if check else {}
        try:
            session.activate(release.id, session.audit("activate", release.id), check=files)
        except MAYBE_CUT as exc:
            return _revert(surveyed, release, None, exc, back_to)
    try:
        result = verify_release(surveyed, release)
        if result.verdict is Verdict.PASS:
            session.enter("commit", release.id)
            _commit(session, release, result)
            return outcome_of(surveyed, done, release.id, release, result)
        error: OrchestrateError = VerifyError(
            result.reason, hint=f"The engine's own words: orchestrate history --host {session.name}"
        )
    except Exception as exc:  # noqa: BLE001 - whatever it is, the host must not stay like this
        error = as_error(exc, session.name)
    return _revert(surveyed, release, result, error, back_to)


def good_release(present: Present, *, other_than: str) -> str | None:
    """The release to go back to: the active one if it passed, else what passed before it."""
    current = present.current
    if (
        current is not None
        and current != other_than
        and current in present.releases
        and present.passed(current)
    ):
        return current
    return way_back(present)


def _commit(session: HostSession, release: Release, result: Verification) -> None:
    """Write the verdict; when the link breaks just then, look whether it was written."""
    try:
        session.commit(release.id, str(result.verdict), dict(result.metrics))
    except MAYBE_CUT:
        session.reconnect()
        if not session.committed(release.id):
            session.commit(release.id, str(result.verdict), dict(result.metrics))


def _revert(
    surveyed: Surveyed,
    release: Release,
    result: Verification | None,
    error: OrchestrateError,
    back_to: str | None,
) -> HostOutcome:
    """Put the good release back, verify it, and say where the host is now."""
    session = surveyed.session
    try:
        session.enter("revert", back_to, error.message)
        _put_back(session, release, result, error, back_to)
        if back_to is None:
            return outcome_of(
                surveyed, Status.FAILED, None, release, result, error=error, exit_code=BACK
            )
        again = verify_release(surveyed, session.read_release(back_to), compare_speed=False)
        with contextlib.suppress(PreflightError):  # a log that cannot be written changes nothing
            session.commit(back_to, str(again.verdict), dict(again.metrics), what="verify")
    except Exception as exc:  # noqa: BLE001 - the operator must learn of it, whatever it is
        failed = as_error(exc, session.name)
        stuck = HostError(
            f"{error.message}; going back to {back_to or 'no release'} failed too: "
            f"{failed.message}",
            code="revert_failed",
            hint=f"Look now: orchestrate status --limit {session.name}. {failed.hint}",
        )
        return outcome_of(
            surveyed, Status.FAILED, None, release, result, error=stuck, exit_code=NOWHERE
        )
    if again.verdict is Verdict.PASS:
        return outcome_of(
            surveyed, Status.ROLLED_BACK, back_to, release, result, error=error, exit_code=BACK
        )
    worse = VerifyError(
        f"{error.message}; {back_to} is back but does not pass either: {again.reason}",
        code="revert_failed",
        hint=f"Look at the host itself: orchestrate facts --limit {session.name} --refresh",
    )
    return outcome_of(
        surveyed, Status.FAILED, back_to, release, result, error=worse, exit_code=NOWHERE
    )


def _put_back(
    session: HostSession,
    release: Release,
    result: Verification | None,
    error: OrchestrateError,
    back_to: str | None,
) -> None:
    """Switch back, over a new connection where the old one may be dead."""
    failed = result is not None and result.verdict is Verdict.FAIL
    verdict = Verdict.FAIL if failed else Verdict.INCONCLUSIVE
    audit = (
        session.audit("verify", release.id, verdict=verdict, reason=error.message),
        session.audit("revert", back_to),
    )
    if isinstance(error, MAYBE_CUT):
        session.reconnect()
    try:
        session.activate(back_to, *audit)
    except MAYBE_CUT:
        session.reconnect()
        session.activate(back_to, *audit)


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
    baseline = surveyed.baselines.get(key) if compare_speed else None
    return verify.verify(session.target, subject(session.root, release), baseline)


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
