"""Why a KataGo ended, out of what it wrote last."""

from __future__ import annotations

import re

from orchestrator.last_words import exit_line, killed_by, one_line

# An exception that nobody caught, or the parser of its command line.
_FATAL = re.compile(r"what\(\):\s*(.+)|(PARSE ERROR:.+)")
_LOGGED = re.compile(r"(Error:.+)")  # may be the answer to a query, long ago


def cause(exit_status: int, text: str) -> str:
    """One line: the engine's own message where `text`, its stderr, has one; else how it ended."""
    fatal = _FATAL.findall(text)
    if fatal:
        return one_line(" ".join(fatal[-1]))
    logged = _LOGGED.findall(text)
    if logged and not killed_by(exit_status):
        return one_line(logged[-1])
    return exit_line(exit_status, text)
