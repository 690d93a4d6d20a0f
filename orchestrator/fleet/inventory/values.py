"""What is wrong with a variable's name or value."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from orchestrator.fleet.inventory import names
from orchestrator.fleet.window import EXAMPLE, VARIABLE, Span, WindowError

if TYPE_CHECKING:
    from collections.abc import Collection

_MODEL = re.compile(r"[A-Za-z0-9][\w.+-]*@[A-Za-z0-9][\w.+-]*")
_MAX_PORT = 65535
# Variables that take a value, or a list of such values.
LISTED = frozenset({VARIABLE})


@dataclass(frozen=True, slots=True)
class Known:
    """The models (`name@version`) and profiles that may be named; None leaves them unchecked."""

    models: Collection[str] | None = None
    profiles: Collection[str] | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What is wrong and what to do; `stops` as in Problem."""

    message: str
    hint: str
    level: Literal["error", "warning"] = "error"
    stops: bool = False


def judge(name: str, kind: str, text: str, known: Known) -> Verdict | None:
    """The verdict on a variable whose value is a `kind` (text, number, ...) written as `text`."""
    if hint := names.misspelt(name):
        return Verdict(f"unknown variable '{name}'", hint, stops=True)
    variable = names.KNOWN.get(name)
    if variable is None or kind in {"null", "encrypted"} or "{{" in text:
        return None
    return _value(variable, kind, text, known)


def _value(variable: names.Variable, kind: str, text: str, known: Known) -> Verdict | None:
    name = variable.name
    match variable.kind:
        case "port":
            return _port(name, text)
        case "password":
            message = f"'{name}' holds a password in plain text"
            hint = "Use a key, or encrypt it: ansible-vault encrypt_string."
            return Verdict(message, hint, level="warning")
        case "window":
            return _window(name, kind, text)
        case "text":
            return _text(name, kind, text, known)
    return None


def _text(name: str, kind: str, text: str, known: Known) -> Verdict | None:
    if kind != "text":
        return Verdict(f"'{name}' is a {kind}, not text", f'Put it in quotes: {name}: "{text}"')
    if name == "orchestrate_model":
        return _model(text, known.models)
    if name == "orchestrate_profile" and known.profiles is not None and text not in known.profiles:
        return Verdict(f"there is no profile '{text}'", names.suggestion(text, known.profiles))
    return None


def _port(name: str, text: str) -> Verdict | None:
    if text.isdigit() and 0 < int(text) <= _MAX_PORT:
        return None
    hint = f"Write a number from 1 to {_MAX_PORT}, such as {name}: 22."
    return Verdict(f"'{name}' is '{text}', not a port number", hint)


def _window(name: str, kind: str, text: str) -> Verdict | None:
    if kind != "text":
        return Verdict(f"'{name}' is a {kind}, not text", f'Write it as in "{EXAMPLE}".')
    try:
        Span.parse(text)
    except WindowError as exc:
        return Verdict(f"{name}: {exc}", exc.hint)
    return None


def _model(text: str, models: Collection[str] | None) -> Verdict | None:
    if not _MODEL.fullmatch(text):
        message = f"orchestrate_model is '{text}', not of the form name@version"
        return Verdict(message, "Write it as in kata-b18@v1.")
    if models is not None and text not in models:
        hint = names.suggestion(text, models) + " Or add it: orchestrate models add."
        return Verdict(f"there is no model '{text}'", hint)
    return None
