"""Maintenance windows: `orchestrate_window: "Mon-Fri 22:00-04:00 Europe/Berlin"`.

A window is open while a clock on the wall of its time zone shows a time within it. So one that lies
in the hour that spring takes away does not open on that day, and one in the hour that autumn gives
twice is open twice. Instants are seconds since the epoch, UTC.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError, available_timezones

from orchestrator.errors import InventoryError
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterable

VARIABLE = "orchestrate_window"
EXAMPLE = "Mon-Fri 22:00-04:00 Europe/Berlin"
DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
HOUR = 60  # minutes
DAY = 24 * HOUR
STEP = 3600.0  # seconds; zones change their offset less often than that
_SPAN = re.compile(r"(?:([A-Za-z,\s-]+?)\s+)?(\d\d?:\d\d)\s*-\s*(\d\d?:\d\d)(?:\s+(\S+))?")


class WindowError(ValueError):
    """What is wrong with a window, as a clause; `hint` says what to write."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint or f"Write it as in: {EXAMPLE}"


@dataclass(frozen=True, slots=True)
class Span:
    """One stretch of the days on which it starts: from minute `start` to before minute `end`.

    `days` count from 0, Monday. A span whose end is not after its start goes over midnight.
    """

    text: str
    zone: ZoneInfo
    days: frozenset[int]
    start: int
    end: int

    @classmethod
    def parse(cls, text: str) -> Span:
        """The span that `[DAYS] HH:MM-HH:MM ZONE` describes; raises WindowError."""
        found = _SPAN.fullmatch(text.strip())
        if found is None:
            raise WindowError(f"{text!r} is not [DAYS] HH:MM-HH:MM ZONE")
        days, start, end, zone = found.groups()
        if zone is None:
            raise WindowError(f"{text!r} names no time zone", f"Add one, as in: {EXAMPLE}")
        first, last = _minute(start), _minute(end)
        if first in {last, DAY}:
            raise WindowError(f"{text!r} is never open", "All day is 00:00-24:00.")
        return cls(text.strip(), _zone(zone), _days(days), first, last)

    def open_at(self, now: float) -> bool:
        """Whether a clock there shows a time within the span."""
        return self._holds(self._clock(now))

    def next_opening(self, now: float) -> float:
        """The first instant from `now` on at which the span is open."""
        while not self.open_at(now):
            now = math.floor(now)  # clocks change on whole seconds only
            clock = self._clock(now)
            later = now + (self._next_start(clock) - clock).total_seconds()
            change = self._offset_change(now, later)
            if change is None:
                return later
            now = change
        return now

    def _clock(self, now: float) -> datetime:
        """What a clock there shows."""
        return datetime.fromtimestamp(now, self.zone).replace(tzinfo=None, fold=0)

    def _holds(self, clock: datetime) -> bool:
        minute = clock.hour * HOUR + clock.minute
        if self.start < self.end:
            return clock.weekday() in self.days and self.start <= minute < self.end
        if minute >= self.start:
            return clock.weekday() in self.days
        return minute < self.end and (clock.weekday() - 1) % 7 in self.days

    def _next_start(self, clock: datetime) -> datetime:
        midnight = clock.replace(hour=0, minute=0, second=0, microsecond=0)
        starts = (midnight + timedelta(days=day, minutes=self.start) for day in range(8))
        return next(s for s in starts if s > clock and s.weekday() in self.days)

    def _offset_change(self, after: float, until: float) -> float | None:
        """The first instant in (after, until] from which clocks there go otherwise than before."""
        before = self._offset(after)
        low = after
        while low < until:
            high = min(low + STEP, until)
            if self._offset(high) != before:
                return self._bisect(int(low), math.ceil(high), before)
            low = high
        return None

    def _bisect(self, low: int, high: int, before: timedelta) -> float:
        while high - low > 1:
            middle = (low + high) // 2
            if self._offset(middle) == before:
                low = middle
            else:
                high = middle
        return float(high)

    def _offset(self, now: float) -> timedelta:
        offset = datetime.fromtimestamp(now, self.zone).utcoffset()
        assert offset is not None  # noqa: S101
        return offset


@dataclass(frozen=True, slots=True)
class Window:
    """When a host may be worked on: while any of the spans is open."""

    spans: tuple[Span, ...]

    @classmethod
    def parse(cls, value: Any, host: str) -> Window:
        """The window that `orchestrate_window` of `host` describes: a text, or a list of texts.

        Raises InventoryError, naming the host, with an example.
        """
        try:
            return cls(tuple(Span.parse(text) for text in texts(value)))
        except WindowError as exc:
            raise InventoryError(f"{VARIABLE} of {host}: {exc}", hint=exc.hint) from exc

    def __str__(self) -> str:
        """As it is written in the inventory, spans of a list after one another."""
        return "; ".join(span.text for span in self.spans)

    def open_at(self, now: float) -> bool:
        """Whether the host may be worked on at this instant."""
        return any(span.open_at(now) for span in self.spans)

    def next_opening(self, now: float) -> float:
        """The first instant from `now` on at which the host may be worked on."""
        return min(span.next_opening(now) for span in self.spans)

    def local(self, now: float) -> str:
        """An instant as clocks show it where the host is: `Tue 2026-03-31 02:00 Europe/Berlin`."""
        zone = self.spans[0].zone
        return f"{datetime.fromtimestamp(now, zone):%a %Y-%m-%d %H:%M} {zone.key}"


def texts(value: Any) -> Iterable[str]:
    """The spans as they are written; raises WindowError for what is neither text nor list."""
    listed = value if isinstance(value, (list, tuple)) else [value]
    if not listed:
        raise WindowError("the list is empty", "Leave the variable out to be open always.")
    for each in listed:
        if not isinstance(each, str):
            raise WindowError(f"{each!r} is not text", f'Put it in quotes: "{EXAMPLE}"')
    return listed


def _minute(text: str) -> int:
    hours, minutes = (int(part) for part in text.split(":"))
    minute = hours * HOUR + minutes
    if minutes >= HOUR or minute > DAY:
        raise WindowError(f"{text} is no time of day", "Times go from 00:00 to 24:00.")
    return minute


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as exc:
        known = available_timezones()
        hint = "Write it as in Europe/Berlin, or UTC."
        if not known:
            hint = "This machine has no time zones: pip install tzdata"
        raise WindowError(
            f"there is no time zone {name!r}", did_you_mean(name, known) or hint
        ) from exc


def _days(text: str | None) -> frozenset[int]:
    if text is None:
        return frozenset(range(7))
    days: set[int] = set()
    for part in text.split(","):
        first, dash, last = (word.strip() for word in part.partition("-"))
        start = _day(first)
        end = _day(last) if dash else start
        days |= {(start + more) % 7 for more in range((end - start) % 7 + 1)}
    return frozenset(days)


def _day(name: str) -> int:
    try:
        return DAYS.index(name.capitalize())
    except ValueError:
        raise WindowError(f"there is no day {name!r}", f"Days are {', '.join(DAYS)}.") from None
