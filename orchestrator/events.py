"""What the core says while it works; console, JSON lines, history and web subscribe.

The core knows no subscriber. Events are small frozen values, safe to hand between threads and
processes. Times are seconds since the epoch, UTC.
"""

from __future__ import annotations

import re
import threading
import time
from dataclasses import dataclass, field, fields
from typing import TYPE_CHECKING, Any, Literal, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """One thing that happened in a run."""

    run: str
    time: float = field(default_factory=time.time)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunStarted(Event):
    """A command set out to work on hosts.

    `request` is what was asked of it, enough to ask again: see `cli/resume.py`.
    """

    command: str
    hosts: tuple[str, ...]
    user: str
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFinished(Event):
    """Every host of the run has an outcome."""

    outcome: str
    exit_code: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StateEntered(Event):
    """A host is about to do `state`; published before the state is acted on."""

    host: str
    state: str
    release: str | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Progress(Event):
    """`done` of `total` bytes of `what` are on the host."""

    host: str
    what: str
    done: int
    total: int


@dataclass(frozen=True, slots=True, kw_only=True)
class HostFinished(Event):
    """A host's outcome, in the words of `deploy --json`."""

    host: str
    outcome: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchStarted(Event):
    """The hosts of a batch may be begun: number `batch` of `batches`, counted from 1."""

    kind: Literal["canary", "batch"]
    batch: int
    batches: int
    hosts: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class RolloutAborted(Event):
    """No further host is begun, and why."""

    reason: str
    not_begun: tuple[str, ...]


def as_dict(event: Event) -> dict[str, Any]:
    """The event in the words of `--json-lines`: its name, `time`, `run`, then what it tells."""
    told = {part.name: getattr(event, part.name) for part in fields(event)}
    return {"event": name(event), "time": told.pop("time"), "run": told.pop("run"), **told}


def name(event: Event) -> str:
    """The event's name in documents: `state_entered` for a StateEntered."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", type(event).__name__).lower()


class Subscriber(Protocol):
    """Anything that wants to hear events."""

    def on_event(self, event: Event) -> None:
        """Take one event; called from any thread, never two at a time."""


class EventBus:
    """Hands each event to every subscriber, one event at a time."""

    def __init__(self, subscribers: Iterable[Subscriber] = ()) -> None:
        self._subscribers = tuple(subscribers)
        self._lock = threading.Lock()

    def publish(self, event: Event) -> None:
        """Deliver `event` to all subscribers before returning."""
        with self._lock:
            for subscriber in self._subscribers:
                subscriber.on_event(event)
