"""From measurement to verdict."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.profile import VerifySpec
from orchestrator.verify.baseline import Baseline, from_samples, speed_metric
from orchestrator.verify.judge import MAX_ERROR, judge, max_error
from orchestrator.verify.result import Measurement, Verdict

RPI4 = Baseline("rpi4", "evals_per_s", median=10.8, spread=0.4, samples=9)
THE_BASELINE = "the rpi4 baseline (10.8 ± 0.4)"
GOOD = {"evals_per_s": 10.5, "golden_max_error": 1e-5, "peak_rss_mb": 80.0}


@pytest.mark.parametrize(
    ("metrics", "spec", "baseline", "verdict", "reason"),
    [
        (GOOD, VerifySpec(), RPI4, "pass", "10.5 evals/s, 97 % of the rpi4 baseline (10.8 ± 0.4)"),
        (
            GOOD,
            VerifySpec(),
            None,
            "pass",
            "10.5 evals/s; its hardware class has no baseline yet: this starts one",
        ),
        ({}, VerifySpec(), None, "pass", "no speed was measured"),
        (
            {"visits_per_s": 81.5, "evals_per_s": 60.0},
            VerifySpec(),
            Baseline("jetson-orin", "visits_per_s", 100.0, 0.0, 1),
            "pass",
            "81.5 visits/s, 82 % of the jetson-orin baseline (100)",
        ),
        (
            GOOD | {"evals_per_s": 4.1},
            VerifySpec(),
            RPI4,
            "fail",
            f"too slow: 4.1 evals/s, 38 % of {THE_BASELINE}, at least 80 % is wanted",
        ),
        (
            GOOD | {"evals_per_s": 4.1},
            VerifySpec(min_ratio=0.3),
            RPI4,
            "pass",
            "4.1 evals/s, 38 % of the rpi4 baseline (10.8 ± 0.4)",
        ),
        (
            GOOD | {"golden_max_error": 1.79},
            VerifySpec(),
            RPI4,
            "fail",
            "wrong answers: golden error 1.79, at most 0.001 is allowed",
        ),
        (
            GOOD | {"golden_max_error": math.nan},
            VerifySpec(),
            RPI4,
            "fail",
            "wrong answers: golden error nan, at most 0.001 is allowed",
        ),
        (
            GOOD,
            VerifySpec(max_rss_mb=79),
            RPI4,
            "fail",
            "held 80 MiB of memory, at most 79 are allowed",
        ),
        (GOOD, VerifySpec(max_rss_mb=80), RPI4, "pass", None),
        (
            {"evals_per_s": 1.0, "golden_max_error": 0.5, "peak_rss_mb": 80.0},
            VerifySpec(max_rss_mb=10),
            RPI4,
            "fail",
            (
                "wrong answers: golden error 0.5, at most 0.001 is allowed; "
                "held 80 MiB of memory, at most 10 are allowed; "
                f"too slow: 1 evals/s, 9 % of {THE_BASELINE}, at least 80 % is wanted"
            ),
        ),
    ],
)
def test_verdicts(metrics, spec, baseline, verdict, reason):
    result = judge(Measurement(metrics, detail="said"), spec, baseline, max_error=1e-3)
    assert result.verdict == verdict
    if reason is not None:
        assert result.reason == reason
    assert (result.metrics, result.detail) == (metrics, "said")


def test_a_failure_fails_whatever_was_measured():
    result = judge(Measurement(GOOD, failure="it broke"), VerifySpec(), RPI4, max_error=1e-3)
    assert (result.verdict, result.reason) == (Verdict.FAIL, "it broke")


@given(
    value=st.floats(1e-3, 1e6),
    median=st.floats(1e-3, 1e6),
    ratio=st.floats(0.01, 1.0),
)
def test_speed_alone_decides_at_the_ratio(value, median, ratio):
    baseline = Baseline("x", "evals_per_s", median, 0.0, 3)
    measured = Measurement({"evals_per_s": value})
    result = judge(measured, VerifySpec(min_ratio=ratio), baseline, max_error=0.0)
    assert (result.verdict is Verdict.PASS) == (value >= ratio * median)


def test_the_limit_is_the_profiles_or_the_precisions():
    for precision, usual in MAX_ERROR.items():
        assert max_error(VerifySpec(), kind="onnxruntime", precision=precision) == usual
    for kind in ("onnxruntime", "katago", "command"):
        assert max_error(VerifySpec(max_error=0.02), kind=kind, precision="fp32") == 0.02
    assert max_error(VerifySpec(), kind="command", precision="fp32") == math.inf


@pytest.mark.parametrize(
    ("samples", "median", "spread"),
    [
        ([10.0], 10.0, 0.0),
        ([10.0, 11.0, 12.0], 11.0, 1.4826),
        ([10.0, 10.0, 10.0, 10.0, 1000.0], 10.0, 0.0),
        ([9.0, 10.0, 11.0, 10.0], 10.0, 0.5 * 1.4826),
    ],
)
def test_a_baseline_is_median_and_scaled_mad(samples, median, spread):
    baseline = from_samples("rpi5", "evals_per_s", samples)
    assert baseline.median == median
    assert baseline.spread == pytest.approx(spread)
    assert baseline.samples == len(samples)


def test_there_is_no_baseline_of_nothing():
    assert from_samples("rpi5", "evals_per_s", []) is None


@given(st.lists(st.floats(1.0, 1e6), min_size=3), st.floats(1e7, 1e9))
def test_one_odd_host_does_not_move_a_baseline_out_of_what_was_seen(samples, odd):
    baseline = from_samples("x", "evals_per_s", [*samples, odd])
    assert min(samples) <= baseline.median <= max(samples)


def test_visits_come_before_evals():
    assert speed_metric({"evals_per_s": 1, "visits_per_s": 2}) == "visits_per_s"
    assert speed_metric({"load_s": 1}) == ""
