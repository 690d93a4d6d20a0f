"""Measuring until there is a verdict, and waiting while the host is in no condition for one."""

from __future__ import annotations

import time
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from orchestrator.verify.conditions import trouble
from orchestrator.verify.confidence import MOST, decide
from orchestrator.verify.judge import excused, judge, judge_speed, share
from orchestrator.verify.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.profile import VerifySpec
    from orchestrator.verify.baseline import Baseline
    from orchestrator.verify.result import Measurement, Verification


@dataclass(frozen=True, slots=True)
class Patience:
    """How often, and for how many seconds, to wait for a host that is hot or busy."""

    tries: int = 3
    pause: float = 15.0
    wait: Callable[[float], object] = time.sleep


@dataclass(slots=True)
class Series:
    """Measurements of one release on one host, and what came of them.

    `measure` makes one. `conditions` reads what the host is in; None takes it for fit.
    """

    measure: Callable[[], Measurement]
    spec: VerifySpec
    max_error: float
    baseline: Baseline | None
    conditions: Callable[[], Facts] | None
    announce: Callable[[str], None]
    patience: Patience
    made: int = 0
    busy: float = 0.0
    waited: int = 0
    counted: list[Measurement] = field(default_factory=list)

    def run(self) -> Verification:
        """Measure until there is a verdict; its metric `measurements` says how often."""
        verdict = None
        while verdict is None:
            verdict = self._judged(self._next())
        return replace(verdict, metrics={**verdict.metrics, "measurements": float(self.made)})

    def _next(self) -> Measurement:
        started = time.monotonic()
        measurement = self.measure()
        self.busy += time.monotonic() - started
        self.made += 1
        return measurement

    def _judged(self, latest: Measurement) -> Verification | None:
        """The verdict after one more measurement; None when that leaves a doubt of the speed."""
        judged = judge(
            latest, self.spec, self.baseline, max_error=self.max_error, again=self.made > 1
        )
        if judged is not None or self.baseline is None:
            return judged
        measured = [*self.counted, latest]
        speeds = [each.metrics[self.baseline.metric] for each in measured]
        verdict = decide(speeds, self.baseline, self.spec.min_ratio)
        if verdict is not Verdict.PASS and self.conditions is not None:
            slow = speeds[-1] < self.spec.min_ratio * self.baseline.median
            unfit = trouble(self.conditions, self.busy) if slow or verdict else ""
            if unfit:
                return self._wait(latest, self.baseline, unfit)
        self.counted = measured
        if verdict is not None:
            return judge_speed(verdict, measured, self.spec, self.baseline)
        so_far = share(latest, self.baseline)
        self.announce(f"measuring again: {len(measured) + 1} of {MOST}, {so_far}")
        return None

    def _wait(self, latest: Measurement, baseline: Baseline, unfit: str) -> Verification | None:
        """Give the host time; what it measured does not count. Inconclusive in the end."""
        if self.waited == self.patience.tries:
            return excused(latest, baseline, unfit)
        self.waited += 1
        self.announce(
            f"{share(latest, baseline)}, but {unfit}: measuring again in "
            f"{self.patience.pause:g} s ({self.waited} of {self.patience.tries})"
        )
        self.patience.wait(self.patience.pause)
        return None
