"""Which releases are removed after a commit."""

from __future__ import annotations

import dataclasses

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.planning.garbage import superseded
from orchestrator.planning.present import Armed, Present
from orchestrator.planning.way_back import way_back


def commit(release, command="deploy", verdict="pass"):
    return {"what": "commit", "command": command, "release": release, "verdict": verdict}


def present(*audit, releases="abcde", **more):
    return Present(releases=tuple(releases), audit=audit, **more)


ALL = tuple(commit(release) for release in "abcde")


@pytest.mark.parametrize(
    ("state", "active", "keep", "removed"),
    [
        (present(releases=""), "a", 3, ""),
        (present(commit("a"), releases="a"), "a", 3, ""),
        (present(*ALL), "e", 3, "ab"),
        (present(*ALL), "e", 2, "abc"),
        (present(*ALL), "e", 9, ""),
        # The way back stays even when only one is to be kept.
        (present(*ALL), "e", 1, "abc"),
        (present(*ALL), "e", 0, "abc"),
        # The line of the commit is not written yet.
        (present(*ALL[:4]), "e", 3, "ab"),
        # It was not staged yet.
        (present(*ALL[:4], releases="abcd"), "e", 3, "ab"),
        # What never passed, or failed since, goes before what passed long ago.
        (present(commit("a"), commit("b"), commit("c")), "c", 3, "de"),
        (present(*ALL, commit("d", verdict="fail")), "e", 3, "da"),
        # An old release that was deployed again is young.
        (present(*ALL, commit("a"), commit("e")), "e", 3, "bc"),
        # After a rollback the way back lies further down, not at what was left.
        (present(*ALL, commit("b", "rollback")), "b", 1, "cde"),
        # Before that line is written, what it was rolled back from stays too.
        (present(*ALL, current="b"), "b", 1, "cd"),
        # Neither end of an unconfirmed switch, nor what current points at.
        (present(*ALL, armed=Armed("r1", "b", "a")), "e", 2, "c"),
        (present(*ALL, armed=Armed("r1", "b", None)), "e", 2, "ac"),
        (present(*ALL, current="a"), "e", 1, "bc"),
    ],
)  # fmt: skip
def test_what_is_removed(state, active, keep, removed):
    assert "".join(superseded(state, active, keep)) == removed


NAMES = st.sampled_from("abcdef")
LINES = st.builds(
    commit, NAMES, st.sampled_from(["deploy", "rollback"]), st.sampled_from(["pass", "fail"])
) | st.fixed_dictionaries({"what": st.just("revert"), "release": NAMES | st.none() | st.just(7)})


@given(
    audit=st.lists(LINES, max_size=14),
    releases=st.sets(NAMES),
    active=NAMES,
    keep=st.integers(0, 5),
    armed=st.none() | st.builds(Armed, st.just("r1"), NAMES, st.none() | NAMES),
    committed=st.booleans(),
)
def test_what_is_of_use_is_never_removed(audit, releases, active, keep, armed, committed):
    lines = (*audit, commit(active)) if committed else tuple(audit)
    state = Present(active, tuple(sorted(releases | {active})), audit=lines, armed=armed)
    gone = superseded(state, active, keep)
    assert gone == superseded(state, active, keep)
    assert len(set(gone)) == len(gone)
    assert set(gone) <= set(state.releases)
    needed = {active, way_back(state)} | ({armed.release, armed.back} if armed else set())
    assert not needed & set(gone)
    left = set(state.releases) - set(gone)
    extra = len({armed.release, armed.back} - {None}) if armed else 0
    assert len(left) <= max(keep, 2 + (not committed)) + extra
    assert len(left) >= min(keep, len(state.releases))
    # Nothing that passed is removed while something stays that is neither needed nor passed.
    useless = {r for r in left - needed if not state.passed(r)}
    assert not (committed and useless and any(state.passed(r) for r in gone))
    # Having removed it, there is nothing more to remove, and the way back is the same.
    after = dataclasses.replace(state, releases=tuple(sorted(left)))
    assert superseded(after, active, keep) == ()
    assert way_back(after) == way_back(state)
