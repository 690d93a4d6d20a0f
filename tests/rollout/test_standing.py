"""A host at a glance."""

from __future__ import annotations

import hashlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.status import show
from orchestrator.fleet.host import Host
from orchestrator.planning.present import Present
from orchestrator.rollout.standing import standing

CONFIG = "threads = 4\n"
MANIFEST = {
    "model": "net",
    "version": "v1",
    "config": "rpi.cfg",
    "files": {"rpi.cfg": {"sha256": hashlib.sha256(CONFIG.encode()).hexdigest(), "size": 12}},
}
PASSED = ({"release": "r1", "verdict": "pass", "when": "2026-01-01"},)
LIVE = {"current": "r1", "releases": ("r1",), "manifest": MANIFEST, "config": CONFIG}
LIVE |= {"sizes": {"rpi.cfg": 12}}


@pytest.mark.parametrize(
    ("wanted", "present", "state", "notes"),
    [
        ("net@v1", {}, "empty", ()),
        ("net@v1", LIVE | {"audit": PASSED}, "ok", ()),
        (None, LIVE | {"audit": PASSED}, "ok", ()),
        ("net@v1", LIVE, "unverified", ()),
        ("net@v2", LIVE | {"audit": PASSED}, "drift", ("net@v2 is wanted",)),
        (
            "net@v1",
            LIVE | {"audit": PASSED, "config": "threads = 5\n"},
            "drift",
            ("rpi.cfg was changed by hand",),
        ),
        ("net@v1", LIVE | {"audit": PASSED, "releases": ()}, "drift", ("releases/r1 is gone",)),
        ("net@v1", LIVE | {"audit": ({"release": "r1", "verdict": "fail"},)}, "failing", ()),
    ],
)
def test_states(wanted, present, state, notes):
    found = standing(Host("pi-1", (), {"orchestrate_model": wanted}), Present(**present), None)
    assert (found.state, found.notes) == (state, notes)


DAMAGED = "manifest.json is damaged"


@pytest.mark.parametrize(
    "manifest",
    [
        {},
        {"model": "net"},
        {key: value for key, value in MANIFEST.items() if key != "version"},
        MANIFEST | {"version": {"v": 1}},
        MANIFEST | {"version": "v\ud800"},
        MANIFEST | {"files": []},
        MANIFEST | {"files": {"rpi.cfg": "x"}},
        MANIFEST | {"files": {"rpi.cfg": {"sha256": [1]}}},
        MANIFEST | {"files": {}},
        MANIFEST | {"config": ["rpi.cfg"]},
    ],
)
def test_a_damaged_manifest_is_drift(manifest):
    present = Present(**(LIVE | {"audit": PASSED, "manifest": manifest}))
    found = standing(Host("pi-1", (), {"orchestrate_model": "net@v1"}), present, None)
    assert (found.state, found.active, found.notes) == ("drift", None, (DAMAGED,))


ANY = st.characters()  # lone surrogates too, as JSON may hold them
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(ANY),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
STATES = {"ok", "drift", "unverified", "failing"}


@given(
    manifest=st.dictionaries(st.sampled_from([*MANIFEST, "x"]), JSON),
    audit=st.lists(st.fixed_dictionaries({"release": JSON | st.just("r1"), "verdict": JSON})),
    when=JSON,
    lock=JSON,
    wanted=JSON,
)
def test_whatever_is_found_is_told_and_shown(manifest, audit, when, lock, wanted):
    lines = tuple(line | {"when": when} for line in audit)
    present = Present("r1", ("r1",), manifest=MANIFEST | manifest, audit=lines)
    host = Host("pi-1", (), {"orchestrate_model": wanted})
    found = standing(host, present, json.dumps(lock))
    assert found.state in STATES
    with io.TextIOWrapper(io.BytesIO(), encoding="utf-8") as screen:
        show(Console(file=screen), {"pi-1": json.loads(json.dumps(found.as_dict()))})


def test_a_verdict_that_is_no_word_is_no_pass():
    audit = ({"release": "r1", "verdict": {"a": 1}},)
    found = standing(Host("pi-1"), Present(**(LIVE | {"audit": audit})), None)
    assert (found.state, found.verdict) == ("failing", '{"a": 1}')


@pytest.mark.parametrize(
    ("lock", "note"),
    [
        ('{"who":"me@here","since":"noon","command":"deploy"}', "locked by me@here since noon"),
        ("damaged", "locked"),
        ("[1]", "locked"),
        ("[" * 100_000, "locked"),
    ],
)
def test_a_lock_is_told(lock, note):
    assert standing(Host("pi-1"), Present(), lock).notes[0].startswith(note)
