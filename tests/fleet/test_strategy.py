"""Shares, canaries and pauses as orchestrate.yml and the flags write them."""

from fractions import Fraction

import pytest

from orchestrator.fleet.strategy import Share, parse_canary, parse_pause, parse_share


@pytest.mark.parametrize(
    ("written", "share", "again"),
    [
        (3, Share(3), "3"),
        (3.0, Share(3), "3"),
        ("3", Share(3), "3"),
        (" 25% ", Share(25, percent=True), "25%"),
        ("33.3%", Share(33.3, percent=True), "33.3%"),
        ("0%", Share(0, percent=True), "0%"),
        ("100%", Share(100, percent=True), "100%"),
    ],
)
def test_a_share_is_read_and_written(written, share, again):
    assert parse_share(written) == share
    assert str(share) == again


@pytest.mark.parametrize(
    ("written", "least", "cause"),
    [
        ("", 0, "neither a count nor a percentage"),
        ("many", 0, "neither a count nor a percentage"),
        ("-1", 0, "neither a count nor a percentage"),
        ("1e3", 0, "neither a count nor a percentage"),
        ("٣", 0, "neither a count nor a percentage"),
        ("nan%", 0, "neither a count nor a percentage"),
        ("100.1%", 0, "more than the whole fleet"),
        ("2.5", 0, "no whole number"),
        ("0", 1, "no host at all"),
        ("0%", 1, "no host at all"),
    ],
)
def test_what_is_no_share(written, least, cause):
    with pytest.raises(ValueError, match=cause):
        parse_share(written, least=least)


def test_a_share_of_a_fleet_is_exact():
    assert Share(33.3, percent=True).of(1000) == 333
    assert Share(10, percent=True).of(15) == Fraction(3, 2)
    assert Share(7).of(3) == 7


@pytest.mark.parametrize(
    ("written", "canary"),
    [
        (None, None),
        ("none", None),
        ("hardware_class", "hardware_class"),
        (2, Share(2)),
        ("2", Share(2)),
        ("10%", Share(10, percent=True)),
        ("pi-1", ("pi-1",)),
        ("pi-1, jetsons:!jetson-3", ("pi-1", "jetsons:!jetson-3")),
        (["pi-1", "2"], ("pi-1", "2")),
    ],
)
def test_canaries(written, canary):
    assert parse_canary(written) == canary


@pytest.mark.parametrize("written", ["", " , ", "0", 0, "101%"])
def test_what_is_no_canary(written):
    with pytest.raises(ValueError):  # noqa: PT011 - the causes are tested above
        parse_canary(written)


def test_pauses():
    assert parse_pause("ask") == "ask"
    assert parse_pause("1.5") == 1.5
    for written in ("later", "-1", "nan", "inf", "1e9"):
        with pytest.raises(ValueError):  # noqa: PT011 - any of two causes
            parse_pause(written)
