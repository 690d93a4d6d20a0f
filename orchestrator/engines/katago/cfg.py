"""KataGo's config dialect: `key = value` lines with `#` comments.

Read from KataGo's cpp/core/config_parser.cpp and checked against KataGo 1.18.1: keys are ASCII
letters, digits, `_` and `-`; a value may stand in double quotes with backslash escapes; a line
may end in CR LF; a key twice in one file, a key without a value and any other line are fatal.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.engines.base import ConfigProblem

if TYPE_CHECKING:
    from collections.abc import Mapping

WHITESPACE = " \t\r\n\v\f"
_KEY = re.compile(r"[A-Za-z0-9_-]+")
_SAFE = re.compile(r"[A-Za-z0-9_./:+-]+")
_PAIR = re.compile(r"(?P<key>[A-Za-z0-9_-]+)[ \t\r\v\f]*=[ \t\r\v\f]*(?P<rest>.*)", re.DOTALL)
_QUOTED = re.compile(r'"(?P<text>(?:[^"\\]|\\.)*)"[ \t\r\v\f]*(?:#.*)?', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Setting:
    """One `key = value`; `line` counts from 1."""

    line: int
    key: str
    value: str


def parse(text: str) -> tuple[dict[str, Setting], list[ConfigProblem]]:
    """The settings by key, the first of each, and every line that KataGo would stop at."""
    settings: dict[str, Setting] = {}
    problems: list[ConfigProblem] = []
    for number, raw in enumerate(text.split("\n"), start=1):
        line = raw.strip(WHITESPACE)
        if not line or line.startswith("#"):
            continue
        key, value, reason = _pair(line)
        if not reason and key in settings:
            reason = f"is there twice, first in line {settings[key].line}"
        if reason:
            problems.append(ConfigProblem(number, key, reason))
        else:
            settings[key] = Setting(number, key, value)
    return settings, problems


def render(settings: Mapping[str, object]) -> str:
    """The text of a config that holds the settings, which `parse` gives back as strings.

    Raises ValueError for what the dialect cannot say.
    """
    return "".join(f"{key} = {_value(key, value)}\n" for key, value in settings.items())


def plain(value: object) -> str:
    """A value as KataGo writes it: `true` and `false` for Python's."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _value(key: str, value: object) -> str:
    text = plain(value)
    if not _KEY.fullmatch(key):
        raise ValueError(f"{key!r} is no key")
    if not text or not text.isprintable():
        raise ValueError(f"{key}: {text!r} is no value")
    if _SAFE.fullmatch(text):
        return text
    return '"' + re.sub(r'(["\\])', r"\\\1", text) + '"'


def _pair(line: str) -> tuple[str, str, str]:
    """Key, value and what is wrong with the line."""
    if line.startswith("@"):
        return "", "", "@include is not allowed: a release carries one config file"
    match = _PAIR.fullmatch(line)
    if match is None:
        return "", "", f"is not `key = value`: {line[:60]}"
    key, rest = match["key"], match["rest"]
    if rest.startswith('"'):
        quoted = _QUOTED.fullmatch(rest)
        if quoted is None:
            return key, "", "has a quote that is not closed, or text after it"
        value = _ESCAPED.sub(r"\1", quoted["text"])
    else:
        value = rest.split("#", 1)[0].strip(WHITESPACE)
    return key, value, "" if value else "has no value"
