"""Which release a rollback goes to, from the host's audit log."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.present import Present
from orchestrator.planning.way_back import release_named, way_back


def commit(release, command="deploy", verdict="pass"):
    return {"what": "commit", "command": command, "release": release, "verdict": verdict}


def verdict(release, word):
    return {"what": "verify", "command": "verify", "release": release, "verdict": word}


def present(current, *audit, releases=("a", "b", "c")):
    return Present(current=current, releases=releases, audit=audit)


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (present(None), None),
        (present("a", commit("a")), None),
        (present("b", commit("a"), commit("b")), "a"),
        (present("c", commit("a"), commit("b"), commit("c")), "b"),
        # A second rollback goes further back, and not forward to what was left.
        (present("b", commit("a"), commit("b"), commit("c"), commit("b", "rollback")), "a"),
        (present("a", commit("a"), commit("b"), commit("a", "rollback")), None),
        # A deploy of an old release puts it on top: undoing that means what was there before.
        (present("a", commit("a"), commit("b"), commit("a")), "b"),
        # The active one never passed (a run was cut off): the last that did.
        (present("c", commit("a"), commit("b")), "b"),
        # What failed since is no way back, nor is what is gone from the host.
        (present("b", commit("a"), commit("b"), verdict("a", "fail")), None),
        (present("b", commit("a"), commit("b"), releases=("b",)), None),
        # A revert is no deploy.
        (present("a", commit("a"), verdict("b", "fail"), verdict("a", "pass")), None),
        (present("b", {"what": "commit", "release": 7}, {}, commit("a"), commit("b")), "a"),
    ],
)
def test_the_way_back(state, expected):
    assert way_back(state) == expected


RELEASES = ("a", "b", "c", "d")
LINES = st.builds(
    commit, st.sampled_from(RELEASES), st.sampled_from(["deploy", "rollback"])
) | st.builds(verdict, st.sampled_from(RELEASES), st.sampled_from(["pass", "fail"]))


@given(st.lists(LINES, max_size=12), st.sampled_from([None, *RELEASES]))
def test_it_is_never_the_active_one_and_always_one_that_passed(audit, current):
    state = Present(current=current, releases=RELEASES, audit=tuple(audit))
    back = way_back(state)
    assert back != current or back is None
    assert back is None or state.passed(back)


@given(st.permutations(RELEASES))
def test_rolling_back_again_and_again_ends(order):
    audit = [commit(release) for release in order]
    current, visited = order[-1], []
    while back := way_back(Present(current=current, releases=RELEASES, audit=tuple(audit))):
        visited.append(back)
        audit.append(commit(back, "rollback"))
        current = back
    assert visited == list(reversed(order[:-1]))


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("net-v1-aaa", "net-v1-aaa"),
        ("net@v1", "net-v1-bbb"),
        ("net@v1-rc", "net-v1-rc-ccc"),
        ("net@v2", None),
        ("net@v3", None),
        ("", None),
    ],
)
def test_a_release_is_named_by_id_or_version(name, expected):
    there = ("net-v1-aaa", "net-v1-bbb", "net-v1-rc-ccc", "net-v3-ddd")
    audit = (*(commit(r) for r in there), verdict("net-v3-ddd", "fail"))
    assert release_named(present("x", *audit, releases=there), name) == expected
