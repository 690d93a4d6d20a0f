"""Smoke benchmarks, baselines and verdicts."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from orchestrator.errors import SettingsError
from orchestrator.verify.judge import judge, max_error
from orchestrator.verify.result import Verdict

if TYPE_CHECKING:
    from orchestrator.targets.base import Target
    from orchestrator.verify.base import SmokeBenchmark, Subject
    from orchestrator.verify.baseline import Baseline
    from orchestrator.verify.result import Measurement, Verification

KINDS = ("command", "katago", "onnxruntime")


def verify(target: Target, subject: Subject, baseline: Baseline | None) -> Verification:
    """The verdict of a release that lies on a host, from running it there.

    One that is only too slow is measured once more, and its better figure counts: something else
    may have had the cores. Raises UnreachableError when the connection breaks.
    """
    limit = max_error(subject.verify, kind=subject.engine.kind, precision=subject.precision)

    def verdict(against: Baseline | None, measurement: Measurement) -> Verification:
        return judge(measurement, subject.verify, against, max_error=limit)

    first = measure(target, subject)
    judged = verdict(baseline, first)
    if judged.verdict is Verdict.FAIL and verdict(None, first).verdict is Verdict.PASS:
        again = verdict(baseline, measure(target, subject))
        return again if again.verdict is Verdict.PASS else judged
    return judged


def measure(target: Target, subject: Subject) -> Measurement:
    """What the smoke benchmark measures; golden answers that it passed over are a failure."""
    kind = subject.engine.kind
    measurement = smoke_benchmark(kind)(target, subject)
    must_compare = subject.golden and kind != "command"
    if must_compare and not measurement.failure and "golden_max_error" not in measurement.metrics:
        return replace(measurement, failure=f"{subject.golden} was not compared")
    return measurement


def smoke_benchmark(kind: str) -> SmokeBenchmark:
    """The smoke benchmark of an engine kind; raises SettingsError where there is none."""
    if kind not in KINDS:
        raise SettingsError(
            f"there is no smoke benchmark for engine kind '{kind}'",
            hint=f"Supported: {', '.join(KINDS)}.",
        )
    return cast("SmokeBenchmark", importlib.import_module(f"orchestrator.verify.{kind}").smoke)
