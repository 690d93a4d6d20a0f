"""The state machine of one host.

    connect → facts → plan → lock → preflight → stage → activate → verify → commit
                                                           └──── revert → verify ────┘

Each state is announced before it is acted on. Whatever goes wrong after `activate` puts the
previous release back and verifies that one. Errors come out as outcomes, never as exceptions.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator import verify
from orchestrator.errors import (
    HostError,
    InputError,
    LockedError,
    OrchestrateError,
    PreflightError,
    TransferError,
    UnreachableError,
    VerifyError,
)
from orchestrator.history.records import BenchmarkKey
from orchestrator.planning.diff import missing_blobs
from orchestrator.planning.plan import PlanInputs, plan_host
from orchestrator.planning.release import canonical, read
from orchestrator.planning.way_back import way_back
from orchestrator.rollout.outcome import HostOutcome, Status
from orchestrator.rollout.session import HostSession, Run
from orchestrator.verify.base import Subject
from orchestrator.verify.result import Verdict, Verification

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile
    from orchestrator.models.manifest import ModelVersion
    from orchestrator.planning.diff import HostPlan
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.planning.render import Templates
    from orchestrator.targets.connection import ConnectionSpec
    from orchestrator.verify.baseline import Baseline

MIB = 1024 * 1024
NOWHERE = 4
BACK = 3


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a host should get: a version, and what a plan is made with."""

    version: ModelVersion
    profiles: tuple[Profile, ...]
    templates: Templates
    groups: Mapping[str, tuple[str, ...]]
    allow_inexact: bool = False

    def inputs(self, host: Host, facts: Facts, present: Present) -> PlanInputs:
        """All that the plan of `host` follows from."""
        return PlanInputs(
            host=host,
            groups=self.groups,
            facts=facts,
            version=self.version,
            profiles=self.profiles,
            templates=self.templates,
            present=present,
            allow_inexact=self.allow_inexact,
        )


@dataclass(frozen=True, slots=True)
class HostTask:
    """The unit of work: one host of a run. `wanted` is None where nothing is to be deployed."""

    run: Run
    host: Host
    connection: ConnectionSpec
    wanted: Wanted | None = None


@dataclass(frozen=True, slots=True)
class Surveyed:
    """A host that answered, its open session, and the plan where one was asked for.

    `baselines` are what its speed is held against.
    """

    task: HostTask
    session: HostSession
    facts: Facts
    present: Present
    lock: str | None
    plan: HostPlan | None = None
    baselines: Mapping[BenchmarkKey, Baseline] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Failed:
    """A host that could not be surveyed or planned for."""

    task: HostTask
    error: OrchestrateError


def survey_host(task: HostTask) -> Surveyed | Failed:
    """Connect, read state and facts, and plan; nothing is touched on the host."""
    session = None
    try:
        session = HostSession(task.run, task.connection)
        state, facts = session.survey()
        surveyed = Surveyed(task, session, facts, state.present, state.lock)
        if task.wanted is None:
            return surveyed
        session.enter("plan")
        plan = plan_host(task.wanted.inputs(task.host, facts, state.present))
        return replace(surveyed, plan=plan)
    except Exception as exc:  # noqa: BLE001 - one host's trouble must not stop the others
        if session is not None:
            session.target.close()
        return Failed(task, as_error(exc, task.host.name))


def deploy_host(surveyed: Surveyed, blob_path: Mapping[str, Path]) -> HostOutcome:
    """Bring the host to its plan's release; `blob_path` maps digests to files here."""
    assert surveyed.plan is not None  # noqa: S101
    if surveyed.plan.action == "unchanged":
        surveyed.session.close()
        return _outcome(surveyed, Status.UNCHANGED, release=surveyed.plan.release.id)
    return _guarded(surveyed, lambda: _deploy(surveyed, blob_path))


def rollback_host(surveyed: Surveyed, to: str) -> HostOutcome:
    """Put the host back on release `to`, which lies there, and verify it."""

    def work() -> HostOutcome:
        session = surveyed.session
        session.take_lock()
        release = session.read_release(to)
        return _switch(surveyed, release, activate=True, done=Status.ROLLED_BACK)

    return _guarded(surveyed, work)


def verify_host(surveyed: Surveyed) -> HostOutcome:
    """Run the smoke benchmark of what is active; nothing is switched whatever it says."""

    def work() -> HostOutcome:
        session, current = surveyed.session, surveyed.present.current
        if current is None:
            raise PreflightError(
                f"nothing is active on {session.name}",
                code="nothing_active",
                hint=f"Deploy first: orchestrate deploy --limit {session.name}",
            )
        session.take_lock()
        release = session.read_release(current)
        result = _verify(surveyed, release)
        session.commit(current, str(result.verdict), dict(result.metrics), what="verify")
        if result.verdict is Verdict.PASS:
            return _outcome(surveyed, Status.VERIFIED, current, release, result)
        error = VerifyError(
            f"{current} is active and does not pass: {result.reason}",
            hint=f"Go back: orchestrate rollback --limit {session.name}",
        )
        return _outcome(
            surveyed, Status.FAILED, current, release, result, error=error, exit_code=NOWHERE
        )

    return _guarded(surveyed, work)


def failed_outcome(failed: Failed) -> HostOutcome:
    """The outcome of a host that could not be surveyed."""
    error = failed.error
    return HostOutcome(
        failed.task.host.name, _status_of(error), exit_code=error.exit_code, error=error
    )


def skipped_outcome(surveyed: Surveyed) -> HostOutcome:
    """The outcome of a host that was not begun when the run was interrupted."""
    surveyed.session.close()
    return _outcome(surveyed, Status.SKIPPED, surveyed.present.current)


def _guarded(surveyed: Surveyed, work: Callable[[], HostOutcome]) -> HostOutcome:
    """`work`, its errors turned into an outcome, the lock let go and the connection closed."""
    session = surveyed.session
    try:
        with session:
            outcome = work()
    except Exception as exc:  # noqa: BLE001 - one host's trouble must not stop the others
        error = as_error(exc, session.name)
        outcome = _outcome(
            surveyed,
            _status_of(error),
            surveyed.present.current,
            error=error,
            # Input that turns out wrong this late leaves the host as it was, like any refusal.
            exit_code=BACK if isinstance(error, InputError) else error.exit_code,
        )
    return replace(outcome, seconds=dict(session.seconds), bytes_sent=session.bytes_sent)


def as_error(exc: Exception, host: str) -> OrchestrateError:
    """The exception itself if it was raised on purpose, else a defect of ours, told as such."""
    if isinstance(exc, OrchestrateError):
        return exc
    return OrchestrateError(
        f"{host}: {type(exc).__name__}: {exc}",
        code="internal",
        hint="This is a defect of orchestrate. Look at the host: "
        f"orchestrate status --limit {host}",
    )


def _status_of(error: OrchestrateError) -> Status:
    if isinstance(error, UnreachableError):
        return Status.UNREACHABLE
    return Status.LOCKED if isinstance(error, LockedError) else Status.FAILED


def _deploy(surveyed: Surveyed, blob_path: Mapping[str, Path]) -> HostOutcome:
    session, task, current = surveyed.session, surveyed.task, surveyed.plan
    assert current is not None and task.wanted is not None  # noqa: S101, PT018
    present = session.take_lock()
    if present != surveyed.present:
        current = plan_host(task.wanted.inputs(task.host, surveyed.facts, present))
        surveyed = replace(surveyed, present=present, plan=current)
    if current.action == "unchanged":
        return _outcome(surveyed, Status.UNCHANGED, current.release.id)
    if "preflight" in current.steps:
        session.enter("preflight", current.release.id)
        _preflight(surveyed, current)
    if "stage" in current.steps:
        session.enter("stage", current.release.id)
        _stage(session, current, blob_path)
    return _switch(
        surveyed, current.release, activate="activate" in current.steps, done=Status.DEPLOYED
    )


def _preflight(surveyed: Surveyed, current: HostPlan) -> None:
    free, needed = surveyed.facts.disk.free_mb * MIB, current.bytes_to_send
    if free < needed:
        raise PreflightError(
            f"{current.host} has {free // MIB} MiB free at {surveyed.session.root}, "
            f"the release needs {-(-needed // MIB)} MiB more",
            code="space",
            hint="Make room there, or set orchestrate_root to a larger file system.",
        )


def _stage(session: HostSession, current: HostPlan, blob_path: Mapping[str, Path]) -> None:
    def send(*, from_start: bool) -> None:
        for blob in missing_blobs(current.release, current.present):
            arrived = 0 if from_start else current.present.parts.get(blob.sha256, 0)
            if arrived != blob.size or from_start:
                offset = arrived if arrived < blob.size else 0
                session.send_blob(blob, blob_path[blob.sha256], offset)
        session.stage(current.release)

    try:
        send(from_start=False)
    except TransferError as exc:
        if exc.as_dict()["code"] != "damaged_blob":
            raise
        # What an earlier run left was damaged; the host removed it, so all of it goes again.
        send(from_start=True)


def _switch(surveyed: Surveyed, release: Release, *, activate: bool, done: Status) -> HostOutcome:
    """Activate (unless it is active), verify, and commit or revert."""
    session, back_to = surveyed.session, surveyed.present.current
    if not activate:
        back_to = way_back(surveyed.present)
    result = None
    try:
        if activate:
            session.enter("activate", release.id)
            session.activate(release.id, session.audit("activate", release.id))
        result = _verify(surveyed, release)
        if result.verdict is Verdict.PASS:
            session.enter("commit", release.id)
            session.commit(release.id, str(result.verdict), dict(result.metrics))
            return _outcome(surveyed, done, release.id, release, result)
    except PreflightError:
        raise  # the host said no before it switched anything
    except HostError as exc:
        return _revert(surveyed, release, result, exc, back_to)
    error = VerifyError(
        result.reason, hint=f"The engine's own words: orchestrate history --host {session.name}"
    )
    return _revert(surveyed, release, result, error, back_to)


def _revert(
    surveyed: Surveyed,
    release: Release,
    result: Verification | None,
    error: OrchestrateError,
    back_to: str | None,
) -> HostOutcome:
    """Put the previous release back, verify it, and say where the host is now."""
    session = surveyed.session
    try:
        if isinstance(error, UnreachableError):
            session.reconnect()
        session.enter("revert", back_to, error.message)
        session.activate(
            back_to,
            session.audit("verify", release.id, verdict=Verdict.FAIL, reason=error.message),
            session.audit("revert", back_to),
        )
        if back_to is None:
            return _outcome(
                surveyed, Status.FAILED, None, release, result, error=error, exit_code=BACK
            )
        old = session.read_release(back_to)
        again = _verify(surveyed, old, compare_speed=False)
        session.commit(back_to, str(again.verdict), dict(again.metrics), what="verify")
    except OrchestrateError as exc:
        stuck = HostError(
            f"{error.message}; going back to {back_to or 'no release'} failed too: {exc.message}",
            code="revert_failed",
            hint=f"Look now: orchestrate status --limit {session.name}. {exc.hint}",
        )
        return _outcome(
            surveyed, Status.FAILED, None, release, result, error=stuck, exit_code=NOWHERE
        )
    if again.verdict is Verdict.PASS:
        return _outcome(
            surveyed, Status.ROLLED_BACK, back_to, release, result, error=error, exit_code=BACK
        )
    worse = VerifyError(
        f"{error.message}; {back_to} is back but does not pass either: {again.reason}",
        code="revert_failed",
        hint=f"Look at the host itself: orchestrate facts --limit {session.name} --refresh",
    )
    return _outcome(
        surveyed, Status.FAILED, back_to, release, result, error=worse, exit_code=NOWHERE
    )


def _verify(surveyed: Surveyed, release: Release, *, compare_speed: bool = True) -> Verification:
    """The verdict of a release on the host.

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


def _outcome(
    surveyed: Surveyed,
    status: Status,
    release: str | None = None,
    tried: Release | None = None,
    result: Verification | None = None,
    *,
    error: OrchestrateError | None = None,
    exit_code: int = 0,
) -> HostOutcome:
    """The outcome; `tried` is the release the run was about, `release` what is active now."""
    if tried is None and surveyed.plan is not None:
        tried = surveyed.plan.release
    if tried is None and surveyed.present.manifest and surveyed.present.current:
        tried = read(surveyed.present.current, canonical(surveyed.present.manifest) + "\n")
    return HostOutcome(
        host=surveyed.task.host.name,
        status=status,
        exit_code=exit_code,
        release=release,
        active=_active(surveyed, release, tried),
        previous=surveyed.present.current,
        tried=tried.id if tried else None,
        profile=tried.profile if tried else None,
        hardware_class=surveyed.facts.hardware_class,
        model=tried.model if tried else None,
        version=tried.version if tried else None,
        artifact=tried.artifact if tried else None,
        engine=tried.engine.kind if tried else None,
        config=tried.config if tried else None,
        bytes_sent=surveyed.session.bytes_sent,
        verification=result,
        error=error,
        seconds=dict(surveyed.session.seconds),
    )


def _active(surveyed: Surveyed, release: str | None, tried: Release | None) -> str | None:
    """The `name@version` of the active release: the one tried, or the one that was there."""
    if tried is not None and tried.id == release:
        return f"{tried.model}@{tried.version}"
    manifest = surveyed.present.manifest
    if release is not None and release == surveyed.present.current and "model" in manifest:
        return f"{manifest['model']}@{manifest['version']}"
    return None
