"""Ranges and ports in host names."""

from __future__ import annotations

import re
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.fleet.inventory import addresses


@given(st.integers(0, 999), st.integers(0, 40), st.integers(1, 7), st.booleans())
def test_numeric_range(first, more, step, padded):
    last = first + more
    width = 4 if padded else 0
    pattern = f"n[{first:0{width}d}:{last:0{width}d}:{step}].x" if padded else (
        f"n[{first}:{last}:{step}].x"
    )  # fmt: skip
    names, port = addresses.expand(pattern)
    assert names == [f"n{number:0{width}d}.x" for number in range(first, last + 1, step)]
    assert port is None


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    addresses.split_port(text)
    with suppress(ValueError):
        assert all("[" not in name for name in addresses.expand(text)[0])


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("pi-1", ("pi-1", None)),
        ("pi-1:22", ("pi-1", 22)),
        ("192.0.2.1:22", ("192.0.2.1", 22)),
        ("[2001:db8::1]:22", ("2001:db8::1", 22)),
        ("2001:db8::1", ("2001:db8::1", None)),
        ("::1", ("::1", None)),
        ("[::1]", None),
        ("a:b", None),
        ("-a", None),
        ("a_", None),
        ("a b", None),
        ("", None),
    ],
)
def test_split_port(text, expected):
    assert addresses.split_port(text) == expected


@pytest.mark.parametrize(
    ("pattern", "message"),
    [
        ("pi[1:3", "does not close it"),
        ("pi[1:99999999]", "stands for more than 100,000 hosts"),
        ("pi[1:999][1:999]", "stands for more than 100,000 hosts"),
        ("pi[1]", "a range is [first:last]"),
        ("pi[1:2:3:4]", "a range is [first:last]"),
        ("pi[1:]", "has no last value"),
        ("pi[01:100]", "differ in length"),
        ("pi[c:a]", "runs backwards"),
        ("pi[1:b]", "'b' in the range [1:b] is neither a number nor one letter"),
        ("pi[1:9:0]", "step of the range [1:9:0] is less than 1"),
    ],
)
def test_bad_range_says_what_is_wrong(pattern, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        addresses.expand(pattern)
