"""Where the operator's Jinja runs: conditions in orchestrate.yml and config templates.

A typo is an error and never an empty string; the values that a template is handed cannot be
changed by it; what would run for hours or fill the memory ends with an error.
"""

from __future__ import annotations

import dataclasses
import functools
from collections.abc import Mapping, Sized
from typing import TYPE_CHECKING, Any

from jinja2 import StrictUndefined, UndefinedError, nodes
from jinja2.compiler import CodeGenerator
from jinja2.exceptions import SecurityError
from jinja2.sandbox import MAX_RANGE, ImmutableSandboxedEnvironment
from jinja2.utils import Namespace, missing

from orchestrator import sandbox_work as work
from orchestrator.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from jinja2 import TemplateRuntimeError
    from jinja2.compiler import Frame
    from jinja2.runtime import Context

# Methods that make much out of little, and that no config needs.
USELESS = frozenset({"expandtabs", "maketrans", "to_bytes", "translate"})


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


class _PayingCode(CodeGenerator):
    """Python for a template whose texts, lists and loops are paid for (see `sandbox_work`)."""

    def visit_Concat(self, node: nodes.Concat, frame: Frame) -> None:  # noqa: N802 - Jinja's name
        self.write("environment.concat((")
        for part in node.nodes:
            self.visit(part, frame)
            self.write(", ")
        self.write("))")

    def visit_List(self, node: nodes.List, frame: Frame) -> None:  # noqa: N802
        self._paid(super().visit_List, node, frame)

    def visit_Dict(self, node: nodes.Dict, frame: Frame) -> None:  # noqa: N802
        self._paid(super().visit_Dict, node, frame)

    def visit_Tuple(self, node: nodes.Tuple, frame: Frame) -> None:  # noqa: N802
        if node.ctx == "load":
            self._paid(super().visit_Tuple, node, frame)
        else:
            super().visit_Tuple(node, frame)

    def _paid(self, visit: Callable[[Any, Frame], None], node: nodes.Node, frame: Frame) -> None:
        self.write("environment.made(")
        visit(node, frame)
        self.write(")")


class Sandbox(ImmutableSandboxedEnvironment):
    """A Jinja environment for the operator's own text."""

    intercepted_binops = frozenset({"+", "*", "**", "%"})
    code_generator_class = _PayingCode
    concat = staticmethod(work.joined)
    made = staticmethod(work.made)

    def __init__(self, **options: Any) -> None:
        super().__init__(undefined=Missing, **options)
        # `tojson` of what is undefined says so: its text is the error.
        self.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": str}
        del self.globals["lipsum"]
        self.filters = {name: _paying(name, work_of) for name, work_of in self.filters.items()}

    def _parse(self, source: str, name: str | None, filename: str | None) -> nodes.Template:
        """The tree, in which every loop goes over values that are paid for."""
        tree = super()._parse(source, name, filename)
        for loop in tree.find_all(nodes.For):
            steps = nodes.EnvironmentAttribute("steps", lineno=loop.lineno)
            loop.iter = nodes.Call(steps, [loop.iter], [], None, None, lineno=loop.lineno)
        return tree

    def steps(self, values: Iterable[Any]) -> Iterator[Any]:
        """The values of a loop."""
        return work.steps(iter(values))

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """See SandboxedEnvironment."""
        return attr not in USELESS and super().is_safe_attribute(obj, attr, value)

    def call_binop(self, context: Context, operator: str, left: Any, right: Any) -> Any:
        """The result; raises SecurityError where it would not fit in memory."""
        if isinstance(left, int) and isinstance(right, int):
            if operator == "**" and left.bit_length() * right > work.MAX_BITS:
                raise SecurityError(f"a power of more than {work.MAX_BITS} bits")
            if operator == "*" and left.bit_length() + right.bit_length() > work.MAX_BITS:
                raise SecurityError(f"a product of more than {work.MAX_BITS} bits")
            return super().call_binop(context, operator, left, right)
        for sized, times in ((left, right), (right, left)):
            repeats = operator == "*" and isinstance(sized, Sized) and isinstance(times, int)
            if repeats and work.size(sized) * times > work.MAX_SIZE:
                raise SecurityError(f"a product of more than {work.MAX_SIZE} elements")
        if operator == "%" and isinstance(left, str):
            work.pay_for_percent(left, right)
        return work.made(super().call_binop(context, operator, left, right))

    def call(self, context: Context, called: Any, /, *arguments: Any, **named: Any) -> Any:
        """What is called returns; the methods of a text are paid for before."""
        owner = getattr(called, "__self__", None)
        if isinstance(owner, (str, bytes)):
            if called.__name__ == "join" and arguments:
                arguments = (list(work.steps(arguments[0])),)
                work.pay_for("join", arguments[0], (owner,), {})
            elif called.__name__ != "format":
                work.pay_for(called.__name__, owner, arguments, named)
        result = super().call(context, called, *arguments, **named)
        if isinstance(result, Namespace):
            work.spend(work.size([*arguments, *named.values()]))
        return work.made(result)

    def wrap_str_format(self, value: Any) -> Callable[..., str] | None:
        """See SandboxedEnvironment; the text is paid for before it is made."""
        formatted = super().wrap_str_format(value)
        if formatted is None:
            return None

        def paying(*arguments: Any, **named: Any) -> str:
            work.pay_for_braces(value.__self__, (*arguments, *named.values()))
            return formatted(*arguments, **named)

        return paying


def _paying(name: str, work_of: Callable[..., Any]) -> Callable[..., Any]:
    """The filter, paid for; Jinja hands its context to some as the first argument."""
    first = 1 if hasattr(work_of, "jinja_pass_arg") else 0

    @functools.wraps(work_of)
    def paid(*arguments: Any, **named: Any) -> Any:
        given = list(arguments)
        if name in {"join", "sum"} and not isinstance(given[first], (Sized, Missing)):
            given[first] = list(work.steps(given[first]))
        work.pay_for(name, given[first], tuple(given[first + 1 :]), named)
        return work.made(work_of(*given, **named))

    return paid


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
