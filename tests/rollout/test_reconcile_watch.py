"""When hosts with a wish are tried: standings, pauses, and a watch on a clock of its own."""

from __future__ import annotations

import itertools
import random
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InputError, LockedError, ModelError
from orchestrator.fleet.host import Host
from orchestrator.history.wishes import Wish
from orchestrator.rollout.reconcile import (
    LONGEST_PAUSE,
    LOOK_EVERY,
    Watch,
    nap,
    pause,
    standing,
)

NOON = datetime(2026, 3, 30, 12, tzinfo=UTC).timestamp()
HOUR = 3600.0
WISH = Wish("pi-1", "net@v2", False, "r1", NOON - HOUR, 3, NOON + HOUR, "no route to host")


def stand(wish=WISH, *, window=None, lacking=None, patient=True, known=True):
    variables = {} if window is None else {"orchestrate_window": window}
    host = Host("pi-1", (), variables) if known else None
    return standing(wish, host, lacking, NOON, patient=patient)


@pytest.mark.parametrize(
    ("asked", "code", "after_hours"),
    [
        ({}, "not_due", 1),
        ({"patient": False}, None, 0),
        ({"patient": False, "window": "11:00-13:00 UTC"}, None, 0),
        ({"patient": False, "window": "14:00-15:00 UTC"}, "outside_window", 2),
        ({"window": "14:00-15:00 UTC"}, "outside_window", 2),
        ({"window": "11:00-14:00 UTC"}, "not_due", 1),
        ({"window": "11:00-13:00 UTC"}, "outside_window", 23),  # closes as the attempt is due
        ({"known": False}, "not_in_inventory", None),
        ({"lacking": ModelError("net@v2 was yanked", code="yanked")}, "yanked", None),
    ],
)
def test_a_wish_stands(asked, code, after_hours):
    found = stand(**asked)
    assert (found.waits_for.code_given if found.waits_for else None) == code
    assert found.until == (None if after_hours is None else NOON + after_hours * HOUR)
    if found.waits_for:
        assert "pi-1" in found.waits_for.message
        assert "pi-1" in found.waits_for.hint
        assert found.outcome.exit_code == 5


def test_who_waits_for_a_window_is_told_when_it_opens():
    error = stand(window="02:00-05:00 Europe/Berlin").waits_for
    assert "opens Tue 2026-03-31 02:00 Europe/Berlin" in error.message


@given(attempts=st.integers(1, 10_000), first=st.floats(0.01, 3600), jitter=st.floats(0, 1))
def test_pauses_double_to_half_an_hour_and_spread(attempts, first, jitter):
    middle = pause(attempts, first, 0.5)
    assert middle == min(LONGEST_PAUSE, first * 2 ** min(attempts - 1, 64))
    assert 0.5 * middle <= pause(attempts, first, jitter) <= 1.5 * middle
    assert pause(attempts + 1, first, 0.5) in {middle * 2, LONGEST_PAUSE}


def test_pauses_of_hosts_differ():
    assert len({pause(1) for _ in range(20)}) > 1
    assert [pause(n, jitter=0.5) for n in (1, 2, 3, 7, 8)] == [30, 60, 120, 1800, 1800]


def test_a_nap_ends_with_the_first_that_is_due_and_sees_changes():
    soon = replace(stand(), until=NOON + 7)
    assert nap([stand(), soon], NOON) == 7
    assert nap([stand()], NOON) == LOOK_EVERY
    assert nap([stand(known=False)], NOON) == LOOK_EVERY
    assert nap([soon], NOON + 9) == 0


class World:
    """Hosts that come back at some time, and a clock that only naps move."""

    def __init__(self, back, *, windows=None, wrong=(), locked_until=0.0):
        self.now = NOON
        self.back = {host: NOON + after for host, after in back.items()}
        self.windows = windows or {}
        self.wrong = set(wrong)
        self.locked_until = NOON + locked_until
        self.wishes = {
            host: replace(WISH, host=host, attempts=0, next_attempt=NOON) for host in back
        }
        self.tried = []
        self.reached = {}
        self.told = []
        self.chosen = random.Random(1)

    def look(self):
        return [
            standing(
                wish,
                Host(host, (), {"orchestrate_window": w} if (w := self.windows.get(host)) else {}),
                None,
                self.now,
                patient=True,
            )
            for host, wish in self.wishes.items()
        ]

    def attempt(self, due):
        if self.now < self.locked_until:
            raise LockedError("locked")
        hosts = [each.wish.host for each in due]
        if self.wrong & set(hosts):
            raise InputError("no artifact fits")
        for host in hosts:
            self.tried.append((host, self.now - NOON))
            if self.now >= self.back[host]:
                del self.wishes[host]
                self.reached[host] = self.now - NOON
            else:
                self.postpone(host)

    def postpone(self, host):
        wish = self.wishes[host]
        after = pause(wish.attempts + 1, jitter=self.chosen.random())
        self.wishes[host] = replace(wish, attempts=wish.attempts + 1, next_attempt=self.now + after)

    def refuse(self, each, error):
        self.told.append(error.message)
        self.postpone(each.wish.host)

    def sleep(self, seconds):
        assert seconds >= 0
        self.now += seconds
        if self.now > NOON + 24 * HOUR:
            raise KeyboardInterrupt

    def watch(self):
        Watch(
            look=self.look,
            attempt=self.attempt,
            refuse=self.refuse,
            tell=lambda errors: self.told.extend(error.message for error in errors),
            clock=lambda: self.now,
            sleep=self.sleep,
        ).run()


def test_a_watch_reaches_everybody_and_asks_ever_more_seldom():
    world = World({"a": 0, "b": 100, "c": 6 * HOUR})
    world.watch()
    assert world.wishes == {}
    assert world.reached["a"] == 0
    assert 100 <= world.reached["b"] <= 100 + 1.5 * 120
    assert 6 * HOUR <= world.reached["c"] <= 6 * HOUR + 1.5 * LONGEST_PAUSE
    tries = [at for host, at in world.tried if host == "c"]
    assert len(tries) <= 7 + 6 * HOUR / (LONGEST_PAUSE / 2)
    gaps = [later - earlier for earlier, later in itertools.pairwise(tries)]
    assert all(15 <= gap <= 1.5 * LONGEST_PAUSE for gap in gaps)


def test_a_watch_keeps_to_windows():
    world = World({"a": 0, "b": 0}, windows={"b": "02:00-03:00 UTC"})
    world.watch()
    assert world.reached == {"a": 0, "b": 14 * HOUR}
    assert world.tried == [("a", 0), ("b", 14 * HOUR)]


def test_wrong_input_of_one_host_keeps_no_other():
    world = World({"a": 0, "b": 0, "c": 0}, wrong=["b"])
    with pytest.raises(KeyboardInterrupt):
        world.watch()
    assert world.reached == {"a": 0, "c": 0}
    assert world.wishes["b"].attempts > 3
    assert "no artifact fits" in world.told


def test_a_lock_is_waited_for():
    world = World({"a": 0}, locked_until=100)
    world.watch()
    assert world.reached["a"] == 120
    assert world.told.count("locked") == 4


def test_wrong_input_at_the_start_is_an_error():
    world = World({"a": 0}, windows={"a": "at night"})
    with pytest.raises(InputError, match="orchestrate_window of a"):
        world.watch()
