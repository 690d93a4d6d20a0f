"""The smoke benchmark of engine kind `command`: the operator's own check.

It runs in the release's folder with `$MODEL`, `$CONFIG` and `$GOLDEN`, and prints as its last JSON
object `{"ok": true, "metrics": {"evals_per_s": 12.5}}`, or `{"ok": false, "reason": "..."}`.
"""

from __future__ import annotations

from shlex import quote
from typing import TYPE_CHECKING, Any

from orchestrator.last_words import one_line
from orchestrator.verify.program import ask, numbers
from orchestrator.verify.result import Measurement

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.targets.base import Target
    from orchestrator.verify.base import Subject


def smoke(target: Target, subject: Subject) -> Measurement:
    """See SmokeBenchmark."""
    answer = ask(target, subject, command(subject))
    failure = answer.failure and f"`{one_line(subject.verify.command)}`: {answer.failure}"
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
    measured, odd = numbers(metrics)
    if odd:
        return {}, f"the check's {odd}"
    ok = document.get("ok")
    if ok is True:
        return measured, ""
    if ok is False:
        reason = document.get("reason")
        said = one_line(reason) if isinstance(reason, str) else ""
        return measured, said or "the check says no, without a reason"
    return measured, 'the check printed neither "ok": true nor "ok": false'
