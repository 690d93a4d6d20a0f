"""Reading what the helper on a host reports."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from orchestrator.rollout.host_state import host_state
from orchestrator.targets.commands import Answer

DIGEST = "ab" * 32


def lines(*texts):
    return [Answer(*text.split(" ", 1)) for text in texts]


def test_everything_that_is_reported_is_read():
    state = host_state(
        lines(
            "root /r",
            'lock {"who":"me"}',
            "current net-v1-x",
            'manifest {"config":"rpi.cfg",',
            'manifest "model":"net"}',
            "config a = 1",
            "config ",
            "release net-v1-x",
            "release net-v2-y",
            f"blob -r--r--r-- 2 0 0 1234 Jan  1 12:00 store/sha256/ab/{DIGEST}",
            f"blob -rw-r--r-- 1 0 0 99 Nov 30  2025 store/sha256/ab/{DIGEST}.part",
            'audit {"what":"commit"}',
        )
    )
    assert state.root == "/r"
    assert state.lock == '{"who":"me"}'
    present = state.present
    assert present.current == "net-v1-x"
    assert present.manifest == {"config": "rpi.cfg", "model": "net"}
    assert present.config == "a = 1\n\n"
    assert present.releases == ("net-v1-x", "net-v2-y")
    assert present.stored == {DIGEST}
    assert present.parts == {DIGEST: 99}
    assert present.audit == ({"what": "commit"},)


def test_audit_lines_that_are_told_twice_keep_their_place():
    told = [{"what": "commit", "n": 1}, {"what": "commit", "n": 3}]
    last = [{"what": "commit", "n": 1}, {"what": "revert", "n": 2}, {"what": "commit", "n": 3}]
    state = host_state([Answer("audit", json.dumps(line)) for line in (*told, *last)])
    assert [line["n"] for line in state.present.audit] == [1, 2, 3]


TAGS = ["root", "lock", "current", "manifest", "config", "release", "blob", "audit", "odd"]


@given(st.lists(st.builds(Answer, st.sampled_from(TAGS), st.text())))
def test_nothing_that_is_reported_makes_it_fail(answers):
    host_state(answers)
