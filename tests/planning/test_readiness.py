"""Which profile a host could serve, what it lacks, and what is said to bring it."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest

from orchestrator.fleet import probe
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile, ServiceSpec
from orchestrator.planning.readiness import (
    Lack,
    engine_kinds,
    provision_command,
    readiness,
    unsupported,
)
from tests.planning import samples
from tests.planning.docker_hosts import ENGINE, IMAGE

FLEET_SAMPLES = Path(__file__).parents[1] / "fleet" / "samples"
DEBIAN = {"id": "debian", "version": "12", "name": "Debian GNU/Linux 12 (bookworm)"}
KATAGO = {"path": "/usr/games/katago", "version": "1.15.3", "backend": "eigen"}
BARE_PYTHON = {"path": "/usr/bin/python3", "version": "3.11.2"}
PROVISION = "orchestrate provision --limit h"
OLD = "onnxruntime 1.8.1 in /usr/bin/python3 is older than 1.12"
OLD_PYTHON = samples.PYTHON | {"onnxruntime": "1.8.1"}
NO_NUMPY = "numpy is not installed in /usr/bin/python3"
NO_KATAGO = "katago is not installed; name a katago_source in the inventory to have it brought"
SOURCE = {"katago_source": "https://example.org/katago.zip"}
UNIT = ("orchestrate.service",)
RESTART = "sudo systemctl restart orchestrate.service"
NO_UNIT = Lack("there is no orchestrate.service, which the profile restarts", "service", True)
BY_HAND = (
    "Write /etc/systemd/system/orchestrate.service there, which runs ROOT/current/run, or change "
    "`service:` of profile own."
)
ALPINE = {"id": "alpine", "name": "Alpine Linux v3.20"}
COMMAND = EngineSpec("command", run="serve $MODEL")


def host(**variables):
    return Host("h", ("pis",), variables)


def found(machine="pi4", profiles=None, variables=None, **facts):
    """The readiness of a Debian host of a kind of machine."""
    there = samples.facts(machine, **({"distribution": DEBIAN} | facts))
    wanted = samples.profiles() if profiles is None else profiles
    return readiness(host(**(variables or {})), there, {"pis": ("h",)}, wanted)


def own(*wishes, engine=COMMAND):
    return Profile("own", "true", wishes, "own.cfg.j2", engine)


def of_sample(name, **variables):
    facts = json.loads((FLEET_SAMPLES / name / "expected.json").read_text("utf-8"))
    return readiness(host(**variables), probe.from_dict(facts), {}, samples.profiles())


@pytest.mark.parametrize(
    ("machine", "facts", "variables", "serves", "runs"),
    [
        ("pi4", {}, {}, "raspberry-pi, not yet", []),
        ("pi4", {"python": BARE_PYTHON}, {}, "raspberry-pi, not yet", []),
        ("pi4", {"python": samples.PYTHON}, {}, "raspberry-pi", ["onnx int8", "onnx fp32"]),
        ("pi4", {"katago": KATAGO}, {}, "raspberry-pi", ["katago"]),
        (
            "pi4",
            {"katago": KATAGO, "python": samples.PYTHON},
            {},
            "raspberry-pi",
            ["katago", "onnx int8", "onnx fp32"],
        ),
        (
            "pi4",
            {"python": samples.PYTHON, "disk": {"writable": False}},
            {},
            "raspberry-pi, not yet",
            ["onnx int8", "onnx fp32"],
        ),
        ("pi4", {"python": OLD_PYTHON}, {}, "raspberry-pi, not yet", []),
        ("pi4", {"katago": KATAGO}, {"orchestrate_profile": "cpu"}, "cpu", ["katago"]),
        ("rtx", {"python": samples.CUDA_PYTHON}, {}, "gpu-server", ["onnx fp16", "onnx fp32"]),
        ("gtx", {"python": samples.CUDA_PYTHON}, {}, "gpu-server", ["onnx fp32"]),
        ("orin", {}, {}, "jetson, not yet", []),
        ("pc", {"python": samples.PYTHON}, {}, "cpu", ["onnx fp32", "onnx int8"]),
    ],
)
def test_what_a_host_serves_and_runs_now(machine, facts, variables, serves, runs):
    given = found(machine, variables=variables, **facts)
    assert (given.profile + ("" if given.ready else ", not yet"), list(given.runs)) == (
        serves,
        runs,
    )


@pytest.mark.parametrize(
    ("facts", "variables", "lacks", "command"),
    [
        ({"python": samples.PYTHON, "katago": KATAGO}, {}, [], ""),
        (
            {},
            {},
            [Lack(NO_KATAGO, "", True), Lack("there is no python3", "onnxruntime", True)],
            PROVISION,
        ),
        (
            {"python": BARE_PYTHON},
            SOURCE,
            [Lack("katago is not installed", "katago", True), Lack(NO_NUMPY, "onnxruntime", True)],
            PROVISION,
        ),
        ({"python": samples.PYTHON}, {}, [Lack(NO_KATAGO, "", False)], ""),
        (
            {"python": samples.PYTHON},
            SOURCE,
            [Lack("katago is not installed", "katago", False)],
            PROVISION,
        ),
        (
            {"katago": KATAGO, "python": BARE_PYTHON},
            {},
            [Lack(NO_NUMPY, "onnxruntime", False)],
            PROVISION,
        ),
        (
            {"katago": KATAGO, "python": OLD_PYTHON},
            {},
            [Lack(OLD, "onnxruntime", False)],
            PROVISION,
        ),
        (
            {"katago": KATAGO, "python": samples.PYTHON, "disk": {"writable": False}},
            {"orchestrate_root": "/srv/nets"},
            [Lack("the root /srv/nets cannot be written", "base", True)],
            PROVISION,
        ),
        (
            {"katago": KATAGO, "python": samples.PYTHON, "disk": {"writable": False}},
            {},
            [Lack("the root cannot be written", "base", True)],
            PROVISION,
        ),
    ],
)
def test_what_is_missing_and_the_role_that_brings_it(facts, variables, lacks, command):
    given = found("pi4", variables=variables, **facts)
    assert (list(given.lacks), given.command) == (lacks, command)


@pytest.mark.parametrize(
    ("variables", "role"),
    [
        ({"orchestrate_python": "/opt/py/bin/python3"}, ""),
        ({"orchestrate_python": "/opt/orchestrate/venv/bin/python3"}, "onnxruntime"),
        (
            {"orchestrate_python": "/srv/n/venv/bin/python3", "orchestrate_root": "/srv/n"},
            "onnxruntime",
        ),
        (
            {"orchestrate_python": "/opt/orchestrate/venv/bin/python3", "orchestrate_root": "/s"},
            "",
        ),
        ({"orchestrate_python": ""}, "onnxruntime"),
    ],
)
def test_a_python_that_the_operator_names_is_the_operators(variables, role):
    given = found("pi4", variables=variables, katago=KATAGO, python=BARE_PYTHON)
    (lack,) = given.lacks
    assert lack == Lack(NO_NUMPY, role, False)
    if role:
        assert given.command == PROVISION
    else:
        python = variables["orchestrate_python"]
        assert given.command == (
            f"Install it there ({python} -m pip install numpy onnxruntime), or remove "
            "orchestrate_python from the inventory: orchestrate provision then brings it."
        )


def serving(activate=RESTART, wish=None):
    return (replace(own(wish or ArtifactWish("file")), service=ServiceSpec(activate=activate)),)


@pytest.mark.parametrize(
    ("activate", "variables", "facts", "lacks", "command"),
    [
        (RESTART, {}, {}, [NO_UNIT], PROVISION),
        (RESTART, {}, {"units": ["orchestrate-other.service"]}, [NO_UNIT], PROVISION),
        (RESTART, {}, {"units": UNIT}, [], ""),
        ("", {}, {}, [], ""),
        ("sudo systemctl restart other", {}, {}, [], ""),
        ("systemctl --user restart orchestrate", {}, {}, [], ""),
        (
            "sudo systemctl restart nets",
            {"service_name": "nets"},
            {"units": UNIT},
            [Lack("there is no nets.service, which the profile restarts", "service", True)],
            PROVISION,
        ),
        (
            "sudo systemctl restart nets",
            {"service_name": "nets"},
            {"units": ("nets.service",)},
            [],
            "",
        ),
        (RESTART, {"service_enabled": True}, {}, [NO_UNIT], PROVISION),
        (RESTART, {"service_enabled": False}, {}, [], ""),
        (RESTART, {"service_enabled": "No"}, {}, [], ""),
        (RESTART, {}, {"distribution": ALPINE}, [replace(NO_UNIT, role="")], BY_HAND),
        (RESTART, {}, {"system": "FreeBSD"}, [], ""),
        (
            RESTART,
            {},
            {"disk": {"writable": False}},
            [Lack("the root cannot be written", "base", True), NO_UNIT],
            PROVISION,
        ),
    ],
)
def test_the_unit_that_the_profile_restarts(activate, variables, facts, lacks, command):
    given = found("pi4", serving(activate), variables, **facts)
    assert (list(given.lacks), given.command) == (lacks, command)
    assert (given.ready, given.runs) == (not lacks, ("file",))


def test_a_missing_unit_comes_before_missing_engines():
    wish = ArtifactWish("onnx", engine=EngineSpec("onnxruntime"))
    given = found("pi4", serving(wish=wish), python=BARE_PYTHON)
    assert given.lacks == (NO_UNIT, Lack(NO_NUMPY, "onnxruntime", True))


def test_docker_hosts_need_no_unit():
    there = replace(samples.facts("pc"), docker_engine=ENGINE)
    assert readiness(host(), there, {}, serving()).ready


@pytest.mark.parametrize(
    ("sample", "profile", "ready", "roles", "said"),
    [
        ("raspberry-pi-5", "raspberry-pi", True, ["onnxruntime"], PROVISION),
        ("raspberry-pi-3-32-bit", "raspberry-pi", False, ["", ""], "Install a 64-bit system"),
        ("jetson-nano", "jetson", False, ["", "onnxruntime"], PROVISION),
        ("x86-container", "cpu", False, ["", "onnxruntime"], PROVISION),
        ("alpine", "cpu", False, ["", ""], "Not supported: Alpine Linux v3.20; "),
    ],
)
def test_probed_hosts(sample, profile, ready, roles, said):
    given = of_sample(sample)
    assert (given.profile, given.ready) == (profile, ready)
    assert [lack.role for lack in given.lacks if lack.role != "base"] == roles
    assert given.command.startswith(said)


def test_there_are_no_wheels_for_32_bit_arm_but_a_katago_can_be_brought():
    given = of_sample("raspberry-pi-3-32-bit", **SOURCE)
    assert {lack.role for lack in given.lacks} == {"katago", ""}
    assert given.lacks[-1].what == (
        "there is no python3; there are no wheels of ONNX Runtime for armv7l"
    )
    assert given.command == PROVISION


@pytest.mark.parametrize(
    ("facts", "named"),
    [
        ({"distribution": DEBIAN}, ""),
        ({"distribution": {"id": "ubuntu", "version": "18.04"}}, ""),
        ({"distribution": {"id": "raspbian", "version": "10"}}, ""),
        ({"distribution": {"id": "alpine", "name": "Alpine Linux v3.20"}}, "Alpine Linux v3.20"),
        ({"distribution": {"id": "fedora", "version": "41"}}, "fedora 41"),
        ({"distribution": {"id": "linuxmint", "name": "Linux Mint 22"}}, "Linux Mint 22"),
        ({}, "a Linux that does not say which (no os-release)"),
        ({"system": "Darwin"}, "Darwin"),
        ({"system": "FreeBSD", "distribution": {"id": "freebsd"}}, "FreeBSD"),
        ({"system": "FreeBSD", "distribution": {"id": "debian"}}, "FreeBSD"),
    ],
)
def test_systems_that_provisioning_does_not_know(facts, named):
    told = unsupported(samples.facts("pc", **facts))
    assert told == (
        named
        and f"not supported: {named}; provisioning knows Debian, Ubuntu and Raspberry Pi OS. "
        "Install a python3 with numpy and onnxruntime, or a katago, by hand"
    )


def test_nothing_is_brought_where_provisioning_cannot_work():
    given = found("pi4", variables=SOURCE, distribution=ALPINE, disk={"writable": False})
    assert not any(lack.role for lack in given.lacks)
    assert [lack.what for lack in given.lacks] == [
        "the root cannot be written",
        "katago is not installed",
        "there is no python3",
    ]
    assert given.command.startswith("Set orchestrate_root to a folder the user may write")
    assert given.command.count("Not supported: Alpine Linux v3.20;") == 1


def test_on_a_docker_host_engines_come_with_the_image():
    def docker(**facts):
        there = replace(samples.facts("pc", **facts), docker_engine=ENGINE)
        return readiness(host(**SOURCE), there, {}, samples.profiles())

    given = docker()
    assert given.lacks == (
        Lack("katago is not installed", "", True),
        Lack("there is no python3", "", True),
    )
    assert given.command == (
        f"Put it into the image {IMAGE}, or name another with orchestrate_image."
    )
    assert docker(python=samples.PYTHON).ready
    (volume,) = docker(python=samples.PYTHON, katago=KATAGO, disk={"writable": False}).lacks
    assert volume == Lack("the volume of the container orchestrate cannot be written", "", True)


def test_a_mistake_in_the_input_is_told_in_the_same_words_for_every_host():
    given = found(variables={"orchestrate_profile": "raspbery-pi"})
    assert (given.profile, given.ready, given.runs) == ("", False, ())
    assert given.lacks == (
        Lack("orchestrate_profile: there is no profile 'raspbery-pi'", "", True),
    )
    assert given.command == "Did you mean 'raspberry-pi'?"


@pytest.mark.parametrize(
    ("profiles", "what"),
    [
        ((), "no profile matches"),
        (
            (replace(own(), when="facts.gpus"),),
            "no profile matches (own: no match: facts.gpus)",
        ),
    ],
)
def test_a_host_that_no_profile_is_for(profiles, what):
    given = found(profiles=profiles)
    assert given.lacks == (Lack(what, "", True),)
    assert given.command.startswith("Add a profile to orchestrate.yml")


@pytest.mark.parametrize(
    ("profile", "runs", "kinds", "why"),
    [
        (own(ArtifactWish("file")), ("file",), ("command",), ""),
        (
            own(ArtifactWish("tensorrt", "fp16"), engine=EngineSpec("katago")),
            (),
            (),
            "tensorrt fp16: no engine is known for it",
        ),
        (
            own(ArtifactWish("onnx", "fp16"), engine=EngineSpec("onnxruntime")),
            (),
            ("onnxruntime",),
            "onnx fp16: no fast FP16: no GPU, and a CPU without FP16 arithmetic",
        ),
        (
            own(ArtifactWish("onnx", engine=EngineSpec("katago"))),
            (),
            ("katago",),
            "onnx: katago does not run onnx",
        ),
        (
            own(ArtifactWish("litert"), engine=EngineSpec("litert")),
            (),
            (),
            "litert: engine kind litert is not supported yet",
        ),
        (
            own(ArtifactWish("katago", engine=EngineSpec("katago", path="/opt/k"))),
            ("katago",),
            ("katago",),
            "",
        ),
        (
            own(ArtifactWish("onnx", "fp32", EngineSpec("onnxruntime", path="/opt/py"), "9x9")),
            ("onnx fp32 9x9",),
            ("onnxruntime",),
            "",
        ),
    ],
)
def test_profiles_of_the_operators_own(profile, runs, kinds, why):
    given = found("pi4", (profile,), python=samples.PYTHON)
    assert given.runs == runs
    assert given.ready == bool(runs)
    nothing = f"nothing that profile own wishes for runs here ({why})"
    assert [lack.what for lack in given.lacks] == ([nothing] if why else [])
    assert engine_kinds(profile) == kinds
    if why:
        assert given.command == "Add what runs here to the artifacts of profile own."


def test_the_engines_of_the_shipped_profiles_in_the_order_of_their_wishes():
    assert {engine_kinds(profile) for profile in samples.profiles()} == {("katago", "onnxruntime")}


def test_a_format_without_an_engine_is_no_lack_of_the_host():
    assert not [lack for lack in found("rtx").lacks if "tensorrt" in lack.what.lower()]


def test_one_and_several_hosts_to_provision():
    assert provision_command(["pi-3"]) == "orchestrate provision --limit pi-3"
    assert provision_command(["pi-3", "pi-4"]) == "orchestrate provision --limit 'pi-3,pi-4'"


def test_programs_get_all_of_it():
    assert found(python=samples.PYTHON).as_dict() == {
        "profile": "raspberry-pi",
        "ready": True,
        "runs": ["onnx int8", "onnx fp32"],
        "lacks": [{"what": NO_KATAGO, "role": "", "blocking": False}],
        "command": "",
    }
