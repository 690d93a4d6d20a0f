"""Smoke benchmarks, baselines and verdicts."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from orchestrator.errors import SettingsError
from orchestrator.verify.judge import judge, max_error

if TYPE_CHECKING:
    from orchestrator.targets.base import Target
    from orchestrator.verify.base import SmokeBenchmark, Subject
    from orchestrator.verify.baseline import Baseline
    from orchestrator.verify.result import Verification

KINDS = ("command", "katago", "onnxruntime")


def verify(target: Target, subject: Subject, baseline: Baseline | None) -> Verification:
    """The verdict of a release that lies on a host, from running it there.

    Raises UnreachableError when the connection breaks.
    """
    kind = subject.engine.kind
    limit = max_error(subject.verify, kind=kind, precision=subject.precision)
    measurement = smoke_benchmark(kind)(target, subject)
    must_compare = subject.golden and kind != "command"
    if must_compare and not measurement.failure and "golden_max_error" not in measurement.metrics:
        measurement = replace(measurement, failure=f"{subject.golden} was not compared")
    return judge(measurement, subject.verify, baseline, max_error=limit)


def smoke_benchmark(kind: str) -> SmokeBenchmark:
    """The smoke benchmark of an engine kind; raises SettingsError where there is none."""
    if kind not in KINDS:
        raise SettingsError(
            f"there is no smoke benchmark for engine kind '{kind}'",
            hint=f"supported: {', '.join(KINDS)}",
        )
    return cast("SmokeBenchmark", importlib.import_module(f"orchestrator.verify.{kind}").smoke)
