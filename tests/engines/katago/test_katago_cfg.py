from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.engines.katago.cfg import parse

GOOD = [
    ("maxVisits = 5\n", "5"),
    ("maxVisits=5", "5"),
    ("  \tmaxVisits\t=\t5\t\r\n", "5"),
    ("maxVisits = 5 # half a second", "5"),
    ('maxVisits = "5" # quoted', "5"),
    ('maxVisits = "a # b"', "a # b"),
    (r'maxVisits = "a \"b\" \\"', r'a "b" \ '.strip()),
    ("maxVisits == 5", "= 5"),
    ("maxVisits = 5\v", "5"),
]


@pytest.mark.parametrize(("text", "value"), GOOD)
def test_reads_as_katago_does(text, value):
    settings, problems = parse(text)
    assert not problems
    assert settings["maxVisits"].value == value


BAD = [
    ("maxVisits 5", "is not `key = value`"),
    ("max.Visits = 5", "is not `key = value`"),
    ("= 5", "is not `key = value`"),
    ("[gtp]", "is not `key = value`"),
    ("; comment", "is not `key = value`"),
    ("maxVisits", "is not `key = value`"),
    ("\ufeffmaxVisits = 5", "is not `key = value`"),
    ("schlüssel = 5", "is not `key = value`"),
    ("maxVisits =", "has no value"),
    ("maxVisits = # none", "has no value"),
    ('maxVisits = ""', "has no value"),
    ('maxVisits = "5', "quote"),
    ('maxVisits = "5" 6', "quote"),
    ("@include other.cfg", "@include"),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_says_which_line_katago_stops_at(text, reason):
    _, problems = parse(f"# first\n\n{text}\n")
    (problem,) = problems
    assert problem.line == 3
    assert reason in problem.reason


def test_a_key_twice_names_both_lines():
    settings, (problem,) = parse("maxVisits = 1\n\nmaxVisits = 2\n")
    assert settings["maxVisits"].value == "1"
    assert (problem.line, problem.key) == (3, "maxVisits")
    assert "line 1" in problem.reason


KEYS = st.from_regex(r"[A-Za-z0-9_-]{1,20}", fullmatch=True)
PLAIN = st.text(
    st.characters(codec="utf-8", exclude_characters='#"\\\n\r\t\v\f \x00'), min_size=1, max_size=20
)


@given(st.dictionaries(KEYS, PLAIN, max_size=8), st.sampled_from(["\n", "\r\n"]))
def test_what_is_written_is_read(pairs, newline):
    text = newline.join(f"{key} = {value}" for key, value in pairs.items())
    settings, problems = parse(text)
    assert not problems
    assert {key: setting.value for key, setting in settings.items()} == pairs


@given(st.text(max_size=200))
def test_any_text_is_read_or_refused_by_line(text):
    settings, problems = parse(text)
    lines = text.count("\n") + 1
    assert all(1 <= p.line <= lines for p in problems)
    assert all(s.value for s in settings.values())
