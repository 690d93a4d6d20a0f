"""The smoke benchmark of engine kind `command`: the operator's own check.

It runs in the release's folder with `$MODEL`, `$CONFIG` and `$GOLDEN`, and prints as its last JSON
object `{"ok": true, "metrics": {"evals_per_s": 12.5}}`, or `{"ok": false, "reason": "..."}`.
"""

from __future__ import annotations

import math
from shlex import quote
from typing import TYPE_CHECKING, Any

from orchestrator.verify.program import ask
from orchestrator.verify.result import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.targets.base import Target
    from orchestrator.verify.base import Subject


def smoke(target: Target, subject: Subject) -> Measurement:
    """See SmokeBenchmark."""
    answer = ask(target, subject, command(subject))
    failure = answer.failure and f"`{subject.verify.command}`: {answer.failure}"
    if failure:
        return Measurement(failure=failure, detail=answer.detail)
    metrics, failure = read(answer.document)
    return Measurement(metrics, failure, answer.detail)


def command(subject: Subject) -> str:
    """The check with the release's files in its environment."""
    given = {"MODEL": subject.model, "CONFIG": subject.config, "GOLDEN": subject.golden}
    words = " ".join(f"{name}={quote(value)}" for name, value in given.items())
    return f"env {words} sh -c {quote(subject.verify.command)}"


def read(document: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """Metrics and failure of what the check printed."""
    metrics = document.get("metrics", {})
    if not isinstance(metrics, dict):
        return {}, "the check's `metrics` is no object"
    odd = [name for name, value in metrics.items() if not _is_number(value)]
    if odd:
        return {}, f"the check's metric {odd[0]} is no finite number"
    numbers = {name: float(value) for name, value in metrics.items()}
    ok = document.get("ok")
    if ok is True:
        return numbers, ""
    if ok is False:
        reason = " ".join(str(document.get("reason") or "").split())
        return numbers, reason or "the check says no, without a reason"
    return numbers, 'the check printed neither "ok": true nor "ok": false'


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)
