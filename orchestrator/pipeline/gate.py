"""Whether an artifact is near enough to the reference to be used.

The limits are KataGo's own for FP16 against FP32: checkStats99 and checkStatsMax, called for the
current config in Tests::runBackendErrorTest (cpp/tests/testnnevalcanary.cpp).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.pipeline.accuracy import Report


@dataclass(frozen=True, slots=True)
class Limit:
    """The largest error allowed at the 99th percentile and at all, in the units of the metric."""

    p99: float
    max: float


Limits = Mapping[str, Limit]

FP16_LIMITS: Limits = {
    "winrate": Limit(0.02, 0.05),
    "lead": Limit(1.0, 3.0),
    "score_mean": Limit(1.0, 3.0),
    "score_stdev": Limit(0.6, 1.8),
    "top_policy": Limit(0.025, 0.06),
    "policy_kl": Limit(0.002, 0.004),
    "shortterm_winloss_error": Limit(0.036, 0.09),
    "shortterm_score_error": Limit(0.75, 2.25),
    "ownership": Limit(0.035, 0.20),
}
NEGLIGIBLE = 1e-3  # of a limit
UNITS = {
    "winrate": "%",
    "top_policy": "%",
    "lead": "points",
    "score_mean": "points",
    "score_stdev": "points",
    "shortterm_score_error": "points",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether a report passes, why in one clause, and the margins.

    `margins` holds for each metric its error in units of its limit, the larger of the two: above 1
    it fails, 0.5 is half of what is allowed; infinite where an error is not a number.
    """

    passed: bool
    reason: str
    margins: Mapping[str, float]


def judge(report: Report, limits: Limits = FP16_LIMITS) -> Verdict:
    """The verdict on a report; its reason names the metric that is worst, or nearest to its limit.

    Outputs that are not finite, and metrics that are missing or no numbers, never pass.
    """
    shares = {
        (name, kind): _share(report, name, kind, getattr(limit, kind))
        for name, limit in limits.items()
        for kind in ("p99", "max")
    }
    margins = {name: max(shares[name, "p99"], shares[name, "max"]) for name in limits}
    if report.not_finite:
        reason = f"NaN or infinite outputs at {report.not_finite} of {report.positions} positions"
        return Verdict(passed=False, reason=reason, margins=margins)
    if not report.positions:
        return Verdict(passed=False, reason="no position was compared", margins=margins)
    worst, kind = max(shares, key=lambda key: shares[key])
    share, limit = shares[worst, kind], getattr(limits[worst], kind)
    if not math.isfinite(share):
        reason = f"{worst} {kind} is no finite number, {_allowed(worst, limit)}"
        return Verdict(passed=False, reason=reason, margins=margins)
    value = told(worst, getattr(report.metrics[worst], kind))
    clause = f"{worst} {kind} {value}, {_allowed(worst, limit)}"
    if share > 1:
        reason = f"{clause} ({_plain(share)} times)"
        return Verdict(passed=False, reason=reason, margins=margins)
    reason = "every error is below a thousandth of its limit"
    if share >= NEGLIGIBLE:
        reason = f"closest: {clause}"
    return Verdict(passed=True, reason=reason, margins=margins)


def document(
    found: Report, verdict: Verdict, *, positions_sha256: str, reference: str
) -> dict[str, Any]:
    """What a manifest says of an artifact's accuracy.

    `reference` is what the artifact was compared with, for people.
    """
    gate = {"gate": "pass" if verdict.passed else "fail", "reason": verdict.reason}
    data = found.document()
    metrics = data.pop("metrics")
    origin = {"positions_sha256": positions_sha256, "reference": reference}
    return gate | data | origin | {"metrics": metrics}


def told(metric: str, value: float) -> str:
    """The error with its unit: `6.8 %`, `0.3 points`, `0.0041`."""
    unit = UNITS.get(metric, "")
    number = _plain(value * 100 if unit == "%" else value)
    return f"{number} {unit}".rstrip()


def _allowed(metric: str, limit: float) -> str:
    text = told(metric, limit)
    return f"{'1 point' if text == '1 points' else text} allowed"


def _plain(value: float) -> str:
    """Three significant digits and no exponent."""
    return format(Decimal(f"{value:.3g}"), "f")


def _share(report: Report, metric: str, kind: str, limit: float) -> float:
    spread = report.metrics.get(metric)
    value = getattr(spread, kind, math.nan)
    return value / limit if math.isfinite(value) else math.inf
