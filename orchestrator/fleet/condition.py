"""A profile's `when:`, a Jinja expression over `facts`, `host` and `groups`."""

from __future__ import annotations

import dataclasses
import functools
import typing
from typing import TYPE_CHECKING, Any

from jinja2 import TemplateError, TemplateSyntaxError, nodes

from orchestrator.fleet.facts import Facts
from orchestrator.fleet.host import Host
from orchestrator.sandbox import Sandbox, Steps
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

EXAMPLE = 'facts.board.kind == "jetson"'
NAMES = ("facts", "host", "groups")
_GLOBALS = ("range", "dict", "cycler", "joiner", "namespace")
_SANDBOX = Sandbox()


def holds(
    when: str, facts: Facts, host: Host, groups: Mapping[str, tuple[str, ...]]
) -> tuple[bool, str]:
    """Whether the condition holds here, and in one clause why it could not be told.

    The clause is empty when it could; `False` comes with it when it could not, as for
    `facts.gpus[0]` on a host without a GPU.
    """
    try:
        value = _compiled(when)(facts=facts, host=host, groups=groups, range=Steps().range)
        return bool(value), ""
    except (TemplateError, ArithmeticError, TypeError, ValueError) as exc:
        return False, str(exc)


def mistake(when: str) -> tuple[str, str]:
    """What is wrong with the condition on every host and what was meant; empty when nothing is.

    Found without a host: syntax, unknown names, facts that do not exist.
    """
    try:
        _compiled(when)
        tree = _SANDBOX.parse("{{" + when + "}}")
    except TemplateSyntaxError as exc:
        return f"not a Jinja expression: {exc.message}", f"Write it bare, such as {EXAMPLE}"
    for name in tree.find_all(nodes.Name):
        if name.ctx == "load" and name.name not in (*NAMES, *_GLOBALS):
            meant = did_you_mean(name.name, NAMES)
            return f"'{name.name}' is not known here", meant or f"Known are {', '.join(NAMES)}."
    for access in tree.find_all(nodes.Getattr):
        owner = _type(access.node)
        if owner is not None and access.attr not in _fields(owner):
            known = _fields(owner)
            what = owner.__name__.lower()
            return (
                f"{what} has no '{access.attr}'",
                did_you_mean(access.attr, known) or f"It has {', '.join(known)}.",
            )
    return "", ""


@functools.lru_cache(maxsize=256)
def _compiled(when: str) -> Callable[..., Any]:
    return _SANDBOX.compile_expression(when, undefined_to_none=False)


def _type(node: nodes.Node) -> type | None:
    """The dataclass an expression such as `facts.board` yields, when that is certain."""
    if isinstance(node, nodes.Name):
        return {"facts": Facts, "host": Host}.get(node.name)
    if isinstance(node, nodes.Getattr):
        owner = _type(node.node)
        return _fields(owner).get(node.attr) if owner is not None else None
    if isinstance(node, nodes.Getitem) and isinstance(node.node, nodes.Getattr):
        return _element(node.node)
    return None


def _element(node: nodes.Getattr) -> type | None:
    """The dataclass that a list such as `facts.gpus` holds."""
    owner = _type(node.node)
    if owner is None:
        return None
    arguments = typing.get_args(typing.get_type_hints(owner).get(node.attr))
    first = arguments[0] if arguments else None
    return first if isinstance(first, type) and dataclasses.is_dataclass(first) else None


@functools.lru_cache(maxsize=32)
def _fields(owner: type) -> dict[str, type | None]:
    """A dataclass's fields, each with its own dataclass or None."""
    hints = {} if owner is Host else typing.get_type_hints(owner)
    types = {f.name: hints.get(f.name) for f in dataclasses.fields(owner)}
    return {
        name: hint if isinstance(hint, type) and dataclasses.is_dataclass(hint) else None
        for name, hint in types.items()
    }
