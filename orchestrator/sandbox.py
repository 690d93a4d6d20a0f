"""Where the operator's Jinja runs: conditions in orchestrate.yml and config templates.

A typo is an error and never an empty string; the values that a template is handed cannot be
changed by it; a loop or a product that would run for hours ends with an error.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, UndefinedError
from jinja2.exceptions import SecurityError
from jinja2.sandbox import MAX_RANGE, ImmutableSandboxedEnvironment
from jinja2.utils import missing

from orchestrator.spelling import nearest

if TYPE_CHECKING:
    from jinja2 import TemplateRuntimeError
    from jinja2.runtime import Context

MAX_PRODUCT = 1_000_000
MAX_POWER_BITS = 4096


class Missing(StrictUndefined):
    """An undefined value whose error names what was meant: `facts.bord` is near `board`."""

    __slots__ = ()

    def __init__(
        self,
        hint: str | None = None,
        obj: Any = missing,
        name: str | None = None,
        exc: type[TemplateRuntimeError] = UndefinedError,
    ) -> None:
        if hint is None and obj is not missing:
            hint = _missing(obj, name)
        super().__init__(hint, obj, name, exc)


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for the operator's own text."""

    intercepted_binops = frozenset({"*", "**"})

    def __init__(self, **options: Any) -> None:
        super().__init__(undefined=Missing, **options)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The product or power; raises SecurityError where the result would not fit in memory."""
        power = operator == "**" and isinstance(left, int) and isinstance(right, int)
        if power and left.bit_length() * right > MAX_POWER_BITS:
            raise SecurityError(f"a power of more than {MAX_POWER_BITS} bits")
        for sized, times in ((left, right), (right, left)):
            repeats = isinstance(sized, Sized) and isinstance(times, int)
            if repeats and len(sized) * times > MAX_PRODUCT:
                raise SecurityError(f"a product of more than {MAX_PRODUCT} elements")
        return super().call_binop(context, operator, left, right)


class Steps:
    """The `range` of one rendering: all its loops together take at most `limit` steps."""

    def __init__(self, limit: int = MAX_RANGE) -> None:
        self._limit = limit
        self._left = limit

    def range(self, *bounds: int) -> range:
        """As Python's range; raises SecurityError when the steps are used up."""
        steps = range(*bounds)
        self._left -= len(steps)
        if self._left < 0:
            raise SecurityError(f"range() takes more than {self._limit} steps in one rendering")
        return steps


def _missing(obj: Any, name: Any) -> str:
    if dataclasses.is_dataclass(obj):
        what, known = type(obj).__name__.lower(), [f.name for f in dataclasses.fields(obj)]
    elif isinstance(obj, Mapping):
        what, known = "the mapping", [str(key) for key in obj]
    elif isinstance(obj, (list, tuple)):
        return f"no element {name}: the list has {len(obj)}"
    else:
        what, known = f"a {type(obj).__name__}", []
    meant = nearest(str(name), known)
    return f"{what} has no '{name}'" + (f", did you mean '{meant}'?" if meant else "")
