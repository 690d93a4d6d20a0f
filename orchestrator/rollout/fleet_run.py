"""A command carried out on many hosts: survey all, decide, then change, then sum up."""

from __future__ import annotations

import secrets
import time
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from orchestrator.errors import HaltedError, InputError, InventoryError, UsageError
from orchestrator.events import EventBus, HostFinished, RunFinished, RunStarted
from orchestrator.fleet.urls import without_password
from orchestrator.planning.way_back import release_named, way_back
from orchestrator.rollout import this_process
from orchestrator.rollout.host_run import (
    failed_outcome,
    rollback_host,
    settle_host,
    skipped_outcome,
    survey_host,
    verify_host,
)
from orchestrator.rollout.outcome import INTERRUPTED, NOWHERE, HostOutcome, RunResult, Status
from orchestrator.rollout.runner import ThreadRunner
from orchestrator.rollout.session import Run
from orchestrator.rollout.task import Failed, HostTask, Surveyed, outcome_of
from orchestrator.targets.connection import connection_spec

if TYPE_CHECKING:
    from collections.abc import Callable, Container, Mapping, Sequence
    from pathlib import Path

    from orchestrator.fleet.host import Host
    from orchestrator.fleet.settings import Settings
    from orchestrator.history.records import BenchmarkKey
    from orchestrator.planning.diff import HostPlan
    from orchestrator.planning.present import Present
    from orchestrator.rollout.task import Wanted
    from orchestrator.targets.connection import ConnectionSpec
    from orchestrator.verify.baseline import Baseline


COMPOSE_FILES = ".orchestrate/compose"


@dataclass(frozen=True, slots=True)
class Survey:
    """Every host's answer: the ones that answered keep their session open until they are used.

    `hosts` are the names of all of them, in the order in which they were asked; `made` is when the
    last one answered, in seconds of the monotonic clock.
    """

    surveyed: tuple[Surveyed, ...]
    failed: tuple[Failed, ...]
    hosts: tuple[str, ...]
    made: float = field(default_factory=time.monotonic)

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
    be changed. `on_stop` is called when the operator first asks to stop, `on_halt` when they ask
    again. `ask` puts a question between two batches, `tell` says something there. `request` is what
    was asked for, as the history keeps it; what each host should get is added to it. `folder` is
    the fleet project's; `allow_tag` takes images of Docker hosts that are named by a tag.
    """

    command: str
    settings: Settings
    bus: EventBus
    baselines: Callable[[], Mapping[BenchmarkKey, Baseline]] = dict
    on_stop: Callable[[], None] = lambda: None
    on_halt: Callable[[], None] = lambda: None
    ask: Callable[[str], bool] = lambda _question: True
    tell: Callable[[str], None] = lambda _message: None
    request: Mapping[str, Any] = field(default_factory=dict)
    folder: Path | None = None
    allow_tag: bool = False
    id: str = field(default_factory=new_run_id)

    def __post_init__(self) -> None:
        """Make the runner; it remembers whether Ctrl-C was pressed."""
        self.runner = ThreadRunner(self.settings.parallel, self.on_stop, self.on_halt)
        self._begun: set[str] = set()
        self._halted: set[str] = set()

    def survey(self, hosts: Sequence[Host], wanted: Mapping[str, Wanted] | None = None) -> Survey:
        """Connect to all hosts, read what is there and plan what is `wanted` by host name.

        Touches nothing that runs. Raises InputError when a plan shows that the input is wrong,
        after closing all sessions, so that nothing is deployed at all.
        """
        tasks = self._tasks(hosts, wanted)
        _refuse_twins([task.connection for task in tasks])
        self.bus.publish(
            RunStarted(
                run=self.id,
                command=self.command,
                hosts=tuple(h.name for h in hosts),
                user=this_process.who(),
                request={**self.request, **_asked(wanted or {})},
            )
        )
        survey = self._ask(tasks)
        if self.runner.interrupted:
            survey.close()
            self.finish("interrupted", INTERRUPTED)
            raise KeyboardInterrupt
        wrong = [f for f in survey.failed if isinstance(f.error, InputError)]
        if wrong:
            survey.close()
            self.finish("failed", 2)
            raise _together(wrong)
        return survey

    def look_again(self, hosts: Sequence[Host]) -> Survey:
        """What is on the hosts now, after this run changed something there; asks nothing else."""
        return self._ask(self._tasks(hosts, None))

    def _tasks(
        self, hosts: Sequence[Host], wanted: Mapping[str, Wanted] | None
    ) -> Sequence[HostTask]:
        run = Run(
            self.id,
            self.command,
            self.bus.publish,
            self.settings.command_timeout,
            revert_after=self.settings.rollout.revert_after,
            keep=self.settings.keep,
            inconclusive=self.settings.rollout.inconclusive,
            images="find" if wanted is None else "bring",
            allow_tag=self.allow_tag,
            compose_files=None if self.folder is None else self.folder / COMPOSE_FILES,
            halted=self.runner.halted,
        )
        return [
            HostTask(
                run=run,
                host=host,
                connection=connection_spec(
                    host,
                    connect_timeout=self.settings.connect_timeout,
                    keepalive=self.settings.keepalive,
                    folder=self.folder,
                ),
                wanted=None if wanted is None else wanted[host.name],
            )
            for host in hosts
        ]

    def _ask(self, tasks: Sequence[HostTask]) -> Survey:
        answers = self.runner.run(survey_host, tasks)
        return Survey(
            tuple(a for a in answers if isinstance(a, Surveyed)),
            tuple(a for a in answers if isinstance(a, Failed)),
            tuple(task.host.name for task in tasks),
        )

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

    def settle(self, survey: Survey, of: Container[str]) -> RunResult:
        """Bring every surveyed host that one of the runs `of` left in the middle to its end."""
        return self._work(survey, lambda s: settle_host(s, of))

    def abandon(self, survey: Survey) -> None:
        """Close the sessions of a run that ends before anything was touched."""
        survey.close()
        self.finish("abandoned", 0)

    def work(
        self,
        function: Callable[[Surveyed], HostOutcome],
        hosts: Sequence[Surveyed],
        go_on: Callable[[], bool] = lambda: True,
    ) -> dict[str, HostOutcome]:
        """The outcomes of the hosts that were begun, by name, each published.

        No host is begun once `go_on` says no. When the operator has everything stopped at once,
        the outcomes say what was found on the hosts in flight.
        """

        def one(surveyed: Surveyed) -> HostOutcome:
            self._begun.add(surveyed.task.host.name)
            outcome = function(surveyed)
            self.publish(outcome)
            return outcome

        done = self.runner.run(one, hosts, go_on=go_on, halt=self._halt)
        outcomes = {}
        for surveyed, outcome in zip(hosts, done, strict=True):
            name = surveyed.task.host.name
            if name in self._halted or (outcome is None and name in self._begun):
                outcomes[name] = _halted_outcome(surveyed, outcome)
                self.publish(outcomes[name])
            elif outcome is not None:
                outcomes[name] = outcome
        return outcomes

    def publish(self, outcome: HostOutcome) -> None:
        """Say what became of a host."""
        self.bus.publish(HostFinished(run=self.id, host=outcome.host, outcome=outcome.as_dict()))

    def _work(self, survey: Survey, function: Callable[[Surveyed], HostOutcome]) -> RunResult:
        """All hosts at once, as far as `parallel` allows."""
        with self.runner.guard():
            baselines = self.baselines() if survey.changing else {}

            def one(surveyed: Surveyed) -> HostOutcome:
                return function(replace(surveyed, baselines=baselines))

            outcomes = self.unreached(survey) | self.work(one, survey.surveyed)
            for surveyed in survey.surveyed:
                if surveyed.task.host.name not in outcomes:
                    outcomes[surveyed.task.host.name] = skipped_outcome(surveyed)
            return self.result(survey, outcomes, interrupted=self.runner.interrupted)

    def unreached(self, survey: Survey) -> dict[str, HostOutcome]:
        """The outcomes of the hosts that could not be surveyed, by name, each published."""
        outcomes = {f.task.host.name: failed_outcome(f) for f in survey.failed}
        for outcome in outcomes.values():
            self.publish(outcome)
        return outcomes

    def _halt(self, surveyed: Surveyed) -> None:
        self._halted.add(surveyed.task.host.name)
        surveyed.session.halt()

    def result(
        self,
        survey: Survey,
        outcomes: Mapping[str, HostOutcome],
        *,
        interrupted: bool,
        aborted: str | None = None,
    ) -> RunResult:
        """What the run came to, in the order of its hosts; said to be finished."""
        hosts = tuple(outcomes[name] for name in survey.hosts)
        result = RunResult(self.id, hosts, interrupted=interrupted, aborted=aborted)
        self.finish(result.outcome, result.exit_code)
        return result

    def finish(self, outcome: str, exit_code: int) -> None:
        """Say that every host of the run has an outcome."""
        self.bus.publish(RunFinished(run=self.id, outcome=outcome, exit_code=exit_code))


def _refuse_twins(specs: Sequence[ConnectionSpec]) -> None:
    """Raise InventoryError where two Docker hosts are the same container of the same engine."""
    seen: dict[tuple[str, str], str] = {}
    for spec in specs:
        if spec.kind != "docker":
            continue
        other = seen.setdefault((spec.docker_host, spec.container), spec.name)
        if other != spec.name:
            raise InventoryError(
                f"{other} and {spec.name} are both container '{spec.container}' of the Docker "
                f"Engine {without_password(spec.docker_host)}",
                hint="Give each an orchestrate_container of its own.",
            )


def _halted_outcome(surveyed: Surveyed, outcome: HostOutcome | None) -> HostOutcome:
    """What became of a host whose work was ended at once, as far as it was found out."""
    session = surveyed.session
    if outcome is not None and outcome.error is None:
        return outcome
    error = HaltedError(
        f"stopped at once: {session.halt_told}",
        hint=f"See what is there: orchestrate status --limit {session.name}",
    )
    if outcome is not None:
        return replace(outcome, error=error)
    return outcome_of(surveyed, Status.FAILED, error=error, exit_code=NOWHERE)


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
