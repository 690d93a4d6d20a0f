"""Who goes first, who follows, and when a rollout stops: tables over fleets, batches, limits."""

from __future__ import annotations

from decimal import ROUND_FLOOR, Decimal
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.strategy import Strategy, parse_canary, parse_share
from orchestrator.rollout.batches import canary_failure, exceeded, order, size
from orchestrator.rollout.outcome import Status

FLEETS = (1, 2, 3, 5, 9, 10, 11, 15, 16, 33, 50, 99, 100, 101, 500, 1000)
SHARES = ("1", "2", "7", "50", "0.5%", "1%", "3%", "10%", "12.5%", "25%", "33.3%", "50%", "100%")
LIMITS = ("0", "1", "3", "50", "0%", "1%", "2.5%", "10%", "33.3%", "50%", "99.9%", "100%")
SHAPES = (("100%",), ("1", "25%", "100%"), ("10%",), ("1",), ("2", "1"), ("33.3%", "50%"))
CLASSES = ("rpi4", "jetson-orin", "rtx-30", "cpu-x86_64")


def strategy(canary="none", batches=("100%",), max_failed="10%", max_unreachable="100%"):
    return Strategy(
        canary=parse_canary(canary),
        batches=tuple(parse_share(each) for each in batches),
        max_failed=parse_share(max_failed),
        max_unreachable=parse_share(max_unreachable),
    )


def fleet_of(count):
    return [f"h{number}" for number in range(count)]


def classes_of(hosts):
    return {host: CLASSES[number % len(CLASSES)] for number, host in enumerate(hosts)}


def exactly(written, fleet):
    """The share in hosts, by decimal arithmetic: another way than the one that is tested."""
    number = Decimal(written.rstrip("%"))
    return number * fleet / 100 if written.endswith("%") else number


def shape(steps):
    return [(step.kind, len(step.hosts)) for step in steps]


@pytest.mark.parametrize("share", SHARES)
@pytest.mark.parametrize("fleet", FLEETS)
def test_a_share_is_rounded_down_and_at_least_one_host(fleet, share):
    floor = int(exactly(share, fleet).to_integral_value(ROUND_FLOOR))
    assert size(parse_share(share), fleet) == max(1, floor)


@pytest.mark.parametrize(
    ("fleet", "batches", "sizes"),
    [
        (1, ["100%"], [1]),
        (50, ["100%"], [50]),
        (50, ["1", "25%", "100%"], [1, 12, 37]),
        (50, ["25%"], [12, 12, 12, 12, 2]),
        (10, ["1"], [1] * 10),
        (10, ["3", "2"], [3, 2, 2, 2, 1]),
        (3, ["10%"], [1, 1, 1]),
        (7, ["50%"], [3, 3, 1]),
        (4, ["100"], [4]),
        (100, ["1%", "9%", "90%"], [1, 9, 90]),
        (8, ["12.5%", "100%"], [1, 7]),
    ],
)
def test_sizes_of_batches(fleet, batches, sizes):
    hosts = fleet_of(fleet)
    steps = order(strategy(batches=batches), hosts, classes_of(hosts)).steps
    assert [len(step.hosts) for step in steps] == sizes
    assert [(s.kind, s.number, s.of) for s in steps] == [
        ("batch", number, len(sizes)) for number in range(1, len(sizes) + 1)
    ]


@pytest.mark.parametrize("canary", ["none", "hardware_class", "1", "3", "10%", "100%", "h0,h2"])
@pytest.mark.parametrize("batches", SHAPES)
@pytest.mark.parametrize("fleet", FLEETS[:-2])
def test_every_host_that_changes_has_one_turn(fleet, batches, canary):
    hosts = fleet_of(fleet)
    changing = {host: kind for host, kind in classes_of(hosts).items() if host != "h1"}
    steps = order(strategy(canary, batches), hosts, changing).steps
    begun = [host for step in steps for host in step.hosts]
    assert sorted(begun) == sorted(changing)
    assert all(step.hosts for step in steps)
    assert [step.kind for step in steps[1:]] == ["batch"] * len(steps[1:])
    sizes = [len(step.hosts) for step in steps if step.kind == "batch"]
    wanted = [size(parse_share(each), fleet) for each in batches]
    wanted += [wanted[-1]] * (len(sizes) - len(wanted))
    assert sizes[:-1] == wanted[: len(sizes)][:-1]
    assert not sizes or sizes[-1] <= wanted[len(sizes) - 1]


def test_half_of_a_fleet_counts_the_hosts_that_do_not_change_too():
    hosts = fleet_of(10)
    changing = dict.fromkeys(hosts[:7], "rpi4")
    assert shape(order(strategy(batches=["50%"]), hosts, changing).steps) == [
        ("batch", 5),
        ("batch", 2),
    ]


FLEET = {"pi-1": "rpi4", "pi-2": "rpi4", "jet-1": "orin", "pi-3": "rpi4", "gpu-1": "rtx-30"}
CANARIES = [
    ("none", FLEET, [], []),
    ("hardware_class", FLEET, [], ["pi-1", "jet-1", "gpu-1"]),
    ("hardware_class", ["pi-2", "pi-3"], [], ["pi-2"]),
    ("hardware_class", ["pi-2", "jet-1"], ["pi-1"], ["pi-2", "jet-1"]),
    ("hardware_class", [], [], []),
    ("1", FLEET, [], ["pi-1"]),
    ("2", FLEET, [], ["pi-1", "jet-1"]),
    ("3", FLEET, [], ["pi-1", "jet-1", "gpu-1"]),
    ("4", FLEET, [], ["pi-1", "pi-2", "jet-1", "gpu-1"]),
    ("9", FLEET, [], list(FLEET)),
    ("1%", FLEET, [], ["pi-1"]),
    ("40%", ["pi-2", "gpu-1", "pi-3"], [], ["pi-2", "gpu-1"]),
    ("gpu-1,pi-3", FLEET, [], ["pi-3", "gpu-1"]),
    ("gpu-1,pi-3", ["pi-1", "pi-3"], ["gpu-1"], ["pi-3"]),
    ("gpu-1", ["pi-1", "pi-3"], [], []),  # it has the release already
    ("elsewhere", FLEET, [], ["pi-1", "jet-1", "gpu-1"]),
]


@pytest.mark.parametrize(("canary", "changing", "silent", "canaries"), CANARIES)
def test_canaries(canary, changing, silent, canaries):
    found = order(strategy(canary), list(FLEET), {h: FLEET[h] for h in changing}, silent)
    first = found.steps[0].hosts if found.steps and found.steps[0].kind == "canary" else ()
    assert list(first) == canaries
    assert not found.stop


def test_canaries_that_were_named_and_do_not_answer_stop_everything():
    found = order(strategy("gpu-1,jet-1"), list(FLEET), {"pi-1": "rpi4"}, ["jet-1", "gpu-1"])
    assert (found.stop, found.steps) == ("no canary answers: jet-1, gpu-1", ())


@pytest.mark.parametrize(
    ("canary", "batches", "said"),
    [
        ("hardware_class", ["1"], "canary: pi-1, jet-1, gpu-1; then 2 hosts in 2 batches"),
        ("1", ["100%"], "canary: pi-1; then 4 hosts"),
        ("9", ["100%"], "canary: pi-1, pi-2, jet-1, pi-3, gpu-1"),
        ("4", ["100%"], "canary: pi-1, pi-2, jet-1, gpu-1; then 1 host"),
        ("none", ["2"], "5 hosts in 3 batches"),
    ],
)
def test_an_order_is_told_in_a_line(canary, batches, said):
    assert str(order(strategy(canary, batches), list(FLEET), FLEET)) == said


def test_many_canaries_are_told_by_the_first():
    hosts = fleet_of(50)
    said = str(order(strategy("7"), hosts, dict.fromkeys(hosts, "rpi4")))
    assert said == "canary: h0, h1, h2, h3, h4 and 2 more; then 43 hosts"


BAD = (Status.FAILED, Status.ROLLED_BACK, Status.LOCKED)
GOOD = (Status.DEPLOYED, Status.UNCHANGED, Status.SKIPPED, Status.VERIFIED)


@pytest.mark.parametrize(("fleet", "limit"), list(product(FLEETS, LIMITS)))
def test_failures_are_counted_exactly_against_the_whole_fleet(fleet, limit):
    """At every number of failures, whatever else is done already: more than the limit stops."""
    for limited, bad in (("max_failed", BAD), ("max_unreachable", (Status.UNREACHABLE,))):
        chosen = strategy(**{"max_failed": "100%", limited: limit})
        allowed = exactly(limit, fleet)
        for count in {0, 1, int(allowed), int(allowed) + 1, fleet}:
            if count > fleet:
                continue
            statuses = [bad[number % len(bad)] for number in range(count)]
            statuses += [GOOD[number % len(GOOD)] for number in range((fleet - count) // 2)]
            assert bool(exceeded(chosen, fleet, statuses)) == (count > allowed)


@pytest.mark.parametrize("fleet", FLEETS)
def test_failed_and_unreachable_hosts_are_counted_apart(fleet):
    nobody_answers = [Status.UNREACHABLE] * fleet
    assert not exceeded(strategy(max_failed="0"), fleet, nobody_answers)
    assert exceeded(strategy(max_failed="0"), fleet, [Status.LOCKED])
    all_failed = [Status.FAILED] * fleet
    assert not exceeded(strategy(max_failed="100%", max_unreachable="0"), fleet, all_failed)


@pytest.mark.parametrize(
    ("options", "statuses", "said"),
    [
        ({}, [Status.FAILED] * 5, ""),
        (
            {},
            [Status.FAILED] * 6,
            "6 of 50 hosts failed, more than max_failed (10%)",
        ),
        (
            {"max_failed": "2"},
            [Status.LOCKED, Status.ROLLED_BACK, Status.FAILED, Status.UNREACHABLE],
            "3 of 50 hosts failed, more than max_failed (2)",
        ),
        (
            {"max_unreachable": "2.5%"},
            [Status.UNREACHABLE] * 2,
            "2 of 50 hosts could not be reached, more than max_unreachable (2.5%)",
        ),
    ],
)
def test_why_a_rollout_stops_is_told_in_figures(options, statuses, said):
    assert exceeded(strategy(**options), 50, statuses) == said


@pytest.mark.parametrize(
    ("statuses", "said"),
    [
        ({}, ""),
        ({"a": Status.DEPLOYED, "b": Status.UNCHANGED, "x": Status.FAILED}, ""),
        (
            {"a": Status.ROLLED_BACK, "b": Status.DEPLOYED},
            "1 of 2 canaries did not pass: a (rolled back)",
        ),
        (
            {"b": Status.UNREACHABLE, "a": Status.LOCKED},
            "2 of 2 canaries did not pass: a (locked); b (unreachable)",
        ),
    ],
)
def test_a_canary_that_did_not_pass(statuses, said):
    assert canary_failure(["a", "b"], statuses) == said


def test_canaries_that_did_not_pass_are_told_together():
    canaries = [f"h{number}" for number in range(8)]
    statuses = dict.fromkeys(canaries, Status.ROLLED_BACK) | {"h0": Status.LOCKED}
    assert canary_failure(canaries, statuses) == (
        "8 of 8 canaries did not pass: h0 (locked); h1, h2, h3, h4, h5 and 2 more (rolled back)"
    )


@pytest.mark.parametrize("status", list(Status))
def test_only_what_is_verified_lets_others_follow(status):
    passed = status in {Status.DEPLOYED, Status.UNCHANGED, Status.VERIFIED}
    assert bool(canary_failure(["a"], {"a": status})) != passed


@given(
    st.integers(1, 400),
    st.lists(st.sampled_from(SHARES), min_size=1, max_size=4),
    st.sampled_from(["none", "hardware_class", "3", "10%"]),
    st.sets(st.integers(0, 399)),
)
def test_no_host_is_lost_or_begun_twice(fleet, batches, canary, at_rest):
    hosts = fleet_of(fleet)
    changing = {
        host: kind for n, (host, kind) in enumerate(classes_of(hosts).items()) if n not in at_rest
    }
    steps = order(strategy(canary, batches), hosts, changing).steps
    begun = [host for step in steps for host in step.hosts]
    assert sorted(begun) == sorted(changing)
