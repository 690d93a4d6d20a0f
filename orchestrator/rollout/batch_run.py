"""A deploy as its strategy wants it: canaries first, then batch after batch, until all or enough.

Hosts that have nothing to change, or that cannot take their release, are done with before: nothing
is touched there.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.errors import HostError, InputError, PreflightError
from orchestrator.events import BatchStarted, RolloutAborted
from orchestrator.listing import count
from orchestrator.planning.diff import missing_blobs
from orchestrator.rollout import batches
from orchestrator.rollout.host_run import (
    deploy_host,
    failed_outcome,
    skipped_outcome,
    survey_host,
)
from orchestrator.rollout.outcome import BACK, Status
from orchestrator.rollout.question import question
from orchestrator.rollout.task import Failed, Surveyed, outcome_of
from orchestrator.rollout.undo import not_put_back, put_back, undo_task

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from orchestrator.fleet.strategy import Strategy
    from orchestrator.rollout.batches import Order, Step
    from orchestrator.rollout.fleet_run import FleetRun, Survey
    from orchestrator.rollout.outcome import HostOutcome, RunResult

# Seconds after which a host is looked at again before it is begun: its disk may be full or the host
# hot by now, and an idle connection over a bad link dead without anybody having noticed.
FRESH = 30.0


class BatchRun:
    """One deploy over the fleet; `outcomes` holds what is known, by host.

    `declined` is set when the operator answered a question between two batches with no.
    """

    def __init__(
        self,
        run: FleetRun,
        survey: Survey,
        order: Order,
        deploy: Callable[[Surveyed], HostOutcome],
        outcomes: Mapping[str, HostOutcome],
    ) -> None:
        self.outcomes = dict(outcomes)
        self.declined = False
        self._run = run
        self._strategy = run.settings.rollout
        self._survey = survey
        self._order = order
        self._deploy = deploy
        self._surveyed = {s.task.host.name: s for s in survey.surveyed}

    def carry_out(self) -> str | None:
        """Do all of it; why hosts were not begun or put back, None when none was."""
        at_rest = [surveyed for surveyed in self._surveyed.values() if not may_change(surveyed)]
        self.outcomes |= self._run.work(self._deploy, at_rest)
        reason = self._go()
        if self._run.runner.interrupted:
            self._skip("not begun: the run was interrupted", "interrupted")
            return None
        return self._abort(reason) if reason else None

    def _go(self) -> str:
        """Step after step; why it stopped, empty when all hosts had their turn."""
        reason = self._order.stop or self._exceeded()
        for number, step in enumerate(self._order.steps):
            if reason or self._run.runner.interrupted:
                break
            if number and not self._may_follow(step, self._order.steps[number - 1]):
                self.declined = True
                return f"the answer before {step} was no"
            reason = self._take(step)
        return reason

    def _may_follow(self, step: Step, last: Step) -> bool:
        """Let the strategy's pause pass before a step; the operator's answer where it is one."""
        if self._strategy.pause == "ask":
            with self._run.runner.unguarded():
                return self._run.ask(question(step, last, self.outcomes))
        if self._strategy.pause:
            hosts = count(len(step.hosts), "host")
            self._run.tell(f"Waiting {self._strategy.pause:g} s before {step} ({hosts}).")
            self._run.runner.wait(self._strategy.pause)
        return True

    def _take(self, step: Step) -> str:
        """Work on the hosts of a step; why no further host may be begun, empty while one may."""
        if self._run.runner.interrupted:
            return ""
        self._run.bus.publish(
            BatchStarted(
                run=self._run.id,
                kind=step.kind,
                batch=step.number,
                batches=step.of,
                hosts=step.hosts,
            )
        )

        def one(surveyed: Surveyed) -> HostOutcome:
            outcome = self._begin(surveyed)
            self.outcomes[outcome.host] = outcome
            return outcome

        hosts = [self._surveyed[host] for host in step.hosts]
        self.outcomes |= self._run.work(one, hosts, lambda: not self._stop_after(step))
        return self._stop_after(step)

    def _stop_after(self, step: Step) -> str:
        if step.kind == "canary":
            statuses = {host: outcome.status for host, outcome in list(self.outcomes.items())}
            if failure := batches.canary_failure(step.hosts, statuses):
                return failure
        return self._exceeded()

    def _exceeded(self) -> str:
        statuses = [outcome.status for outcome in list(self.outcomes.values())]
        return batches.exceeded(self._strategy, len(self._survey.hosts), statuses)

    def _begin(self, surveyed: Surveyed) -> HostOutcome:
        """Deploy to a host; one that was looked at long ago is looked at again before."""
        if time.monotonic() - self._survey.made <= FRESH:
            return self._deploy(surveyed)
        surveyed.session.close()
        again = survey_host(surveyed.task)
        if isinstance(again, Surveyed):
            return self._deploy(again)
        outcome = failed_outcome(again)
        # Input that turns out wrong this late leaves the host as it was, like any refusal.
        return replace(outcome, exit_code=BACK) if isinstance(again.error, InputError) else outcome

    def _abort(self, reason: str) -> str | None:
        """Leave the hosts that were not begun, and put back the others where that is wanted.

        Who could not be reached is left, too: such hosts get nothing later that was stopped here.
        """
        back = [] if self.declined or self._strategy.on_abort == "keep" else self._deployed()
        not_begun = tuple(name for name in self._surveyed if name not in self.outcomes)
        away = any(o.status is Status.UNREACHABLE for o in self.outcomes.values())
        if not (not_begun or back or away):
            return None
        self._run.bus.publish(RolloutAborted(run=self._run.id, reason=reason, not_begun=not_begun))
        self._skip(f"not begun: {reason}", "aborted")
        self._put_back(back, reason)
        return reason

    def _skip(self, message: str, code: str) -> None:
        for name, surveyed in self._surveyed.items():
            if name not in self.outcomes:
                error = HostError(message, code=code, hint=_go_on(self._run.id))
                self.outcomes[name] = replace(skipped_outcome(surveyed), error=error)
                self._run.publish(self.outcomes[name])

    def _deployed(self) -> list[str]:
        return [
            name
            for name, outcome in self.outcomes.items()
            if outcome.status is Status.DEPLOYED and outcome.release != outcome.previous
        ]

    def _put_back(self, names: list[str], reason: str) -> None:
        """Have the hosts go back to what they had before this run."""
        before = {name: self.outcomes[name] for name in names}
        for outcome in before.values():
            if outcome.previous is None:
                self._note(not_put_back(outcome, None))
        tasks = [undo_task(self._surveyed[n].task) for n, o in before.items() if o.previous]
        answers = self._run.runner.run(survey_host, tasks)
        for answer in answers:
            if isinstance(answer, Failed):
                self._note(not_put_back(before[answer.task.host.name], answer.error))
        hosts = [answer for answer in answers if isinstance(answer, Surveyed)]
        done = self._run.work(
            lambda s: put_back(s, before[s.task.host.name], reason, _go_on(self._run.id)), hosts
        )
        self.outcomes |= done
        for surveyed in hosts:
            if surveyed.task.host.name not in done:
                surveyed.session.close()
        for name, outcome in before.items():
            if self.outcomes[name] is outcome:
                self._note(not_put_back(outcome, HostError("the run was interrupted")))

    def _note(self, outcome: HostOutcome) -> None:
        self.outcomes[outcome.host] = outcome
        self._run.publish(outcome)


def deploy(run: FleetRun, survey: Survey, blob_path: Mapping[str, Path]) -> RunResult:
    """Bring every surveyed host to its plan's release, canaries first, then in batches.

    `blob_path` maps digests to files here.
    """
    with run.runner.guard():
        baselines = run.baselines() if survey.changing else {}

        def one(surveyed: Surveyed) -> HostOutcome:
            if _cannot_be_sent(surveyed, blob_path):
                return _planned_otherwise(surveyed)
            return deploy_host(replace(surveyed, baselines=baselines), blob_path)

        order = order_of(run.settings.rollout, survey)
        batch_run = BatchRun(run, survey, order, one, run.unreached(survey))
        stopped = batch_run.carry_out()
        interrupted = run.runner.interrupted or batch_run.declined
        result = run.result(survey, batch_run.outcomes, interrupted=interrupted, aborted=stopped)
        return replace(result, declined=batch_run.declined)


def _cannot_be_sent(surveyed: Surveyed, blob_path: Mapping[str, Path]) -> bool:
    """Whether the plan needs files that no plan needed when the run began, so nobody checked."""
    assert surveyed.plan is not None  # noqa: S101
    missing = missing_blobs(surveyed.plan.release, surveyed.present)
    return surveyed.plan.action == "deploy" and any(b.sha256 not in blob_path for b in missing)


def _planned_otherwise(surveyed: Surveyed) -> HostOutcome:
    """The outcome of a host that by now can only take another artifact than was agreed to."""
    assert surveyed.plan is not None  # noqa: S101
    surveyed.session.close()
    name = surveyed.session.name
    error = PreflightError(
        f"{name} changed since it was planned for: it would now get {surveyed.plan.release.id}",
        code="changed_meanwhile",
        hint=f"See what it would get and deploy: orchestrate deploy --limit {name}",
    )
    return outcome_of(
        surveyed, Status.FAILED, surveyed.present.current, error=error, exit_code=BACK
    )


def order_of(strategy: Strategy, survey: Survey) -> Order:
    """The canaries and batches in which a deploy begins the surveyed hosts."""
    return batches.order(
        strategy,
        survey.hosts,
        {s.task.host.name: s.facts.hardware_class for s in survey.surveyed if may_change(s)},
        {failed.task.host.name for failed in survey.failed},
    )


def may_change(surveyed: Surveyed) -> bool:
    """Whether there is something to do on a host and nothing that keeps it from being done."""
    blocked = any(problem.blocks for problem in surveyed.problems)
    return surveyed.plan is not None and bool(surveyed.plan.steps) and not blocked


def _go_on(run: str) -> str:
    return f"Mend what failed, then go on: orchestrate deploy --resume {run}"
