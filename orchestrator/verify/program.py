"""Programs that are run in a release's folder and print one JSON object."""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any

from orchestrator.errors import CommandError
from orchestrator.last_words import exit_line, one_line
from orchestrator.targets.commands import SIGN_WORK

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.targets.base import Completed, Target
    from orchestrator.verify.base import Subject

DETAIL_CHARACTERS = 2000
LINE_CHARACTERS = 100_000  # a longer line of output is no answer
NAME_CHARACTERS = 100
TIMED_OUT = 124  # the exit status of coreutils' timeout


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON object that was printed last, or why there is none."""

    document: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    detail: str = ""


def ask(target: Target, subject: Subject, line: str, *, stdin: bytes = b"") -> Answer:
    """Run an sh command line in the release's folder, within the profile's timeout.

    Without `stdin` the line is itself fed to the host's sh, so that it may hold what the login
    shell (csh, fish) would not quote as sh does: newlines, `!`, backslashes. Raises
    UnreachableError when the connection breaks.
    """
    timeout = subject.verify.timeout
    there = f"cd {quote(subject.folder)} || exit; {SIGN_WORK}{line}"
    given = (there, stdin) if stdin else ("sh -s", f"{there} </dev/null\n".encode())
    try:
        completed = target.run(given[0], stdin=given[1], timeout=timeout)
    except CommandError as exc:
        return Answer(failure=exc.message)
    detail = (completed.stdout + completed.stderr).strip()[-DETAIL_CHARACTERS:]
    if completed.exit_status:
        return Answer(failure=_why(completed, timeout), detail=detail)
    document = last_object(completed.stdout)
    if document is None:
        return Answer(failure="printed no JSON object", detail=detail)
    return Answer(document, detail=detail)


def last_object(text: str) -> Mapping[str, Any] | None:
    """The last line that is a JSON object; None without one."""
    for line in reversed(re.split(r"[\r\n]+", text)):
        if len(line) > LINE_CHARACTERS or not line.lstrip().startswith("{"):
            continue
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            continue
        if isinstance(document, dict):
            return document
    return None


def numbers(metrics: Mapping[str, Any]) -> tuple[dict[str, float], str]:
    """The metrics as finite numbers, or none and why they are none."""
    found = {}
    for name, value in metrics.items():
        if len(name) > NAME_CHARACTERS or not name.isprintable():
            return {}, f"metric name {one_line(ascii(name))} is not readable"
        number = _number(value)
        if number is None:
            return {}, f"metric {name} is no finite number"
        found[name] = number
    return found, ""


def _number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        return None
    return number if math.isfinite(number) else None


def _why(completed: Completed, timeout: float) -> str:
    """`exit 1: ImportError: ...`, or what ended it from outside."""
    status = completed.exit_status
    if status == TIMED_OUT:
        return f"no answer within {timeout:g} s"
    return exit_line(status, completed.stderr.strip() or completed.stdout)
