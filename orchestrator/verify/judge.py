"""From what was measured to a verdict. Pure."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from orchestrator.verify.baseline import SPEED_METRICS, speed_metric
from orchestrator.verify.confidence import CONFIDENCE, counting
from orchestrator.verify.result import Verdict, Verification

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

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
    measurement: Measurement,
    spec: VerifySpec,
    baseline: Baseline | None,
    *,
    max_error: float,
    again: bool = False,
) -> Verification | None:
    """The verdict of one measurement with its reason in one line; None when its speed decides.

    A release fails when it did not load or answer, measured what cannot be, answers wrong by more
    than `max_error`, or held more memory than `max_rss_mb`; all that is wrong is named, slowness
    too. Without a baseline the speed is not judged: the measurement starts one. `again` says that
    it is repeated for the sake of the speed, which must then not be missing.
    """
    if measurement.failure:
        return _verification(Verdict.FAIL, measurement.failure, measurement)
    comparable = baseline is not None and baseline.metric in measurement.metrics
    wrong = [
        *_impossible(measurement.metrics),
        *_golden(measurement, max_error),
        *_memory(measurement, spec),
    ]
    if baseline is not None and again and not comparable:
        wrong.append(f"{baseline.metric} was measured before, and now it was not")
    if wrong:
        slow = _slowness(measurement, spec, baseline)
        return _verification(Verdict.FAIL, "; ".join([*wrong, *slow]), measurement)
    if comparable:
        return None
    return _verification(Verdict.PASS, _speed(measurement), measurement)


def judge_speed(
    verdict: Verdict, measurements: Sequence[Measurement], spec: VerifySpec, baseline: Baseline
) -> Verification:
    """The verdict that `confidence` came to, told by the measurement in the middle.

    Of an even number it is the slower one in the middle, so that all its figures belong together.
    """
    metric, wanted = baseline.metric, _wanted(spec)
    counted = sorted(counting(measurements), key=lambda measured: measured.metrics[metric])
    middle = counted[(len(counted) - 1) // 2]
    value, sure = _value(middle, metric), ""
    if len(measurements) > 1 and verdict is not Verdict.INCONCLUSIVE:
        side = "above" if verdict is Verdict.PASS else "below"
        sure = f" ({len(measurements)} measurements, {_percent(CONFIDENCE)} sure {side} {wanted})"
    elif verdict is Verdict.INCONCLUSIVE:
        least, most = (f"{m.metrics[metric]:.4g}" for m in (counted[0], counted[-1]))
        sure = f" ({len(measurements)} measurements, from {least} to {most})"
    reason = f"{value}{sure}, {share(middle, baseline)}"
    if verdict is Verdict.FAIL:
        reason = f"too slow: {reason}"
    elif verdict is Verdict.INCONCLUSIVE:
        reason = f"{reason}: neither above nor below {wanted} for sure"
    return _verification(verdict, reason, middle)


def excused(measurement: Measurement, baseline: Baseline, trouble: str) -> Verification:
    """Inconclusive: it was slow, but the host was in no condition for more."""
    value = _value(measurement, baseline.metric)
    reason = f"{value}, {share(measurement, baseline)}, but {trouble}"
    return _verification(Verdict.INCONCLUSIVE, reason, measurement)


def share(measurement: Measurement, baseline: Baseline) -> str:
    """`38 % of the rpi4 baseline (10.8 ± 0.4)`."""
    value = measurement.metrics[baseline.metric]
    part = _percent(value / baseline.median) if baseline.median else "any share"
    return f"{part} of the {baseline}"


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
        value = _value(measurement, baseline.metric)
        yield f"slow: {value}, {share(measurement, baseline)}, at least {_wanted(spec)} is wanted"


def _speed(measurement: Measurement) -> str:
    metric = speed_metric(measurement.metrics)
    if not metric:
        return "no speed was measured"
    value = _value(measurement, metric)
    return f"{value}; its hardware class has no baseline yet: this starts one"


def _value(measurement: Measurement, metric: str) -> str:
    """`4.1 evals/s`."""
    unit = metric.removesuffix("_per_s") + "/s" if metric in SPEED_METRICS else metric
    return f"{measurement.metrics[metric]:.4g} {unit}"


def _wanted(spec: VerifySpec) -> str:
    """`min_ratio` as it is written, in percent."""
    return f"{100 * spec.min_ratio:.4g} %"


def _percent(ratio: float) -> str:
    return f"{100 * ratio:.0f} %"
