"""The smoke benchmark of ONNX nets: a program is sent along and run by the host's own Python."""

from __future__ import annotations

from importlib.resources import files
from shlex import quote
from typing import TYPE_CHECKING

from orchestrator.engines.onnxruntime import NO_TELEMETRY
from orchestrator.last_words import one_line
from orchestrator.verify.program import DETAIL_CHARACTERS, ask, numbers
from orchestrator.verify.result import Measurement

if TYPE_CHECKING:
    from orchestrator.targets.base import Target
    from orchestrator.verify.base import Subject

PROGRAM = "onnxruntime_smoke.py"


def smoke(target: Target, subject: Subject) -> Measurement:
    """See SmokeBenchmark."""
    program = files(__package__).joinpath(PROGRAM).read_bytes()
    answer = ask(target, subject, command(subject), stdin=program)
    if answer.failure:
        return Measurement(failure=f"the smoke benchmark: {answer.failure}", detail=answer.detail)
    match answer.document:
        case {"metrics": dict(metrics), "failure": str(failure), "detail": str(detail)}:
            measured, odd = numbers(metrics)
            reason = one_line(failure) or (odd and f"the smoke benchmark's {odd}")
            return Measurement(measured, reason, detail[-DETAIL_CHARACTERS:])
    return Measurement(failure="the smoke benchmark: printed another object", detail=answer.detail)


def command(subject: Subject) -> str:
    """The command line that reads the program from stdin."""
    words = [subject.engine.path, "-", "--model", subject.model, "--config", subject.config]
    if subject.golden:
        words += ["--golden", subject.golden]
    return " ".join([NO_TELEMETRY, *map(quote, words)])
