"""A release that is only too slow gets a second chance; one that is wrong does not."""

from __future__ import annotations

import pytest

from orchestrator import verify
from orchestrator.fleet.profile import EngineSpec, VerifySpec
from orchestrator.verify.base import Subject
from orchestrator.verify.baseline import Baseline
from orchestrator.verify.result import Measurement

BASELINE = Baseline("rpi4", "evals_per_s", 10.0, 0.1, 5)
SUBJECT = Subject("/r", "m", "c", "", "onnx", EngineSpec("command"), VerifySpec())


@pytest.mark.parametrize(
    ("measured", "verdict", "times"),
    [
        ([{"evals_per_s": 9.0}], "pass", 1),
        ([{"evals_per_s": 4.0}, {"evals_per_s": 9.0}], "pass", 2),
        ([{"evals_per_s": 4.0}, {"evals_per_s": 5.0}], "fail", 2),
        ([Measurement(failure="does not load")], "fail", 1),
    ],
)
def test_only_a_slow_one_is_measured_again(monkeypatch, measured, verdict, times):
    left = [m if isinstance(m, Measurement) else Measurement(m) for m in measured]
    calls = []

    def smoke(target, subject):
        calls.append(subject)
        return left.pop(0)

    monkeypatch.setattr(verify, "smoke_benchmark", lambda kind: smoke)
    assert verify.verify(None, SUBJECT, BASELINE).verdict == verdict
    assert len(calls) == times
