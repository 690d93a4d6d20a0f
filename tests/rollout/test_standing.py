"""A host at a glance."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.status import show
from orchestrator.errors import ModelError, TemplateError
from orchestrator.fleet.host import Host
from orchestrator.planning.plan import plan_host
from orchestrator.planning.present import Armed, Present
from orchestrator.rollout.standing import standing
from tests.planning import samples
from tests.planning.plans import inputs, on_host

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


PLANNED = plan_host(inputs())
RELEASE = PLANNED.release
THERE = on_host(RELEASE)
PI = Host("pi-1", ("pis",), {"orchestrate_model": "kata@v1"})
CHANGED = plan_host(inputs(host=Host("pi-1", (), {"threads": 8}), present=THERE))
NEWER = plan_host(
    inputs(version=dataclasses.replace(samples.version(), version="v2"), present=THERE)
)
UNCONFIRMED = f"switched to {RELEASE.id} by run r9, not confirmed; the host goes back to"
WENT_BACK = {"by": "host", "what": "revert", "release": RELEASE.id, "when": "noon", "reason": "x"}


@pytest.mark.parametrize(
    ("changes", "told", "state", "notes"),
    [
        ({}, {}, "ok", ()),
        ({}, {"plan": plan_host(inputs(present=THERE))}, "ok", ()),
        ({"replaced": ("net-fp32.onnx",)}, {}, "drift", ("net-fp32.onnx was replaced",)),
        ({"sizes": {**THERE.sizes, "run": 3}}, {}, "drift", ("run has another size",)),
        # The inventory, a template or a profile was changed since.
        ({}, {"plan": CHANGED}, "drift", ("ort.cfg would change",)),
        # A plan for another version says no more than that it is wanted.
        ({}, {"plan": NEWER}, "ok", ()),
        ({"manifest": {}}, {"plan": CHANGED}, "drift", ("manifest.json is damaged",)),
        # A plan that cannot be made is told, and no drift.
        ({}, {"plan": ModelError("kata@v1 was yanked: no")}, "ok",
         ("cannot plan: kata@v1 was yanked: no",)),
        ({}, {"plan": TemplateError("line 1\nline 2")}, "ok", ("cannot plan: line 1",)),
        ({}, {"plan": TemplateError("")}, "ok", ("cannot plan: template",)),
        ({}, {"service": ""}, "ok", ()),
        ({}, {"service": "exit 7: dead"}, "drift", ("the service is down: exit 7: dead",)),
        (
            {"armed": Armed("r9", RELEASE.id, "old")}, {}, "unverified",
            (f"{UNCONFIRMED} old by itself",),
        ),
        (
            {"armed": Armed("r9", RELEASE.id, None)}, {}, "unverified",
            (f"{UNCONFIRMED} nothing by itself",),
        ),
        ({"audit": (*THERE.audit, WENT_BACK)}, {}, "ok", ("went back by itself at noon: x",)),
        ({"audit": (WENT_BACK, *THERE.audit)}, {}, "ok", ()),
        (
            {"audit": (WENT_BACK, *THERE.audit), "replaced": ("run",)},
            {"service": "gone", "plan": CHANGED},
            "drift",
            ("run was replaced", "ort.cfg would change", "the service is down: gone"),
        ),
    ],
)  # fmt: skip
def test_drift(changes, told, state, notes):
    found = standing(PI, dataclasses.replace(THERE, **changes), None, **told)
    assert (found.state, found.notes) == (state, notes)


@pytest.mark.parametrize(
    ("wanted", "present", "right"),
    [
        ("kata@v1", THERE, True),
        (None, THERE, True),
        (None, Present(), True),
        ("kata@v1", Present(), False),
        ("kata@v2", THERE, False),
        (None, on_host(RELEASE, verdict=None), False),
        (None, on_host(RELEASE, verdict="fail"), False),
    ],
)
def test_what_status_check_asks_for(wanted, present, right):
    host = Host("pi-1", (), {"orchestrate_model": wanted})
    assert standing(host, present, None).as_it_should_be is right


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
    by=st.just("host") | JSON,
    word=st.text(ANY),
)
def test_whatever_is_found_is_told_and_shown(manifest, audit, when, lock, wanted, by, word):
    lines = tuple(line | {"when": when, "by": by, "reason": when} for line in audit)
    armed = Armed(word, word, word)
    present = Present("r1", ("r1",), manifest=MANIFEST | manifest, audit=lines, armed=armed)
    host = Host("pi-1", (), {"orchestrate_model": wanted})
    failed = ModelError(word)
    found = standing(host, present, json.dumps(lock), plan=failed, service=word)
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
