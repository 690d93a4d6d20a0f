"""Maintenance windows, held against a clock that is read minute by minute."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InventoryError
from orchestrator.fleet.window import DAYS, Span, Window

# An instant shortly before the clocks change there, by the tz database's release 2025b.
CHANGES = {
    "Europe/Berlin spring": ("Europe/Berlin", datetime(2026, 3, 28, 12, tzinfo=UTC)),
    "Europe/Berlin autumn": ("Europe/Berlin", datetime(2026, 10, 24, 12, tzinfo=UTC)),
    "America/New_York spring": ("America/New_York", datetime(2026, 3, 7, 18, tzinfo=UTC)),
    "America/New_York autumn": ("America/New_York", datetime(2026, 10, 31, 18, tzinfo=UTC)),
    "half an hour": ("Australia/Lord_Howe", datetime(2026, 4, 4, 3, tzinfo=UTC)),
    "at midnight": ("Africa/Cairo", datetime(2026, 4, 23, 12, tzinfo=UTC)),
    "a whole day left out": ("Pacific/Apia", datetime(2011, 12, 29, 12, tzinfo=UTC)),
    "no changes": ("Asia/Kathmandu", datetime(2026, 3, 28, 12, tzinfo=UTC)),
}


def at(zone, text, fold=0):
    """The instant at which clocks in the zone show the time; `fold` 1 is the second such."""
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def on_the_wall(span, now):
    """The definition: the clock is between the span's start today or yesterday and its end."""
    clock = datetime.fromtimestamp(now, ZoneInfo(span.zone.key)).replace(tzinfo=None)
    length = timedelta(minutes=(span.end - span.start) % 1440 or 1440)
    for back in (0, 1):
        day = clock.replace(hour=0, minute=0, second=0) - timedelta(days=back)
        start = day + timedelta(minutes=span.start)
        if start <= clock < start + length:
            return start.weekday() in span.days
    return False


spans = st.builds(
    lambda days, start, length: (days, start, length),
    st.sets(st.sampled_from(range(7)), min_size=1),
    st.integers(0, 1439),
    st.integers(1, 1439),
)


def written(days, start, length, zone):
    end = (start + length) % 1440 or 1440
    named = ",".join(DAYS[day] for day in sorted(days))
    return f"{named} {start // 60:02}:{start % 60:02}-{end // 60:02}:{end % 60:02} {zone}"


@settings(deadline=None, max_examples=50)
@given(
    span=spans, change=st.sampled_from(sorted(CHANGES)), offset=st.integers(0, 1800), part=st.data()
)
def test_openings_are_those_of_a_scan_minute_by_minute(span, change, offset, part):
    zone, before = CHANGES[change]
    window = Span.parse(written(*span, zone))
    first = before.timestamp() + offset * 60
    minutes = [first + 60 * n for n in range(36 * 60)]
    opened = [on_the_wall(window, now) for now in minutes]
    assert [window.open_at(now) for now in minutes] == opened
    n = part.draw(st.integers(0, len(minutes) - 1))
    upcoming = next(
        (now for now, is_open in zip(minutes[n:], opened[n:], strict=True) if is_open), None
    )
    predicted = window.next_opening(minutes[n] + 0.25)
    if upcoming is None:
        assert predicted > minutes[-1]
    elif upcoming == minutes[n]:
        assert predicted == minutes[n] + 0.25, "open now is open now"
    else:
        assert predicted == upcoming


@pytest.mark.parametrize(
    ("text", "opens"),
    [
        # 02:00 to 03:00 is missing on 29 March 2026 in Berlin.
        ("02:10-02:40 Europe/Berlin", at("Europe/Berlin", "2026-03-30 02:10")),
        ("02:10-03:40 Europe/Berlin", at("Europe/Berlin", "2026-03-29 03:00")),
        ("Sun 02:10-02:40 Europe/Berlin", at("Europe/Berlin", "2026-04-05 02:10")),
        ("22:00-04:00 Europe/Berlin", at("Europe/Berlin", "2026-03-29 01:30")),
        ("Sun 22:00-04:00 Europe/Berlin", at("Europe/Berlin", "2026-03-29 22:00")),
        ("00:00-24:00 UTC", at("UTC", "2026-03-29 00:30")),
        ("Mon 00:00-24:00 UTC", at("UTC", "2026-03-30 00:00")),
        ("fri-MON 3:00 - 4:00 UTC", at("UTC", "2026-03-29 03:00")),
    ],
)
def test_next_opening_from_the_night_of_the_change(text, opens):
    half_past_one = at("Europe/Berlin", "2026-03-29 01:30")
    assert Span.parse(text).next_opening(half_past_one) == opens


def test_the_hour_that_comes_twice_is_open_twice():
    window = Span.parse("02:00-02:30 Europe/Berlin")
    for fold in (0, 1):
        assert window.open_at(at("Europe/Berlin", "2026-10-25 02:15", fold))
        assert not window.open_at(at("Europe/Berlin", "2026-10-25 02:45", fold))
    between = at("Europe/Berlin", "2026-10-25 02:45")
    assert window.next_opening(between) == at("Europe/Berlin", "2026-10-25 02:00", 1)


def test_a_list_is_open_when_any_is():
    window = Window.parse(["Mon 02:00-03:00 UTC", "Tue 04:00-05:00 UTC"], "pi-1")
    assert window.open_at(at("UTC", "2026-03-30 02:59"))
    assert not window.open_at(at("UTC", "2026-03-30 03:00"))
    opens = window.next_opening(at("UTC", "2026-03-30 03:00"))
    assert opens == at("UTC", "2026-03-31 04:00")
    assert window.local(opens) == "Tue 2026-03-31 04:00 UTC"
    assert str(window) == "Mon 02:00-03:00 UTC; Tue 04:00-05:00 UTC"


@pytest.mark.parametrize(
    ("value", "message", "hint"),
    [
        ("at night", "'at night' is not", "Mon-Fri 22:00-04:00 Europe/Berlin"),
        ("02:00-05:00", "names no time zone", "Europe/Berlin"),
        ("02:00-05:00 Europe/Berlim", "no time zone 'Europe/Berlim'", "'Europe/Berlin'"),
        ("02:00-05:00 Europe", "no time zone 'Europe'", ""),
        ("02:00-05:00 ../etc", "no time zone '../etc'", ""),
        ("02:00-02:00 UTC", "never open", "00:00-24:00"),
        ("24:00-02:00 UTC", "never open", "00:00-24:00"),
        ("02:60-05:00 UTC", "02:60 is no time of day", "24:00"),
        ("02:00-24:01 UTC", "24:01 is no time of day", "24:00"),
        ("Mo-Fri 02:00-05:00 UTC", "no day 'Mo'", "Mon, Tue"),
        ("Mon, 02:00-05:00 UTC", "no day ''", "Mon, Tue"),
        (["02:00-05:00 UTC", "x"], "'x' is not", "Europe/Berlin"),
        ([], "the list is empty", "Leave"),
        (7, "7 is not text", "quotes"),
        ({"start": "02:00"}, "is not text", "quotes"),
    ],
)
def test_a_mistake_names_the_host_and_shows_how(value, message, hint):
    with pytest.raises(InventoryError) as raised:
        Window.parse(value, "pi-1")
    assert raised.value.message.startswith("orchestrate_window of pi-1: ")
    assert message in raised.value.message
    assert hint in raised.value.hint
    assert raised.value.hint
