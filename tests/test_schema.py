"""Mistakes in documents, as they are told to people."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import InputError, SettingsError
from orchestrator.schema import check, load_yaml, place, problems, yaml_lines

SCHEMA = {
    "type": "object",
    "additionalProperties": False,
    "required": ["profiles"],
    "properties": {
        "profiles": {
            "type": "object",
            "minProperties": 1,
            "additionalProperties": {
                "type": "object",
                "required": ["when"],
                "additionalProperties": False,
                "properties": {
                    "when": {"type": "string", "minLength": 1, "description": "an expression"},
                    "ratio": {"type": "number", "minimum": 0.1, "exclusiveMaximum": 2},
                    "keep": {"type": ["integer", "null"], "maximum": 9},
                    "engine": {"enum": ["katago", "onnxruntime"]},
                    "name": {"type": "string", "pattern": "^[a-z]+$", "description": "a-z only"},
                    "tags": {
                        "type": "array",
                        "minItems": 1,
                        "uniqueItems": True,
                        "items": {"type": "string"},
                    },
                    "target": {
                        "anyOf": [
                            {"type": "string"},
                            {
                                "type": "object",
                                "properties": {"kind": {"type": "string"}},
                                "additionalProperties": False,
                            },
                        ]
                    },
                    "flag": {"type": "boolean"},
                    "schema": {"const": 1},
                },
            },
        }
    },
}


def first(body: str) -> tuple[int | None, str, str]:
    text = f"profiles:\n  pi:\n    when: x\n    {body}\n"
    (problem,) = problems(load_yaml(text, "f.yml"), SCHEMA, lines=yaml_lines(text))
    return problem.line, problem.message.removeprefix("profiles.pi"), problem.hint


@pytest.mark.parametrize(
    ("body", "message", "hint"),
    [
        ("ratoi: 1", ".ratoi: unknown key", "Did you mean 'ratio'?"),
        ("ratio: fast", ".ratio: expected a number, got 'fast'", ""),
        ("ratio: 0", ".ratio: must be at least 0.1, is 0", ""),
        ("ratio: 2", ".ratio: must be less than 2, is 2", ""),
        ("keep: 10", ".keep: must be at most 9, is 10", ""),
        ("keep: a", ".keep: expected a whole number or nothing, got 'a'", ""),
        (
            "engine: katgo",
            ".engine: 'katgo' is not one of katago, onnxruntime",
            "Did you mean 'katago'?",
        ),
        ("name: Pi", ".name: 'Pi' does not look right", "a-z only"),
        ("name: 12", ".name: expected text, got 12", 'Write it in quotes: "12"'),
        ("name: {a: 1}", ".name: expected text, got a mapping", "a-z only"),
        ("tags: []", ".tags: must not be empty", ""),
        ("tags: [a, a]", ".tags: an entry stands twice", ""),
        ("tags: [a, 3]", ".tags[1]: expected text, got 3", 'Write it in quotes: "3"'),
        ("target: 3", ".target: expected text or a mapping (key: value), got 3", ""),
        ("target: {knd: x}", ".target.knd: unknown key", "Did you mean 'kind'?"),
        ("flag: 'no'", ".flag: expected true or false, got 'no'", ""),
        ("schema: 2", ".schema: expected 1, got 2", ""),
    ],
)
def test_a_mistake_in_a_persons_words(body, message, hint):
    assert first(body) == (4, message, hint)


def test_a_missing_key_is_on_the_line_of_what_lacks_it():
    text = "profiles:\n  a: {when: x}\n  b: {}\n"
    (problem,) = problems(load_yaml(text, "f"), SCHEMA, lines=yaml_lines(text))
    assert (problem.line, problem.message, problem.hint) == (
        3,
        "profiles.b: the key 'when' is missing",
        "an expression",
    )


def test_every_mistake_in_the_order_of_the_file():
    text = "profiles:\n  b: {when: 3}\n  a: {when: '', ratoi: 1}\nprofile: 1\n"
    found = problems(load_yaml(text, "f"), SCHEMA, lines=yaml_lines(text))
    assert [(p.line, p.message) for p in found] == [
        (2, "profiles.b.when: expected text, got 3"),
        (3, "profiles.a.ratoi: unknown key"),
        (3, "profiles.a.when: must not be empty"),
        (4, "profile: unknown key"),
    ]


def test_an_unknown_key_far_from_all_is_told_the_known_ones():
    (problem,) = problems({"profiles": {"a": {"when": "x"}}, "zzz": 1}, SCHEMA)
    assert (problem.line, problem.hint) == (None, "Known keys: profiles.")


def test_a_key_that_is_not_text():
    (problem,) = problems(load_yaml("profiles: {1: {}}", "f"), SCHEMA)
    assert problem.message == "profiles[1]: the key 1 is not text"


def test_a_key_that_yaml_takes_for_a_truth_value():
    (problem,) = problems(load_yaml("profiles: {on: {}}", "f"), SCHEMA)
    assert problem.message.endswith("the key true is not text")
    assert "on, off, yes and no" in problem.hint


def test_what_is_wrong_at_the_top():
    (problem,) = problems([], SCHEMA)
    assert problem.message == "top level: expected a mapping (key: value), got a list"


def test_what_came_through_a_merge_key_has_its_own_line():
    text = "profiles:\n  a: &a\n    when: x\n    ratio: no\n  b:\n    <<: *a\n    ratio: 1\n"
    lines = yaml_lines(text)
    assert lines["profiles", "b", "ratio"] == 7
    assert lines["profiles", "b", "when"] == 3


def test_check_raises_the_first_and_counts_the_others():
    text = "profiles: {a: {when: 1, ratio: x}}\n"
    with pytest.raises(SettingsError) as caught:
        check(
            load_yaml(text, "f"),
            SCHEMA,
            source="f.yml",
            lines=yaml_lines(text),
            error=SettingsError,
        )
    assert (
        caught.value.message == "f.yml:1: profiles.a.ratio: expected a number, got 'x' (and 1 more)"
    )
    check({"profiles": {"a": {"when": "x"}}}, SCHEMA, source="f.yml")


@pytest.mark.parametrize(
    ("text", "where", "cause"),
    [
        ("a: 1\nb: 2\na: 3", "f.yml:3:1", "'a' stands twice in one mapping, first on line 1"),
        ("x:\n  - {a: 1, a: 2}", "f.yml:2:12", "'a' stands twice"),
        ("a: b: c", "f.yml:1:5", "mapping values are not allowed"),
        ("a:\n\t- x", "f.yml:2:1", "cannot start any token"),
        ("a: [1, 2", "f.yml:", "not valid YAML"),
        ("a: 1\n---\nb: 2", "f.yml:2:1", "another document"),
        ("a: !vault x", "f.yml:1:4", "!vault"),
        ("a: &x [*x]", "f.yml:1:4", "contains itself"),
        ("a: *x", "f.yml:1:4", "undefined alias"),
        ("a: 2024-13-45", "f.yml", "month must be in 1..12"),
        ("a: \x00", "f.yml", "unacceptable character"),
        ("[" * 3000, "f.yml", ""),
    ],
)
def test_yaml_that_cannot_be_read_is_told_with_its_place(text, where, cause):
    with pytest.raises(SettingsError) as caught:
        load_yaml(text, "f.yml", error=SettingsError)
    assert caught.value.message.startswith(where)
    assert cause in caught.value.message


def test_tabs_are_named():
    with pytest.raises(InputError) as caught:
        load_yaml("a:\n\t- x", "f.yml")
    assert "tabs" in caught.value.hint


def test_the_same_key_may_be_overridden_after_a_merge():
    assert load_yaml("a: &a {k: 1}\nb: {<<: *a, k: 2}", "f")["b"] == {"k": 2}


def test_an_empty_text_is_nothing():
    assert load_yaml("# only a comment\n", "f") is None
    assert yaml_lines("") == {}


def test_places():
    assert place(("a", 0, "b c", "d-e")) == "a[0].'b c'.d-e"
    assert place(()) == "top level"


JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
    max_leaves=12,
)


@given(JSON_VALUES | st.builds(lambda v: {"profiles": {"p": v}}, JSON_VALUES))
def test_any_document_is_judged_and_every_problem_is_told(document):
    found = problems(document, SCHEMA)
    assert all(p.message and p.message.startswith(place(p.path)) for p in found)


@given(st.text(alphabet="ab:-[]{}&*!|>'\"#,? \n\t0%@\x85", max_size=40))
def test_any_text_is_read_or_refused(text):
    try:
        document = load_yaml(text, "f.yml")
    except InputError as error:
        assert error.message.startswith("f.yml")  # noqa: PT017
    else:
        lines = yaml_lines(text)
        problems(document, SCHEMA, lines=lines)
