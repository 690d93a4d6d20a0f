"""Which line of a template a rendered line comes from.

Jinja tells the line of an error but not of what it rendered. So a template is rendered a second
time with a mark in front of each line of its text, `NUL name:line NUL`, and the marks are read
back from the result.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from jinja2.ext import Extension
from jinja2.lexer import Token

if TYPE_CHECKING:
    from collections.abc import Iterator

    from jinja2.lexer import TokenStream

_MARK = re.compile("\0[^\0]*\0")
_PIECE = re.compile("\0([^\0]*)\0([^\0]*)")


class LineMarks(Extension):
    """Marks every line of a template's own text, and every value put into it."""

    def filter_stream(self, stream: TokenStream) -> Iterator[Token]:
        """The tokens of a template with marks in its text."""
        name = stream.name or ""
        for token in stream:
            if token.type == "data":
                lines = enumerate(token.value.split("\n"), token.lineno)
                marked = "\n".join(_mark(name, number) + line for number, line in lines)
                yield Token(token.lineno, "data", marked)
                continue
            if token.type == "variable_begin":
                yield Token(token.lineno, "data", _mark(name, token.lineno))
            yield token


def unmark(marked: str) -> tuple[str, tuple[str, ...]]:
    """The text without marks, and for each of its lines `name:line` or an empty word."""
    places = []
    place = ""
    for line in marked.splitlines():
        before, *marks = _PIECE.split(line)[0], *_PIECE.findall(line)
        found = place if before.strip() else ""
        for place, text in marks:
            found = found or (place if text.strip() else "")
        places.append(found or place)
    return _MARK.sub("", marked), tuple(places)


def _mark(name: str, line: int) -> str:
    return f"\0{name}:{line}\0"
