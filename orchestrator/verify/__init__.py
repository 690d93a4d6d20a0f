"""Smoke benchmarks, baselines and verdicts."""

from __future__ import annotations

import importlib
from dataclasses import replace
from typing import TYPE_CHECKING, cast

from orchestrator.errors import SettingsError
from orchestrator.verify.judge import max_error
from orchestrator.verify.repeat import Patience, Series

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.fleet.facts import Facts
    from orchestrator.targets.base import Target
    from orchestrator.verify.base import SmokeBenchmark, Subject
    from orchestrator.verify.baseline import Baseline
    from orchestrator.verify.result import Measurement, Verification

KINDS = ("command", "katago", "onnxruntime")
DEFAULT_PATIENCE = Patience()


def _unheard(_said: str) -> None:
    """For callers that do not listen."""


def verify(
    target: Target,
    subject: Subject,
    baseline: Baseline | None,
    *,
    conditions: Callable[[], Facts] | None = None,
    announce: Callable[[str], None] = _unheard,
    patience: Patience = DEFAULT_PATIENCE,
) -> Verification:
    """The verdict of a release that lies on a host, from running it there.

    What does not load, answers wrong or holds too much memory fails at once. One that may be too
    slow is measured again until that is sure; `announce` hears why. `conditions` (usually
    `conditions.on_host`) reads the host's load, temperatures and throttling after a slow
    measurement: in bad ones it does not count, and when they stay the verdict is inconclusive.
    Raises UnreachableError when the connection breaks.
    """
    return Series(
        measure=lambda: measure(target, subject),
        spec=subject.verify,
        max_error=max_error(subject.verify, kind=subject.engine.kind, precision=subject.precision),
        baseline=baseline,
        conditions=conditions,
        announce=announce,
        patience=patience,
    ).run()


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
