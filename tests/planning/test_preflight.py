"""What on a host speaks against its plan."""

from __future__ import annotations

import dataclasses

import pytest

from orchestrator.planning.plan import plan_host
from orchestrator.planning.preflight import Problem, preflight, preflight_error
from orchestrator.planning.present import Present
from tests.planning import samples
from tests.planning.plans import inputs, on_host

NOW = 1_800_000_000.0
NEVER_DEPLOYED = plan_host(inputs())
RELEASE = NEVER_DEPLOYED.release
MODEL = RELEASE.blobs[0]
MEBIBYTES = -(-RELEASE.size // 2**20)
FILES = len(RELEASE.texts) + 2 * len(RELEASE.blobs)


def plan(present=None):
    return dataclasses.replace(NEVER_DEPLOYED, present=present) if present else NEVER_DEPLOYED


def facts(**changes):
    return samples.facts("pi4", **{"clock": int(NOW)} | changes)


def found(the_plan, the_facts, now=NOW):
    return [(p.what, p.blocks, p.message) for p in preflight(the_plan, the_facts, now=now)]


def test_a_healthy_host_has_no_problems():
    assert preflight(plan(), facts(), now=NOW) == ()


FREE, FIT = "MiB are free at the root", "more files fit on the file system of the root"


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"disk": {"free_mb": MEBIBYTES}},
            ("space", True, f"{MEBIBYTES} {FREE}, {MEBIBYTES + 1} MiB are needed"),
        ),
        (
            {"disk": {"free_mb": 0}},
            ("space", True, f"0 {FREE}, {MEBIBYTES + 1} MiB are needed"),
        ),
        (
            {"disk": {"free_mb": MEBIBYTES + 1}},
            ("space", False, "1 MiB will be left free at the root"),
        ),
        ({"disk": {"free_mb": MEBIBYTES + 32}}, None),
        ({"disk": {"free_inodes": None}}, None),
        ({"disk": {"free_inodes": 24 + FILES}}, None),
        (
            {"disk": {"free_inodes": 23 + FILES}},
            ("inodes", True, f"{23 + FILES} {FIT}, {24 + FILES} are needed"),
        ),
        ({"disk": {"writable": False}}, ("permission", True, "the root cannot be written")),
        ({"memory": {"available_mb": 124}}, None),
        ({"memory": {"available_mb": 0}}, None),
        (
            {"memory": {"available_mb": 123}},
            ("memory", False, "123 MiB of RAM are free, the model needs about 124"),
        ),
        ({"thermal": {"temperature_c": 79.9}}, None),
        ({"thermal": {"temperature_c": 80.0}}, ("temperature", False, "the host is 80 °C")),
        (
            {"thermal": {"temperature_c": 70.0, "throttled": True, "detail": "under-voltage"}},
            ("temperature", False, "the host is throttled (under-voltage)"),
        ),
        (
            {"thermal": {"temperature_c": 85.2, "throttled": True}},
            ("temperature", False, "the host is 85 °C, throttled"),
        ),
        ({"clock": int(NOW) + 300}, None),
        ({"clock": 0}, None),
        ({"clock": int(NOW) + 301}, ("clock", False, "its clock is 5 min ahead")),
        ({"clock": int(NOW) - 11_100}, ("clock", False, "its clock is 3 h 5 min behind")),
        ({"clock": 946684800}, ("clock", False, "its clock is 9876 days behind")),
    ],
)
def test_one_thing_that_is_wrong(changes, expected):
    assert found(plan(), facts(**changes)) == ([expected] if expected else [])


def test_the_manifest_says_what_memory_a_model_needs():
    version = samples.version(samples.artifact(memory_mb=200))
    hungry = plan_host(inputs(version=version))
    (problem,) = preflight(hungry, facts(memory={"available_mb": 199}), now=NOW)
    assert problem.message == "199 MiB of RAM are free, the model needs 200"


@pytest.mark.parametrize(
    ("lacks", "message"),
    [(("mv -T",), "mv -T is missing"), (("mv -T", "awk"), "mv -T, awk are missing")],
)
def test_programs_that_are_missing(lacks, message):
    assert found(plan(Present(lacks=lacks)), facts()) == [("runtime", True, message)]


def test_what_is_on_the_host_needs_no_room_again():
    there = plan_host(inputs(present=Present(stored=frozenset(b.sha256 for b in RELEASE.blobs))))
    files = 24 + len(RELEASE.texts)
    tight = facts(disk={"free_mb": 33, "free_inodes": files})
    assert found(there, tight) == []
    half = plan_host(inputs(present=Present(parts={MODEL.sha256: MODEL.size // 2})))
    assert found(half, facts(disk={"free_mb": MEBIBYTES - 2})) != []
    assert found(half, facts(disk={"free_mb": MEBIBYTES - MODEL.size // 2**21 + 40})) == []


def test_a_model_that_was_replaced_may_have_to_be_sent_again():
    replaced = plan_host(inputs(present=on_host(RELEASE, replaced=(MODEL.name,))))
    assert replaced.steps
    ((what, blocks, _),) = found(replaced, facts(disk={"free_mb": 9}))
    assert (what, blocks) == ("space", True)
    assert found(replaced, facts(disk={"free_mb": 9 + 34})) == []
    gone = plan_host(inputs(present=on_host(RELEASE, replaced=(MODEL.name,), stored=frozenset())))
    assert found(gone, facts(disk={"free_mb": MEBIBYTES + 32})) == []


@pytest.mark.parametrize("manifest", [{}, {"files": 3}, {"files": {MODEL.name: 1}}])
def test_a_damaged_manifest_says_nothing_of_what_was_replaced(manifest):
    damaged = plan(on_host(RELEASE, replaced=(MODEL.name, "x"), manifest=manifest))
    assert found(damaged, facts()) == []


def test_a_host_that_nothing_is_done_to_has_none():
    unchanged = plan_host(inputs(present=on_host(RELEASE, lacks=("mv -T",))))
    hopeless = facts(disk={"free_mb": 0, "free_inodes": 0, "writable": False}, clock=1)
    assert found(unchanged, hopeless) == []


def test_a_host_to_be_verified_needs_room_for_its_audit_line_only():
    present = on_host(RELEASE, verdict=None)
    assert found(plan_host(inputs(present=present)), facts(disk={"free_mb": 33})) == []
    full = plan_host(inputs(present=present))
    assert found(full, facts(disk={"free_mb": 0, "free_inodes": 24})) == [
        ("space", True, "0 MiB are free at the root, 1 MiB are needed")
    ]


def test_what_blocks_comes_first():
    wrong = facts(disk={"free_mb": 0, "writable": False}, clock=1, thermal={"temperature_c": 99.0})
    problems = preflight(plan(Present(lacks=("awk",))), wrong, now=NOW)
    assert [p.what for p in problems] == ["permission", "runtime", "space", "temperature", "clock"]
    assert [p.blocks for p in problems] == [True, True, True, False, False]


SPACE = Problem("space", "1 MiB is free", "Make room.", blocks=True)
CLOCK = Problem("clock", "its clock is 7 min ahead", "Set it.", blocks=False)
OTHER = Problem("permission", "the root cannot be written", "Make room.", blocks=True)


@pytest.mark.parametrize(
    ("problems", "expected"),
    [
        ((), None),
        ((CLOCK,), None),
        ((SPACE, CLOCK), ("space", "pi-1 cannot take the release: 1 MiB is free", "Make room.")),
        (
            (SPACE, OTHER),
            (
                "preflight",
                "pi-1 cannot take the release: 1 MiB is free; the root cannot be written",
                "Make room.",
            ),
        ),
    ],
)
def test_one_error_for_all_that_blocks(problems, expected):
    error = preflight_error("pi-1", problems)
    assert expected == (error and tuple(error.as_dict().values()))
