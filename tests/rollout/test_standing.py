"""A host at a glance."""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.console import Console

from orchestrator.cli.status import show
from orchestrator.errors import ModelError, TemplateError
from orchestrator.fleet.host import Host
from orchestrator.planning.plan import plan_host
from orchestrator.planning.present import Armed, Present
from orchestrator.rollout import this_process
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
            {"armed": Armed("r9", RELEASE.id, "old")}, {}, "unconfirmed",
            (f"{UNCONFIRMED} old by itself",),
        ),
        (
            {"armed": Armed("r9", RELEASE.id, None)}, {}, "unconfirmed",
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
    lock=JSON | st.dictionaries(st.sampled_from(["run", "command", "lease", "pid"]), JSON),
    wanted=JSON,
    by=st.just("host") | JSON,
    word=st.text(ANY),
    armed=st.booleans(),
)
def test_whatever_is_found_is_told_and_shown(manifest, audit, when, lock, wanted, by, word, armed):
    lines = tuple(line | {"when": when, "by": by, "reason": when} for line in audit)
    switch = Armed(word, word, word) if armed else None
    present = Present("r1", ("r1",), manifest=MANIFEST | manifest, audit=lines, armed=switch)
    host = Host("pi-1", (), {"orchestrate_model": wanted})
    failed = ModelError(word)
    found = standing(host, present, json.dumps(lock), lock_age=1, plan=failed, service=word)
    assert found.state in ({"unconfirmed"} if armed else STATES)
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


ELSEWHERE = {"run": "r9", "who": "me@there", "since": "noon", "command": "deploy", "lease": 60}
GONE = ELSEWHERE | {"machine": this_process.machine(), "pid": 2**22 + 1}
HERE = GONE | {"pid": os.getpid()}
AT_WORK = f"run r9 (deploy) is at work: {RELEASE.id} is not confirmed yet"
CUT_OFF = (
    f"run r9 was cut off before {RELEASE.id} was confirmed: orchestrate resume; "
    "else the host goes back to old by itself"
)
LOCKED, RESUME = "locked by me@there since noon (deploy", ", cut off: orchestrate resume)"


@pytest.mark.parametrize(
    ("owner", "age", "notes"),
    [
        (HERE, 3, (AT_WORK, f"{LOCKED})")),
        (ELSEWHERE, 60, (AT_WORK, f"{LOCKED})")),
        (
            ELSEWHERE | {"run": "r10", "command": "resume"},
            0,
            (
                AT_WORK.replace("r9 (deploy", "r10 (resume"),
                f"{LOCKED.replace('deploy', 'resume')})",
            ),
        ),
        ({"run": "r9", "lease": 60}, 0, (AT_WORK.replace(" (deploy)", ""), "locked")),
        (ELSEWHERE, 61, (CUT_OFF, f"{LOCKED}{RESUME}")),
        (GONE, 3, (CUT_OFF, f"{LOCKED}{RESUME}")),
        (GONE | {"command": "verify"}, 3, (CUT_OFF, f"{LOCKED.replace('deploy', 'verify')})")),
        # A clock that jumped back, a host that cannot tell, and a lock of some other shape.
        (ELSEWHERE, -5, (f"{UNCONFIRMED} old by itself", f"{LOCKED})")),
        (ELSEWHERE, None, (f"{UNCONFIRMED} old by itself", f"{LOCKED})")),
        ([ELSEWHERE], 3, (f"{UNCONFIRMED} old by itself", "locked")),
    ],
)
def test_a_switch_that_is_not_confirmed(owner, age, notes):
    host = Host("pi-1", (), {})
    lock = json.dumps(owner)
    present = dataclasses.replace(THERE, armed=Armed("r9", RELEASE.id, "old"))
    found = standing(host, present, lock, lock_age=age)
    assert (found.state, found.notes, found.as_it_should_be) == ("unconfirmed", notes, False)
    first = standing(host, Present(armed=Armed("r9", RELEASE.id, None)), lock, lock_age=age)
    assert (first.state, first.as_it_should_be) == ("unconfirmed", False)


def test_a_lock_that_a_cut_off_run_left_says_how_to_go_on():
    found = standing(PI, THERE, json.dumps(GONE), lock_age=3)
    assert (found.state, found.notes) == ("ok", (f"{LOCKED}{RESUME}",))


def test_the_table_says_version_and_release():
    rows = {
        "a": standing(PI, THERE, None).as_dict(),
        "b": standing(PI, dataclasses.replace(THERE, manifest={}), None).as_dict(),
        "c": standing(PI, Present(), None).as_dict(),
        "d": standing(PI, dataclasses.replace(THERE, armed=Armed("r", "x", None)), None).as_dict(),
    }
    screen = io.StringIO()
    show(Console(file=screen, width=200), rows)
    shown = {line.split()[0]: " ".join(line.split()) for line in screen.getvalue().splitlines()}
    assert list(shown) == ["host", "d", "b", "c", "a"], "what needs a look comes first"
    assert shown["a"] == f"a ok kata@v1 kata@v1 ({RELEASE.id}) pass"
    assert f"drift kata@v1 {RELEASE.id} pass" in shown["b"]
    assert "empty kata@v1 nothing" in shown["c"]
