"""From measurement to verdict."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.profile import VerifySpec
from orchestrator.verify.baseline import Baseline, from_samples, speed_metric
from orchestrator.verify.judge import MAX_ERROR, judge, judge_speed, max_error
from orchestrator.verify.result import Measurement, Verdict

RPI4 = Baseline("rpi4", "evals_per_s", median=10.8, spread=0.4, samples=9)
THE_BASELINE = "the rpi4 baseline (10.8 ± 0.4)"
GOOD = {"evals_per_s": 10.5, "golden_max_error": 1e-5, "peak_rss_mb": 80.0}


SLOW = f"slow: 1 evals/s, 9 % of {THE_BASELINE}, at least 80 % is wanted"


@pytest.mark.parametrize(
    ("metrics", "spec", "baseline", "verdict", "reason"),
    [
        (
            GOOD,
            VerifySpec(),
            None,
            "pass",
            "10.5 evals/s; its hardware class has no baseline yet: this starts one",
        ),
        ({}, VerifySpec(), RPI4, "pass", "no speed was measured"),
        ({"load_s": -1.0}, VerifySpec(), None, "fail", "load_s is -1: it cannot be negative"),
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
        (GOOD, VerifySpec(max_rss_mb=80), None, "pass", None),
        (
            {"evals_per_s": 1.0, "golden_max_error": 0.5, "peak_rss_mb": 80.0},
            VerifySpec(max_rss_mb=10),
            RPI4,
            "fail",
            (
                "wrong answers: golden error 0.5, at most 0.001 is allowed; "
                f"held 80 MiB of memory, at most 10 are allowed; {SLOW}"
            ),
        ),
    ],
)
def test_verdicts_that_need_no_second_measurement(metrics, spec, baseline, verdict, reason):
    result = judge(Measurement(metrics, detail="said"), spec, baseline, max_error=1e-3)
    assert result.verdict == verdict
    if reason is not None:
        assert result.reason == reason
    assert (result.metrics, result.detail) == (metrics, "said")


def test_a_failure_fails_whatever_was_measured():
    result = judge(Measurement(GOOD, failure="it broke"), VerifySpec(), RPI4, max_error=1e-3)
    assert (result.verdict, result.reason) == (Verdict.FAIL, "it broke")


@pytest.mark.parametrize("speed", [0.1, 10.5])
def test_a_speed_that_can_be_compared_is_left_to_the_repetition(speed):
    measured = Measurement({"evals_per_s": speed})
    assert judge(measured, VerifySpec(), RPI4, max_error=0.0) is None


def test_a_speed_that_is_missing_the_second_time_is_a_failure():
    result = judge(Measurement({"load_s": 1.0}), VerifySpec(), RPI4, max_error=0.0, again=True)
    assert result.verdict is Verdict.FAIL
    assert result.reason == "evals_per_s was measured before, and now it was not"


@pytest.mark.parametrize(
    ("verdict", "speeds", "min_ratio", "reason"),
    [
        ("pass", [10.5], 0.8, f"10.5 evals/s, 97 % of {THE_BASELINE}"),
        (
            "pass",
            [4.0, 10.5],
            0.8,
            f"10.5 evals/s (2 measurements, 95 % sure above 80 %), 97 % of {THE_BASELINE}",
        ),
        (
            "fail",
            [9.0, 4.3, 4.1],
            0.8,
            f"too slow: 4.1 evals/s (3 measurements, 95 % sure below 80 %), 38 % of {THE_BASELINE}",
        ),
        (
            "inconclusive",
            [9.0, 7.1, 9.0, 9.9, 8.5],
            0.825,
            (
                "8.5 evals/s (5 measurements, from 7.1 to 9.9), "
                f"79 % of {THE_BASELINE}: neither above nor below 82.5 % for sure"
            ),
        ),
    ],
)
def test_reasons_by_speed_name_the_one_in_the_middle(verdict, speeds, min_ratio, reason):
    measured = [Measurement({"evals_per_s": s, "load_s": s / 10}, detail=f"{s}") for s in speeds]
    result = judge_speed(Verdict(verdict), measured, VerifySpec(min_ratio=min_ratio), RPI4)
    assert (result.verdict, result.reason) == (verdict, reason)
    speed = result.metrics["evals_per_s"]
    assert result.metrics["load_s"] == speed / 10
    assert result.detail == str(speed)


def test_a_baseline_of_one_has_no_spread_and_visits_are_visits():
    orin = Baseline("jetson-orin", "visits_per_s", 100.0, 0.0, 1)
    measured = Measurement({"visits_per_s": 98.5, "evals_per_s": 60.0})
    result = judge_speed(Verdict.PASS, [measured], VerifySpec(), orin)
    assert result.reason == "98.5 visits/s, 98 % of the jetson-orin baseline (100)"


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
