"""The rule that decides by speeds: a table, what always holds, and how often it errs."""

from __future__ import annotations

import math
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.verify.baseline import Baseline, from_samples
from orchestrator.verify.confidence import FREEDOM, MOST, T99, decide

RPI4 = Baseline("rpi4", "evals_per_s", median=10.0, spread=0.3, samples=9)
FIRST = Baseline("rpi4", "evals_per_s", median=10.0, spread=0.0, samples=1)
WILD = Baseline("rpi4", "evals_per_s", median=10.0, spread=3.0, samples=20)


@pytest.mark.parametrize(
    ("speeds", "verdict"),
    [
        # One is enough where it is far above 8.
        ([10.0], "pass"),
        ([9.2], "pass"),
        ([8.5], None),
        ([7.0], None),
        ([0.1], None),
        # The first only shows that more are needed; a second that is far above passes alone.
        ([4.0, 10.0], "pass"),
        ([4.0, 4.0], None),
        ([8.5, 8.5], None),
        # From three on the spread is their own.
        ([4.0, 4.1, 4.05], "fail"),
        ([9.9, 4.1, 4.05], "fail"),
        ([8.5, 8.6, 8.61], "pass"),
        ([8.5, 8.3, 8.8], None),
        ([7.0, 6.0, 6.5, 6.2], "fail"),
        ([7.0, 6.5, 7.4, 6.9], None),
        ([7.0, 6.5, 7.4, 6.9, 6.8], "fail"),
        # Not decided by the last.
        ([7.9, 8.1, 7.9, 8.2, 8.0], "inconclusive"),
        ([4.0, 9.0, 5.0, 9.0, 6.0], "inconclusive"),
    ],
)
def test_decisions_for_four_fifths_of_ten(speeds, verdict):
    assert decide(speeds, RPI4, 0.8) == verdict


@pytest.mark.parametrize(
    ("baseline", "speeds", "min_ratio", "verdict"),
    [
        (FIRST, [10.0], 0.8, "pass"),
        (FIRST, [9.2], 0.8, None),  # with nine samples that is enough
        (FIRST, [3.8, 3.8, 3.9], 0.8, "fail"),
        (FIRST, [7.4, 7.39, 7.4, 7.41, 7.4], 0.8, "inconclusive"),  # is 10 what the class can do?
        (RPI4, [7.4, 7.39, 7.4, 7.41], 0.8, "fail"),
        (RPI4, [7.7, 7.69, 7.7, 7.71, 7.7], 0.8, "inconclusive"),
        (RPI4, [7.0, 6.99, 7.0, 7.01], 0.8, "fail"),
        (WILD, [10.0], 0.8, None),
        (WILD, [10.0], 0.4, "pass"),
        (RPI4, [0.001], 0.0, "pass"),
        (Baseline("x", "evals_per_s", 0.0, 0.0, 3), [1.0], 0.8, "pass"),
        (RPI4, [1e-300, 1e-300, 1e-300], 1e3, "fail"),
        (Baseline("x", "evals_per_s", 1e-5, 1e300, 9), [1e-5], 0.8, None),
    ],
)
def test_decisions_depend_on_the_baseline(baseline, speeds, min_ratio, verdict):
    assert decide(speeds, baseline, min_ratio) == verdict


speeds_of_any_kind = st.lists(st.floats(1e-9, 1e9), min_size=1, max_size=MOST)
baselines = st.builds(
    Baseline,
    hardware_class=st.just("x"),
    metric=st.just("evals_per_s"),
    median=st.floats(1e-6, 1e6),
    spread=st.floats(0, 1e6),
    samples=st.integers(1, 100),
)


@given(speeds_of_any_kind, baselines, st.floats(0, 10))
def test_there_is_a_verdict_by_the_last_and_it_is_never_against_the_figures(
    speeds, baseline, ratio
):
    verdict = decide(speeds, baseline, ratio)
    assert verdict is not None or len(speeds) < MOST
    counted = speeds[1:] or speeds
    threshold = ratio * baseline.median
    if verdict == "pass":
        assert max(counted) >= threshold * (1 - 1e-9)
    if verdict == "fail":
        assert min(counted) < threshold
        assert len(speeds) >= 3


@given(speeds_of_any_kind, baselines, st.floats(0.1, 2.0), st.floats(1.0, 100.0))
def test_a_lower_bar_never_makes_a_pass_a_fail(speeds, baseline, ratio, easier):
    if decide(speeds, baseline, ratio) == "pass":
        assert decide(speeds, baseline, ratio / easier) == "pass"


def rates(*, samples, noise, speed, of="baseline", runs=1500):
    """Shares of verdicts, and measurements on average, of hosts that all run at `speed`.

    Speed is a share of what is wanted, by the class's true speed or by the baseline as recorded.
    """
    rng = random.Random(f"{samples} {noise} {speed} {of}")
    verdicts, measurements = Counter(), 0
    for _ in range(runs):
        seen = [10 * math.exp(rng.gauss(0, noise)) for _ in range(samples)]
        baseline = from_samples("x", "evals_per_s", seen)
        true = 0.8 * speed * (baseline.median if of == "baseline" else 10.0)
        speeds, verdict = [], None
        while verdict is None:
            speeds.append(true * math.exp(rng.gauss(0, noise)))
            verdict = decide(speeds, baseline, 0.8)
        verdicts[verdict] += 1
        measurements += len(speeds)
    return {str(v): n / runs for v, n in verdicts.items()}, measurements / runs


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.1, 0.2])
@pytest.mark.parametrize("samples", [1, 3, 10, 30])
def test_false_fails_are_rarer_than_one_in_twenty(samples, noise):
    """The worst that is right: a host exactly as fast as is wanted of its class."""
    found, _ = rates(samples=samples, noise=noise, speed=1.0, of="class")
    assert found.get("fail", 0.0) <= 0.05


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("samples", [1, 3, 10, 30])
def test_false_passes_are_rarer_than_one_in_twenty(samples, noise):
    """The worst that is wrong: a host just below the wanted share of the recorded baseline."""
    found, _ = rates(samples=samples, noise=noise, speed=0.999)
    assert found.get("pass", 0.0) <= 0.05


@pytest.mark.parametrize("samples", [1, 3, 10, 30])
def test_false_passes_on_noisy_hosts(samples):
    """Noise of 10 %: one in ten at the limit, one in fifty at a tenth below it."""
    assert rates(samples=samples, noise=0.1, speed=0.999)[0].get("pass", 0.0) <= 0.1
    assert rates(samples=samples, noise=0.1, speed=0.9)[0].get("pass", 0.0) <= 0.02


@pytest.mark.parametrize("noise", [0.01, 0.03, 0.05])
@pytest.mark.parametrize("samples", [5, 10, 30])
def test_as_fast_as_the_baseline_passes_with_the_first_as_a_rule(samples, noise):
    found, measurements = rates(samples=samples, noise=noise, speed=1.25)
    assert found["pass"] >= 0.99
    assert measurements <= 1.4


@pytest.mark.parametrize("noise", [0.01, 0.05, 0.1])
@pytest.mark.parametrize("samples", [1, 3, 10, 30])
def test_half_as_fast_as_wanted_fails(samples, noise):
    found, measurements = rates(samples=samples, noise=noise, speed=0.5)
    assert found["fail"] >= 0.99
    assert measurements <= 4.0


def test_the_quantiles_are_those_of_student():
    """The distribution function of t, integrated by Simpson's rule."""
    for freedom, quantile in zip(FREEDOM, T99, strict=True):
        scale = math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2))
        scale /= math.sqrt(freedom * math.pi)
        steps = 2000
        width = quantile / steps
        density = [
            scale * (1 + (i * width) ** 2 / freedom) ** (-(freedom + 1) / 2)
            for i in range(steps + 1)
        ]
        inner = 4 * sum(density[1:-1:2]) + 2 * sum(density[2:-1:2])
        below = 0.5 + width / 3 * (density[0] + density[-1] + inner)
        assert below == pytest.approx(0.99, abs=2e-5)
