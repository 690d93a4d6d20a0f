from dataclasses import replace

import pytest

from orchestrator.errors import InventoryError, SelectionError
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile
from orchestrator.planning.profiles import choose_profile
from tests.planning import samples

GROUPS = {"lab": ("pi-1",), "empty": ()}
PI = Host("pi-1", ("lab",), {"site": "tokyo"})


def named(name: str, when: str) -> Profile:
    return Profile(name, when, (ArtifactWish("onnx"),), "x.cfg.j2", EngineSpec("onnxruntime"))


def fates(*whens: str, host: Host = PI, machine: str = "pi4") -> list[tuple[str, str]]:
    profiles = [named(f"p{n}", when) for n, when in enumerate(whens)]
    choice = choose_profile(host, samples.facts(machine), GROUPS, profiles)
    return [(f.fate, f.reason) for f in choice.fates]


@pytest.mark.parametrize(
    ("machine", "profile"),
    [("pi4", "raspberry-pi"), ("orin", "jetson"), ("rtx", "gpu-server"), ("gtx", "gpu-server"),
     ("pc", "cpu")],
)  # fmt: skip
def test_shipped_profiles_fit_their_machines(machine, profile):
    choice = choose_profile(PI, samples.facts(machine), GROUPS, samples.profiles())
    assert choice.profile.name == profile
    assert [f.profile for f in choice.fates] == [p.name for p in samples.profiles()]
    assert [f.fate for f in choice.fates].count("chosen") == 1


@pytest.mark.parametrize(
    "when",
    [
        "true",
        "host.name == 'pi-1'",
        "'lab' in host.groups",
        "host.name in groups.lab",
        "host.name in groups['lab']",
        "host.vars.site == 'tokyo'",
        "host.vars.rack | default('none') == 'none'",
        "facts.memory.total_mb >= 3000 and facts.arch == 'aarch64'",
        "not facts.gpus",
        "facts.cpu.cores in range(1, 9)",
    ],
)
def test_condition_holds(when):
    assert fates(when) == [("chosen", when)]


def test_first_match_wins_and_every_fate_is_told():
    assert fates("false", "true", "true") == [
        ("no match", "false"),
        ("chosen", "true"),
        ("not needed", "p1 came first"),
    ]


@pytest.mark.parametrize(
    ("when", "reason"),
    [
        ("facts.gpus[0].compute_capability > 7", "no element 0: the list has 0"),
        ("host.vars.sit == 'x'", "the mapping has no 'sit', did you mean 'site'?"),
        ("host.name in groups.labs", "the mapping has no 'labs', did you mean 'lab'?"),
        ("facts.arch > 3", "not supported between"),
        ("1 / 0", "division by zero"),
        ("range(10 ** 9) | length > 1", "steps in one rendering"),
        ("9 ** 99999 > 1", "a power of more than"),
        ("('a' * 10 ** 9) == 'b'", "a product of more than"),
        ("facts.__class__", "unsafe"),
        ("host.vars.update(site='x')", "unsafe"),
    ],
)
def test_undecidable_condition_is_told_and_passed_over(when, reason):
    first, second = fates(when, "true")
    assert first[0] == "error"
    assert reason in first[1]
    assert when in first[1]
    assert second == ("chosen", "true")


def test_no_match_says_what_was_tried():
    with pytest.raises(SelectionError) as caught:
        fates("false", "facts.gpus")
    assert caught.value.message == (
        "no profile matches pi-1 (p0: no match: false; p1: no match: facts.gpus)"
    )
    assert caught.value.as_dict()["code"] == "no_profile_matches"


def test_forced_profile():
    host = replace(PI, vars={"orchestrate_profile": "cpu"})
    choice = choose_profile(host, samples.facts("pi4"), GROUPS, samples.profiles())
    assert choice.profile.name == "cpu"
    assert choice.fates[-1].reason == "forced by orchestrate_profile"


def test_forced_profile_that_does_not_exist():
    host = replace(PI, vars={"orchestrate_profile": "raspbery-pi"})
    with pytest.raises(InventoryError) as caught:
        choose_profile(host, samples.facts(), GROUPS, samples.profiles())
    assert "host pi-1: orchestrate_profile: there is no profile 'raspbery-pi'" in str(caught.value)
    assert caught.value.hint == "Did you mean 'raspberry-pi'?"
