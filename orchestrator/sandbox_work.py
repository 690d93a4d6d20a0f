"""What one rendering of the operator's Jinja may cost, told before the work is done.

A unit is about a character that is made. Every text, list and loop takes its units from the
rendering's allowance, so that what would run for hours or fill the memory ends with an error.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Mapping
from collections.abc import Set as AbstractSet
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any

from jinja2.exceptions import SecurityError
from jinja2.utils import Namespace

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

ALLOWANCE = 20_000_000
MAX_SIZE = 1_000_000  # of one value
ELEMENT = 20  # units of one step of a loop, or one element of a list
MAX_BITS = 4096  # of one integer

# Filters and methods whose numbers say how much is made: once, or for each line.
WIDTHS = frozenset({"batch", "center", "ljust", "rjust", "round", "slice", "zfill"})
INDENTS = frozenset({"indent", "tojson"})
_PERCENT = re.compile(r"%(?:\([^()%]*\))?[-+ #0]*(\d+|\*)?(?:\.(\d+|\*))?")
_BRACES = re.compile(r"\{[^{}:]*:([^{}]*)([{}])")


class _Allowance:
    __slots__ = ("left",)

    def __init__(self) -> None:
        self.left = ALLOWANCE


_CURRENT: ContextVar[_Allowance | None] = ContextVar("allowance", default=None)


@contextlib.contextmanager
def allowance() -> Iterator[None]:
    """Everything inside this block together is held to one allowance."""
    token = _CURRENT.set(_Allowance())
    try:
        yield
    finally:
        _CURRENT.reset(token)


def spend(units: int) -> None:
    """Take units from the allowance; raises SecurityError when they are used up."""
    if units > ALLOWANCE:
        raise SecurityError("this would take too much time or memory")
    current = _CURRENT.get()
    if current is not None:
        current.left -= units
        if current.left < 0:
            raise SecurityError("the template takes too much time or memory")


def steps(values: Iterable[Any]) -> Iterator[Any]:
    """The values, each for the units of a step."""
    for value in values:
        spend(ELEMENT)
        yield value


def size(value: Any) -> int:
    """The units of a value: its characters, and its elements with all that is in them.

    Raises SecurityError for one that is too large to be printed.
    """
    total = 0
    waiting = [value]
    while waiting:
        part = waiting.pop()
        if isinstance(part, (str, bytes)):
            total += len(part)
        elif isinstance(part, Mapping):
            total += ELEMENT * len(part)
            waiting += [*part.keys(), *part.values()]
        elif isinstance(part, (list, tuple, AbstractSet)):
            total += ELEMENT * len(part)
            waiting += part
        elif isinstance(part, Namespace) and part is not value:
            raise SecurityError("a namespace inside another value")
        if total > ELEMENT * MAX_SIZE:
            raise SecurityError(f"a value of more than {MAX_SIZE} elements")
    return total


def made(value: Any) -> Any:
    """The value, paid for; raises SecurityError for a text or list that is too long."""
    if isinstance(value, (str, bytes)) and len(value) > MAX_SIZE:
        raise SecurityError(f"a text of more than {MAX_SIZE} characters")
    spend(size(value))
    return value


def joined(parts: Iterable[Any]) -> str:
    """The parts as one text, each as it prints."""
    texts = [part if isinstance(part, str) else str(made(part)) for part in parts]
    total = sum(map(len, texts))
    if total > MAX_SIZE:
        raise SecurityError(f"a text of more than {MAX_SIZE} characters")
    spend(total)
    return "".join(texts)


def pay_for(name: str, value: Any, arguments: tuple[Any, ...], named: Mapping[str, Any]) -> None:
    """Pay for a filter or a method of a text before it works on `value`.

    Raises SecurityError where what it makes is too large.
    """
    given = (*arguments, *named.values())
    numbers = [abs(n) for n in given if isinstance(n, int)]
    texts = [text for text in given if isinstance(text, str)]
    if name in WIDTHS:
        _make(size(value) + max([0, *numbers]))
    elif name in INDENTS:
        _make(max(1, size(value)) * max([1, *numbers, *map(len, texts)]))
    elif name == "replace" and len(texts) > 1:
        whole, old, new = str(value), *texts[:2]
        _make(len(whole) + whole.count(old) * len(new))
    elif name == "join":
        _make(size(value) + len(value) * max([0, *map(len, texts)]))
    elif name == "format":
        pay_for_percent(str(value), given)
    elif name == "sum":
        spend(size(value) * (len(value) if isinstance(value, (list, tuple)) else 1))
    else:
        spend(size(value))


def pay_for_percent(text: str, given: Any) -> None:
    """Pay for `text % given`."""
    fields = _PERCENT.findall(text)
    _make_fields(text, [word for field in fields for word in field if word], len(fields), given)


def pay_for_braces(text: str, given: Any) -> None:
    """Pay for `text.format(given)`."""
    specs = _BRACES.findall(text.replace("{{", ""))
    if any(end == "{" for _, end in specs):
        raise SecurityError("a format whose width is an argument")
    widths = [word for spec, _ in specs for word in re.findall(r"\d+", spec)]
    _make_fields(text, widths, text.count("{"), given)


def _make_fields(text: str, widths: list[str], fields: int, given: Any) -> None:
    if "*" in widths:
        raise SecurityError("a format whose width is an argument")
    wide = sum(int(word) if len(word) < len(str(ALLOWANCE)) else ALLOWANCE for word in widths)
    _make(len(text) + wide + fields * size(given))


def _make(units: int) -> None:
    if units > MAX_SIZE:
        raise SecurityError(f"more than {MAX_SIZE} characters are made at once")
    spend(units)
