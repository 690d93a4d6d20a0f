"""Counts and names in a sentence."""

import pytest

from orchestrator.listing import count, names


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("", ""),
        ("a", "a"),
        ("abcde", "a, b, c, d, e"),
        ("abcdefgh", "a, b, c, d, e and 3 more"),
    ],
)
def test_of_many_names_the_rest_is_counted(given, told):
    assert names(list(given)) == told


@pytest.mark.parametrize(("number", "told"), [(0, "0 hosts"), (1, "1 host"), (2, "2 hosts")])
def test_a_noun_agrees_with_its_count(number, told):
    assert count(number, "host") == told
