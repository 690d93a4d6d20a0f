"""What probe.sh printed, taken apart into files and values."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Mapping

_BEGIN = "@orchestrate-probe 1"
_VALUES = "@values"
_END = "@orchestrate-probe end"
_HEADER = re.compile(r"==> (.+) <==$")
_VALUE = re.compile(r"([a-z][a-z0-9_]*)=(.*)$")


@dataclass(frozen=True, slots=True)
class ProbeOutput:
    """`files` by their path on the host; `values` has a list of lines for each key."""

    files: Mapping[str, str]
    values: Mapping[str, tuple[str, ...]]

    def file(self, path: str) -> str:
        """The text of a file, empty when the host has none."""
        return self.files.get(path, "")

    def first(self, key: str) -> str:
        """The first line under a key, empty when there is none."""
        return next(iter(self.values.get(key, ())), "")

    def words(self, key: str, count: int) -> tuple[str, ...]:
        """The first `count` words under a key; missing ones are empty."""
        found = self.first(key).split()[:count]
        return (*found, *[""] * (count - len(found)))

    def lines(self, key: str) -> tuple[str, ...]:
        """Every line under a key."""
        return self.values.get(key, ())


def read(text: str) -> ProbeOutput:
    """Files and values between the probe's two marker lines, whatever stands around them.

    Raises CommandError when the markers are missing: foreign text, or output that was cut off.
    """
    lines = [line.rstrip("\r") for line in text.split("\n")]
    begin = _index(lines, _BEGIN, 0)
    if begin is None:
        raise CommandError(
            "the host did not answer with the probe's output",
            hint=f"Does its login shell run commands? It said: {_gist(lines)}",
            code="probe_failed",
        )
    end = _index(lines, _END, begin)
    values = _index(lines, _VALUES, begin)
    if end is None or values is None or values > end:
        raise CommandError(
            "the probe's output was cut off",
            hint="The connection or the probe was stopped half-way; try again.",
            code="probe_failed",
        )
    found = _values(lines[values + 1 : end])
    root = next(iter(found.get("sysroot", ())), "")
    return ProbeOutput(_files(lines[begin + 1 : values], root), found)


def _index(lines: list[str], marker: str, start: int) -> int | None:
    for number in range(start, len(lines)):
        if lines[number] == marker:
            return number
    return None


def _files(lines: list[str], root: str) -> dict[str, str]:
    files: dict[str, list[str]] = {}
    content: list[str] = []
    for line in lines:
        header = _HEADER.match(line)
        if header:
            content = files.setdefault(header[1].removeprefix(root), [])
        else:
            content.append(line)
    return {path: "\n".join(content) for path, content in files.items()}


def _values(lines: list[str]) -> dict[str, tuple[str, ...]]:
    values: dict[str, list[str]] = {}
    for line in lines:
        value = _VALUE.match(line)
        if value and value[1] == "python_report":
            value = _VALUE.match(value[2])
        if value:
            values.setdefault(value[1], []).append(value[2])
    return {key: tuple(found) for key, found in values.items()}


def _gist(lines: list[str]) -> str:
    said = next((line.strip() for line in lines if line.strip()), "nothing")
    return said[:80]
