"""Programs that are run in a release's folder and print one JSON object."""

from __future__ import annotations

import json
import signal
from dataclasses import dataclass, field
from shlex import quote
from typing import TYPE_CHECKING, Any

from orchestrator.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.targets.base import Completed, Target
    from orchestrator.verify.base import Subject

DETAIL_CHARACTERS = 2000
TIMED_OUT = 124  # the exit status of coreutils' timeout


@dataclass(frozen=True, slots=True)
class Answer:
    """The JSON object that was printed last, or why there is none."""

    document: Mapping[str, Any] = field(default_factory=dict)
    failure: str = ""
    detail: str = ""


def ask(target: Target, subject: Subject, line: str, *, stdin: bytes = b"") -> Answer:
    """Run an sh command line in the release's folder, within the profile's timeout.

    Raises UnreachableError when the connection breaks.
    """
    timeout = subject.verify.timeout
    try:
        completed = target.run(
            f"cd {quote(subject.folder)} && {line}", stdin=stdin, timeout=timeout
        )
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
    for line in reversed(text.splitlines()):
        try:
            document = json.loads(line)
        except ValueError:
            continue
        if isinstance(document, dict):
            return document
    return None


def _why(completed: Completed, timeout: float) -> str:
    """`exit 1: ImportError: ...`, or what ended it from outside."""
    status = completed.exit_status
    if status == TIMED_OUT:
        return f"no answer within {timeout:g} s"
    number = -status if status < 0 else status - 128
    if number in set(signal.Signals):
        name = signal.Signals(number).name
        memory = " (out of memory?)" if number == signal.SIGKILL else ""
        return f"killed by {name}{memory}"
    said = (completed.stderr.strip() or completed.stdout.strip()).splitlines()[-1:]
    return f"exit {status}" + (f": {said[0][:300]}" if said else "")
