"""The unit of work: one host of a run, before and after it was looked at."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError, OrchestrateError
from orchestrator.planning.plan import PlanInputs
from orchestrator.planning.release import canonical, read
from orchestrator.rollout.outcome import HostOutcome, Status

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.host import Host
    from orchestrator.fleet.profile import Profile
    from orchestrator.history.records import BenchmarkKey
    from orchestrator.models.manifest import ModelVersion
    from orchestrator.planning.diff import HostPlan
    from orchestrator.planning.preflight import Problem
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.planning.render import Templates
    from orchestrator.rollout.session import HostSession, Run
    from orchestrator.targets.connection import ConnectionSpec
    from orchestrator.verify.baseline import Baseline
    from orchestrator.verify.result import Verification


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

    `problems` are what speaks against the plan, `baselines` what its speed is held against.
    `lock_age` is for how many seconds nothing was heard of whoever holds the `lock`.
    """

    task: HostTask
    session: HostSession
    facts: Facts
    present: Present
    lock: str | None
    plan: HostPlan | None = None
    problems: tuple[Problem, ...] = ()
    baselines: Mapping[BenchmarkKey, Baseline] = field(default_factory=dict)
    lock_age: int | None = None


@dataclass(frozen=True, slots=True)
class Failed:
    """A host that could not be surveyed or planned for."""

    task: HostTask
    error: OrchestrateError


def outcome_of(
    surveyed: Surveyed,
    status: Status,
    release: str | None = None,
    tried: Release | None = None,
    result: Verification | None = None,
    *,
    error: OrchestrateError | None = None,
    exit_code: int = 0,
) -> HostOutcome:
    """The host's outcome; `release` is what is active now, None when nothing or unknown.

    `tried` is the release the run was about: by default the planned one, else the active one.
    """
    if tried is None and surveyed.plan is not None:
        tried = surveyed.plan.release
    tried = tried or _found(surveyed.present)
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
        return f"{manifest['model']}@{manifest.get('version')}"
    return None


def _found(present: Present) -> Release | None:
    """The active release as its manifest describes it; None when that is damaged."""
    if not present.manifest or present.current is None:
        return None
    try:
        return read(present.current, canonical(present.manifest) + "\n")
    except (ModelError, ValueError):
        return None


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
