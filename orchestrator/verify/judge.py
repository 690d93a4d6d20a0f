"""From what was measured to a verdict. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator.verify.baseline import SPEED_METRICS, speed_metric
from orchestrator.verify.result import Verdict, Verification

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.fleet.profile import VerifySpec
    from orchestrator.verify.baseline import Baseline
    from orchestrator.verify.result import Measurement

# How far golden answers may be off where the profile does not say, by precision. The error is
# max |answer - golden| / max(1, max |golden|): an FP32 net differs by its order of summation, FP16
# keeps 11 bits, and INT8 keeps 8 bits a layer. A net with the wrong weights is off by 1 and more.
MAX_ERROR = {"fp32": 1e-3, "fp16": 1e-2, "int8": 1e-1}
# KataGo answers with probabilities, computed in whatever precision its backend likes best.
KATAGO_MAX_ERROR = 5e-2
NEVER_NEGATIVE = frozenset(
    {"load_s", "golden_max_error", "peak_rss_mb", "latency_p50_ms", "latency_p95_ms", "positions"}
)


def max_error(spec: VerifySpec, *, kind: str, precision: str) -> float:
    """The largest golden error that passes: the profile's, else the usual one.

    What kind `command` calls an error is its own affair: it says `ok` itself.
    """
    if spec.max_error is not None:
        return spec.max_error
    if kind == "command":
        return math.inf
    return KATAGO_MAX_ERROR if kind == "katago" else MAX_ERROR[precision]


def judge(
    measurement: Measurement, spec: VerifySpec, baseline: Baseline | None, *, max_error: float
) -> Verification:
    """The verdict with its reason in one line.

    A release fails when it did not load or answer, measured what cannot be, answers wrong by more
    than `max_error`, is slower than `min_ratio` of the baseline, or held more memory than
    `max_rss_mb`; all that is wrong is named. Without a baseline the speed is not judged: the
    measurement starts one.
    """
    if measurement.failure:
        return _verification(Verdict.FAIL, measurement.failure, measurement)
    wrong = [
        *_impossible(measurement.metrics),
        *_golden(measurement, max_error),
        *_memory(measurement, spec),
        *_slowness(measurement, spec, baseline),
    ]
    if wrong:
        return _verification(Verdict.FAIL, "; ".join(wrong), measurement)
    return _verification(Verdict.PASS, _speed(measurement, baseline), measurement)


def _verification(verdict: Verdict, reason: str, measurement: Measurement) -> Verification:
    return Verification(verdict, measurement.metrics, reason, measurement.detail)


def _impossible(metrics: Mapping[str, float]) -> Iterator[str]:
    speed = speed_metric(metrics)
    if speed and not 0 < metrics[speed] < math.inf:
        yield f"{speed} is {metrics[speed]:.4g}: that is no speed"
    for name in sorted(NEVER_NEGATIVE & metrics.keys()):
        if metrics[name] < 0:
            yield f"{name} is {metrics[name]:.4g}: it cannot be negative"


def _golden(measurement: Measurement, limit: float) -> Iterator[str]:
    error = measurement.metrics.get("golden_max_error")
    if error is not None and not error <= limit:  # NaN is not
        yield f"wrong answers: golden error {error:.3g}, at most {limit:g} is allowed"


def _memory(measurement: Measurement, spec: VerifySpec) -> Iterator[str]:
    peak = measurement.metrics.get("peak_rss_mb")
    if spec.max_rss_mb is not None and peak is not None and not peak <= spec.max_rss_mb:
        yield f"held {peak:.0f} MiB of memory, at most {spec.max_rss_mb} are allowed"


def _slowness(
    measurement: Measurement, spec: VerifySpec, baseline: Baseline | None
) -> Iterator[str]:
    if baseline is None or baseline.metric not in measurement.metrics:
        return
    if not measurement.metrics[baseline.metric] >= spec.min_ratio * baseline.median:
        wanted = _percent(spec.min_ratio)
        yield f"too slow: {_speed(measurement, baseline)}, at least {wanted} is wanted"


def _speed(measurement: Measurement, baseline: Baseline | None) -> str:
    """`4.1 evals/s, 38 % of the rpi4 baseline (10.8 ± 0.4)`."""
    if baseline is not None and baseline.metric in measurement.metrics:
        value = measurement.metrics[baseline.metric]
        share = _percent(value / baseline.median) if baseline.median else "any share"
        return f"{value:.4g} {_unit(baseline.metric)}, {share} of the {baseline}"
    metric = speed_metric(measurement.metrics)
    if not metric:
        return "no speed was measured"
    value = measurement.metrics[metric]
    return f"{value:.4g} {_unit(metric)}; its hardware class has no baseline yet: this starts one"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"


def _unit(metric: str) -> str:
    return metric.removesuffix("_per_s") + "/s" if metric in SPEED_METRICS else metric
