"""The gate: KataGo's limits, and what is said of a report."""

import math

import pytest

from orchestrator.pipeline import gate
from orchestrator.pipeline.accuracy import METRICS, Report, Spread

FINE = Spread(0, 0, 0, 0)


def report(not_finite=0, positions=100, **metrics):
    """A report without errors but for (p99, max) of the given metrics."""
    spreads = dict.fromkeys(METRICS, FINE)
    spreads |= {name: Spread(0, 0, p99, most) for name, (p99, most) in metrics.items()}
    return Report(spreads, positions, {"9x9": positions}, not_finite)


def test_every_metric_has_a_limit():
    assert set(gate.FP16_LIMITS) == set(METRICS)


@pytest.mark.parametrize(
    ("metric", "p99", "most"),
    [
        ("winrate", 0.02, 0.05),
        ("lead", 1, 3),
        ("score_mean", 1, 3),
        ("score_stdev", 0.6, 1.8),
        ("top_policy", 0.025, 0.06),
        ("policy_kl", 0.002, 0.004),
        ("shortterm_winloss_error", 0.02 * 1.8, 0.05 * 1.8),
        ("shortterm_score_error", 0.75, 2.25),
        ("ownership", 0.02 * 1.75, 0.05 * 4),
    ],
)
def test_up_to_the_limit_and_not_beyond(metric, p99, most):
    inside, beyond = 0.999, 1.001
    assert gate.judge(report(**{metric: (inside * p99, inside * most)})).passed
    assert not gate.judge(report(**{metric: (beyond * p99, inside * most)})).passed
    assert not gate.judge(report(**{metric: (inside * p99, beyond * most)})).passed


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (report(winrate=(0.068, 0.08)), "winrate p99 6.8 %, 2 % allowed (3.4 times)"),
        (report(lead=(0.5, 6.6)), "lead max 6.6 points, 3 points allowed (2.2 times)"),
        (
            report(winrate=(0.03, 0.04), policy_kl=(0.0066, 0.0067)),
            "policy_kl p99 0.0066, 0.002 allowed (3.3 times)",
        ),
        (report(winrate=(0.0202, 0.03)), "winrate p99 2.02 %, 2 % allowed (1.01 times)"),
        (report(winrate=(20.5, 20.5)), "winrate p99 2050 %, 2 % allowed (1020 times)"),
        (
            report(ownership=(math.inf, math.inf)),
            "ownership p99 is no finite number, 0.035 allowed",
        ),
        (report(policy_kl=(0.001, math.nan)), "policy_kl max is no finite number, 0.004 allowed"),
        (report(not_finite=2), "NaN or infinite outputs at 2 of 100 positions"),
        (report(positions=0), "no position was compared"),
        (Report({"winrate": FINE}, 3, {"9x9": 3}), "lead p99 is no finite number, 1 point allowed"),
    ],
)
def test_why_it_fails(given, reason):
    verdict = gate.judge(given)
    assert not verdict.passed
    assert verdict.reason == reason


def test_how_near_it_was():
    verdict = gate.judge(report(winrate=(0.0021, 0.003), policy_kl=(0.0000123, 0.0000124)))
    assert verdict.passed
    assert verdict.reason == "closest: winrate p99 0.21 %, 2 % allowed"
    assert verdict.margins["winrate"] == pytest.approx(0.105)
    assert verdict.margins["policy_kl"] == pytest.approx(0.00615)
    assert verdict.margins["lead"] == 0


def test_other_limits():
    limits = {"winrate": gate.Limit(0.1, 0.2)}
    assert gate.judge(report(winrate=(0.09, 0.19), lead=(50, 50)), limits).passed
