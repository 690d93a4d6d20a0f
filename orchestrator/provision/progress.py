"""What the events of ansible-runner mean: steps to show, and what became of each host. Pure.

An event is a mapping as ansible-runner hands it out: `event` is its name, `event_data` has `host`,
`role`, `task`, `task_action` and the task's result, `res`
(https://ansible.readthedocs.io/projects/runner/en/latest/intro/#runner-artifact-job-events-host-and-playbook-events).

The playbooks speak by tasks of `debug`: one that changes nothing is advice, one that is `changed`
is a change that --check predicts.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.provision.outcome import Change

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

LONGEST = 300  # characters of a cause
LONGEST_DIFF = 400  # lines
# Actions by their name without a collection.
_DEBUG = frozenset({"debug"})
_DO_NOTHING_THERE = _DEBUG | {
    *("set_fact", "assert", "fail", "meta", "validate_argument_spec"),
    *("include_role", "include_tasks", "import_role", "import_tasks"),
}
_SAYS_NOTHING = re.compile(
    r"(non-zero return code|one or more items failed|all items (completed|skipped).*|"
    r"module failure.*|task failed|module result deserialization failed.*)?\.?",
    re.IGNORECASE | re.DOTALL,
)
_PREFIX = re.compile(
    r"^(Task failed: |Module failed: |Action failed: |'\S*apt-get .*' failed: |"
    r"ERROR: |fatal: |E: )+"
)
_NO_CONNECTION = "Failed to connect to the host via ssh: "
_HUNG_UP = re.compile(r"(Shared c|C)onnection to \S+ closed\.")
_COMPLAINT = re.compile(r"error|^E: ", re.IGNORECASE)
_ESCAPES = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")
_ERROR = re.compile(r"^(?:\[ERROR\]: |ERROR! )(?P<cause>.+)$", re.MULTILINE)
_HIDDEN = "what it said is hidden (no_log)"


@dataclass(frozen=True, slots=True)
class Step:
    """A task that a host is about to do; `role` is empty outside of roles."""

    host: str
    role: str
    task: str

    def __str__(self) -> str:
        """`katago: Fetch the engine`."""
        return ": ".join(part for part in (self.role, self.task) if part)


@dataclass(frozen=True, slots=True)
class Failure:
    """The task in which a host failed, or was lost, and why."""

    role: str
    task: str
    cause: str

    def __str__(self) -> str:
        """`katago: Fetch the engine: wrong sha256`, as one line."""
        return ": ".join(part for part in (self.role, self.task, self.cause) if part)


@dataclass(slots=True)
class Told:
    """What Ansible told of one host so far. `done` when it came to the end of the playbook."""

    changed: list[Change] = field(default_factory=list)
    advice: list[str] = field(default_factory=list)
    failure: Failure | None = None
    unreachable: Failure | None = None
    last: Step | None = None
    done: bool = False


class Progress:
    """Takes the events of one run, in order; `hosts` is what became of each host."""

    def __init__(self, hosts: Iterable[str]) -> None:
        self.hosts = {name: Told() for name in hosts}
        self.error = ""

    def take(self, event: Mapping[str, Any]) -> Iterator[Step]:
        """Take one event in; what is to be shown of it."""
        data = event.get("event_data") or {}
        match event.get("event"):
            case "runner_on_start":
                yield from self._start(data)
            case "runner_on_ok":
                self._ok(data)
            case "runner_on_failed" if not data.get("ignore_errors"):
                self._of(data).failure = _failure(data)
            case "runner_on_unreachable":
                self._of(data).unreachable = _failure(data)
            case "playbook_on_stats":
                self._stats(data)
            case "error" | "verbose":
                self._say(str(event.get("stdout") or ""))

    def _of(self, data: Mapping[str, Any]) -> Told:
        return self.hosts.setdefault(str(data.get("host")), Told())

    def _start(self, data: Mapping[str, Any]) -> Iterator[Step]:
        if _action(data) in _DO_NOTHING_THERE:
            return
        step = Step(str(data["host"]), str(data.get("role") or ""), _line(data.get("task")))
        self._of(data).last = step
        yield step

    def _ok(self, data: Mapping[str, Any]) -> None:
        told, result = self._of(data), data.get("res") or {}
        says = _action(data) in _DEBUG
        if result.get("changed"):
            task = _line(result.get("msg")) if says else _line(data.get("task"))
            told.changed.append(Change(str(data.get("role") or ""), task, diff_of(result)))
        elif says:
            for each in result.get("results") or [result]:
                advice = "" if each.get("skipped") else _line(each.get("msg"))
                if advice and advice not in told.advice:
                    told.advice.append(advice)

    def _stats(self, data: Mapping[str, Any]) -> None:
        failures, dark = data.get("failures") or {}, data.get("dark") or {}
        for name, told in self.hosts.items():
            told.done = name in (data.get("processed") or {})
            if not failures.get(name):
                told.failure = None  # a rescue took care of it
            if not dark.get(name):
                told.unreachable = None

    def _say(self, text: str) -> None:
        found = _ERROR.search(_ESCAPES.sub("", text).replace("\r", ""))
        if found and not self.error:
            self.error = _short(found["cause"])


def cause_of(result: Mapping[str, Any]) -> str:
    """Why a task failed, as one line: what says most of its message, items and output."""
    if "censored" in result:
        return _HIDDEN
    for item in result.get("results") or []:
        if isinstance(item, dict) and item.get("failed"):
            label = item.get("item")
            cause = cause_of(item)
            return f"{_line(label)}: {cause}" if isinstance(label, (str, int)) else cause
    message = str(result.get("msg") or result.get("reason") or "")
    if _NO_CONNECTION in message:
        return _short(f"no connection: {message.strip().splitlines()[-1].rpartition('ssh: ')[2]}")
    if not _SAYS_NOTHING.fullmatch(message.strip()):
        return _short(message)
    for source in ("stderr", "module_stderr", "stdout", "module_stdout"):
        said = map(str.strip, str(result.get(source) or "").splitlines())
        lines = [line for line in said if line and not _HUNG_UP.fullmatch(line)]
        if lines:
            return _short(next(filter(_COMPLAINT.search, reversed(lines)), lines[-1]))
    status = result.get("rc")
    return f"it ended with status {status}" if status is not None else "it gave no reason"


def diff_of(result: Mapping[str, Any]) -> str:
    """What `--diff` shows of a task's result, as unified diffs; empty where there is none."""
    given = result.get("diff")
    each_diff = given if isinstance(given, list) else [given]
    return _harmless("".join(_diff(each) for each in each_diff if isinstance(each, dict)))


def _diff(given: Mapping[str, Any]) -> str:
    if "prepared" in given:
        return str(given["prepared"])
    before, after = (_lines(given.get(key)) for key in ("before", "after"))
    old, new = (str(given.get(f"{side}_header") or side) for side in ("before", "after"))
    lines = list(difflib.unified_diff(before, after, old, new))
    more = (
        [f"... and {len(lines) - LONGEST_DIFF} more lines\n"] if len(lines) > LONGEST_DIFF else []
    )
    return "".join(lines[:LONGEST_DIFF] + more)


def _lines(value: Any) -> list[str]:
    """A side of a diff as lines; of a mapping, such as a file's attributes, one line a key."""
    if isinstance(value, dict):
        return [f"{key}: {each}\n" for key, each in sorted(value.items())]
    return [line + "\n" for line in str(value or "").splitlines()]


def _action(data: Mapping[str, Any]) -> str:
    return str(data.get("task_action")).rpartition(".")[2]


def _failure(data: Mapping[str, Any]) -> Failure:
    role, task = str(data.get("role") or ""), _line(data.get("task"))
    return Failure(role, task, cause_of(data.get("res") or {}))


def _short(text: str) -> str:
    told = _PREFIX.sub("", _line(text))
    return told if len(told) <= LONGEST else told[: LONGEST - 1] + "…"


def _line(value: Any) -> str:
    """A text on one line, without what would do something to a terminal."""
    if isinstance(value, list):
        value = " ".join(str(each) for each in value)
    return _harmless(" ".join(str(value or "").split()))


def _harmless(text: str) -> str:
    """A text without what would do something to a terminal, but for tabs and ends of lines."""
    return "".join(c if c.isprintable() or c in "\t\n" else "?" for c in _ESCAPES.sub("", text))
