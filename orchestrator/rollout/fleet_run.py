"""A command carried out on many hosts: survey all, decide, then change, then sum up."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError, UsageError
from orchestrator.events import EventBus, HostFinished, RunFinished, RunStarted
from orchestrator.planning.way_back import release_named, way_back
from orchestrator.rollout import this_process
from orchestrator.rollout.host_run import (
    deploy_host,
    failed_outcome,
    rollback_host,
    skipped_outcome,
    survey_host,
    verify_host,
)
from orchestrator.rollout.outcome import INTERRUPTED, HostOutcome, RunResult
from orchestrator.rollout.runner import ThreadRunner
from orchestrator.rollout.session import Run
from orchestrator.rollout.task import Failed, HostTask, Surveyed
from orchestrator.targets.connection import connection_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

    from orchestrator.fleet.host import Host
    from orchestrator.fleet.settings import Settings
    from orchestrator.history.records import BenchmarkKey
    from orchestrator.planning.diff import HostPlan
    from orchestrator.planning.present import Present
    from orchestrator.rollout.task import Wanted
    from orchestrator.verify.baseline import Baseline


@dataclass(frozen=True, slots=True)
class Survey:
    """Every host's answer: the ones that answered keep their session open until they are used."""

    surveyed: tuple[Surveyed, ...]
    failed: tuple[Failed, ...]

    @property
    def plans(self) -> list[HostPlan]:
        """The plans of the hosts that answered."""
        return [s.plan for s in self.surveyed if s.plan is not None]

    @property
    def changing(self) -> bool:
        """Whether any host has something to be done; one without a plan has."""
        return any(s.plan is None or s.plan.steps for s in self.surveyed)

    def close(self) -> None:
        """Close all sessions."""
        for surveyed in self.surveyed:
            surveyed.session.close()


def new_run_id() -> str:
    """A run's id: sorts by time, unique across operators."""
    return f"{datetime.now(UTC):%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


@dataclass
class FleetRun:
    """One command on many hosts; use it once.

    `baselines` asks the history what hardware classes have shown, when the first host is about to
    be changed. `on_stop` is called when the operator first asks to stop. `request` is what was
    asked for, as the history keeps it; what each host should get is added to it.
    """

    command: str
    settings: Settings
    bus: EventBus
    baselines: Callable[[], Mapping[BenchmarkKey, Baseline]] = dict
    on_stop: Callable[[], None] = lambda: None
    request: Mapping[str, Any] = field(default_factory=dict)
    id: str = field(default_factory=new_run_id)

    def __post_init__(self) -> None:
        """Make the runner; it remembers whether Ctrl-C was pressed."""
        self._runner = ThreadRunner(self.settings.parallel, self.on_stop)

    def survey(self, hosts: Sequence[Host], wanted: Mapping[str, Wanted] | None = None) -> Survey:
        """Connect to all hosts, read what is there and plan what is `wanted` by host name.

        Touches nothing. Raises InputError when a plan shows that the input is wrong, after closing
        all sessions, so that nothing is deployed at all.
        """
        run = Run(self.id, self.command, self.bus.publish, self.settings.command_timeout)
        tasks = [
            HostTask(
                run=run,
                host=host,
                connection=connection_spec(
                    host,
                    connect_timeout=self.settings.connect_timeout,
                    keepalive=self.settings.keepalive,
                ),
                wanted=None if wanted is None else wanted[host.name],
            )
            for host in hosts
        ]
        self.bus.publish(
            RunStarted(
                run=self.id,
                command=self.command,
                hosts=tuple(h.name for h in hosts),
                user=this_process.who(),
            )
        )
        answers = self._runner.run(survey_host, tasks)
        survey = Survey(
            tuple(a for a in answers if isinstance(a, Surveyed)),
            tuple(a for a in answers if isinstance(a, Failed)),
        )
        if self._runner.interrupted:
            survey.close()
            self._finish("interrupted", INTERRUPTED)
            raise KeyboardInterrupt
        wrong = [f for f in survey.failed if isinstance(f.error, InputError)]
        if wrong:
            survey.close()
            self._finish("failed", 2)
            raise _together(wrong)
        return survey

    def deploy(self, survey: Survey, blob_path: Mapping[str, Path]) -> RunResult:
        """Bring every surveyed host to its plan's release."""
        return self._work(survey, lambda s: deploy_host(s, blob_path))

    def ways_back(self, survey: Survey, to: str | None) -> dict[str, tuple[str | None, str]]:
        """For each surveyed host what is active and what it goes back to.

        That is `to`, a release or NAME@VERSION, or what last passed there before the active
        release. Raises UsageError, naming every host, when some have no such release.
        """
        ways: dict[str, tuple[str | None, str]] = {}
        without: dict[str, Present] = {}
        for surveyed in survey.surveyed:
            name, present = surveyed.task.host.name, surveyed.present
            target = way_back(present) if to is None else release_named(present, to)
            if target is None:
                without[name] = present
            else:
                ways[name] = (present.current, target)
        if without:
            raise no_way_back(to, without)
        return ways

    def rollback(self, survey: Survey, ways: Mapping[str, tuple[str | None, str]]) -> RunResult:
        """Put every surveyed host back on the release that `ways_back` found."""
        return self._work(survey, lambda s: rollback_host(s, ways[s.task.host.name][1]))

    def verify(self, survey: Survey) -> RunResult:
        """Run the smoke benchmark of what is active on every surveyed host."""
        return self._work(survey, verify_host)

    def abandon(self, survey: Survey) -> None:
        """Close the sessions of a run that ends before anything was touched."""
        survey.close()
        self._finish("abandoned", 0)

    def _work(self, survey: Survey, function: Callable[[Surveyed], HostOutcome]) -> RunResult:
        baselines = self.baselines() if survey.changing else {}

        def one(surveyed: Surveyed) -> HostOutcome:
            outcome = function(replace(surveyed, baselines=baselines))
            self._publish(outcome)
            return outcome

        unreached = [failed_outcome(f) for f in survey.failed]
        for outcome in unreached:
            self._publish(outcome)
        done = self._runner.run(one, survey.surveyed)
        reached = [
            outcome or skipped_outcome(surveyed)
            for surveyed, outcome in zip(survey.surveyed, done, strict=True)
        ]
        result = RunResult(self.id, (*unreached, *reached), interrupted=self._runner.interrupted)
        self._finish(result.outcome, result.exit_code)
        return result

    def _publish(self, outcome: HostOutcome) -> None:
        self.bus.publish(HostFinished(run=self.id, host=outcome.host, outcome=outcome.as_dict()))

    def _finish(self, outcome: str, exit_code: int) -> None:
        self.bus.publish(RunFinished(run=self.id, outcome=outcome, exit_code=exit_code))


def _asked(wanted: Mapping[str, Wanted]) -> dict[str, Any]:
    """What a run's request says of the versions that its hosts should get."""
    if not wanted:
        return {}
    return {
        "wanted": {host: each.version.ref for host, each in wanted.items()},
        "allow_inexact": any(each.allow_inexact for each in wanted.values()),
    }


def no_way_back(to: str | None, without: Mapping[str, Present]) -> UsageError:
    """The error for hosts without the release to go back to."""
    names = ", ".join(without)
    there = sorted({release for present in without.values() for release in present.releases})
    hint = "Leave such hosts out with --limit."
    if there:
        hint = f"On the host: {', '.join(there)}. Name one with --to, or leave it out with --limit."
    if to is None:
        return UsageError(
            f"{names}: nothing that passed before the active release is there",
            hint=hint,
            code="nothing_to_roll_back_to",
        )
    return UsageError(f"{names}: {to} is not there", hint=hint, code="no_such_release")


def _together(wrong: Sequence[Failed]) -> InputError:
    """One error for all hosts with the same fault; the first fault when they differ."""
    first = wrong[0].error
    assert isinstance(first, InputError)  # noqa: S101
    others = [f.task.host.name for f in wrong[1:]]
    if others:
        shown = ", ".join(others[:3]) + (f" and {len(others) - 3} more" if len(others) > 3 else "")  # noqa: PLR2004
        first.message += f" (input is wrong for {shown} too)"
    return first
