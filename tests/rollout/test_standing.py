"""A host at a glance."""

from __future__ import annotations

import hashlib

import pytest

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


@pytest.mark.parametrize(
    ("lock", "note"),
    [
        ('{"who":"me@here","since":"noon","command":"deploy"}', "locked by me@here since noon"),
        ("damaged", "locked"),
    ],
)
def test_a_lock_is_told(lock, note):
    assert standing(Host("pi-1"), Present(), lock).notes[0].startswith(note)
