"""How sure a release is fast enough, from the speeds measured so far. Pure.

Speeds are compared by their logarithms: noise of machines is a share of the speed, and a ratio of
speeds becomes a difference. `docs/decisions/0005-verdicts.md` has the reasons and the error rates.
"""

from __future__ import annotations

from bisect import bisect_right
from math import hypot, log, pi, sqrt
from statistics import fmean, stdev
from typing import TYPE_CHECKING, TypeVar

from orchestrator.verify.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Sequence

    from orchestrator.verify.baseline import Baseline

T = TypeVar("T")

# At most so many measurements; each is one look at the answer.
MOST = 5
# One-sided, for all looks together: each of the five has 99 %, and errors add up at the worst
# (Bonferroni).
CONFIDENCE = 0.95
# Quantiles of Student's t for 99 % by degrees of freedom, those between take the one before.
# NIST/SEMATECH e-Handbook of Statistical Methods, 1.3.6.7.2.
FREEDOM = (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30, 60)
T99 = (
    *(31.821, 6.965, 4.541, 3.747, 3.365, 3.143, 2.998, 2.896, 2.821, 2.764),
    *(2.681, 2.602, 2.528, 2.457, 2.390),
)
# The spread of a class that has shown little yet, as a share of its speed, and how many degrees of
# freedom that guess is worth beside the samples.
USUAL_SPREAD = 0.05
USUAL_FREEDOM = 4
# What a median absolute deviation of normal values is worth beside their standard deviation, and
# the variance of a median beside that of a mean (Rousseeuw & Croux 1993; Kendall & Stuart).
MAD_EFFICIENCY = 0.37
MEDIAN_VARIANCE = pi / 2


def decide(speeds: Sequence[float], baseline: Baseline, min_ratio: float) -> Verdict | None:
    """The verdict of positive speeds in the order they were measured; None to measure again.

    One measurement alone passes where it is above `min_ratio` of the baseline by more than chance
    explains, with the class's spread as its noise. Otherwise it has only shown that more are
    needed: being picked for that it is biased, so the verdict is made of those after it. From the
    second of them on their own spread is their noise. To fail they must be slow also where the
    baseline itself, a median of few samples, is too high by chance. What is not decided by the last
    is inconclusive.
    """
    threshold = min_ratio * baseline.median
    if not threshold > 0:
        return Verdict.PASS
    counted = counting(speeds)
    above = [log(speed) - log(threshold) for speed in counted]
    noise, freedom = _class_noise(baseline)
    margin = fmean(above)
    if len(above) == 1:
        passed, failed = margin >= _t99(freedom) * noise, False
    else:
        own = _t99(len(above) - 1) * stdev(above) / sqrt(len(above))
        of_baseline = _t99(freedom) * noise * sqrt(MEDIAN_VARIANCE / baseline.samples)
        passed, failed = margin >= own, -margin > hypot(own, of_baseline)
    if passed:
        return Verdict.PASS
    if failed:
        return Verdict.FAIL
    return None if len(speeds) < MOST else Verdict.INCONCLUSIVE


def counting(measured: Sequence[T]) -> Sequence[T]:
    """What a verdict is made of: the only one, or all after the first."""
    return measured[1:] or measured


def _class_noise(baseline: Baseline) -> tuple[float, float]:
    """The spread of one measurement as a share of the speed, and its degrees of freedom."""
    shown = MAD_EFFICIENCY * (baseline.samples - 1)
    freedom = USUAL_FREEDOM + shown
    share = baseline.spread / baseline.median
    noise = hypot(sqrt(USUAL_FREEDOM) * USUAL_SPREAD, sqrt(shown) * share) / sqrt(freedom)
    return noise, freedom


def _t99(freedom: float) -> float:
    return T99[bisect_right(FREEDOM, freedom) - 1]
