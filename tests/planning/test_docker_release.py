"""Releases and plans of Docker hosts, from the facts to what is told."""

from __future__ import annotations

import dataclasses
import json

import pytest

from orchestrator.errors import ModelError, SelectionError
from orchestrator.fleet import probe
from orchestrator.fleet.profile import DockerSpec, ServiceSpec
from orchestrator.planning.explain import container_switch, explain, plan_document
from orchestrator.planning.plan import plan_host
from orchestrator.planning.preflight import preflight
from orchestrator.planning.release import DockerFiles, build, read
from tests.planning import samples
from tests.planning.docker_hosts import ENGINE, IMAGE, IMAGE_ID, NVIDIA, docker_inputs, facts
from tests.planning.plans import ORT, inputs, on_host
from tests.planning.test_release import ENGINE as PYTHON
from tests.planning.test_release import PROFILE

SPEC = DockerSpec(ports=("127.0.0.1:80:80",), expose=(7000,), cpus=1.5, gpu_memory_mb=900)
FILES = DockerFiles(SPEC, IMAGE, IMAGE_ID, compose="services: {}\n", turn="#!/bin/sh\n")


def made(docker=FILES, artifact=None, **changes):
    artifact = artifact or samples.artifact(golden=samples.GOLDEN)
    profile = dataclasses.replace(PROFILE, **changes)
    return build(
        samples.version(artifact), profile, artifact, PYTHON,
        config="cpu.cfg", config_text="a = 1\n", docker=docker,
    )  # fmt: skip


def test_files_of_a_release():
    release = made()
    assert list(release.texts) == ["cpu.cfg", "docker-compose.yml", "turn", "manifest.json"]
    assert [b.name for b in release.blobs] == ["net-fp32.onnx", "golden.npz"]
    assert release.is_docker
    assert not release.has_service


def test_manifest_has_image_and_section():
    release = made()
    assert release.manifest["image"] == {"reference": IMAGE, "id": IMAGE_ID}
    assert release.manifest["docker"] == {
        "compose": "docker-compose.yml.j2", "strategy": "auto", "ports": ["127.0.0.1:80:80"],
        "expose": [7000], "network": "", "gpus": "auto", "gpu_memory_mb": 900, "memory_mb": None,
        "cpus": 1.5, "watch": 10.0, "drain": 30.0, "front": "",
    }  # fmt: skip
    assert json.loads(release.texts["manifest.json"]) == release.manifest


def test_id_is_the_same_on_every_day():
    """A release that hosts have must not get another id by a change of the code."""
    assert made().id == "kata-v1-3bb41d29305f"


@pytest.mark.parametrize("service", [ServiceSpec(), ServiceSpec(health="./ok", timeout=5.0)])
def test_read_gives_back_what_build_made(service):
    release = made(service=service)
    again = read(release.id, release.texts["manifest.json"])
    for name in ("id", "docker", "image", "service", "manifest", "config", "blobs", "is_docker"):
        assert getattr(again, name) == getattr(release, name)


def test_other_hosts_have_none_of_it():
    release = plan_host(inputs()).release
    assert (release.docker, release.image, release.is_docker) == (None, None, False)
    assert not {"docker", "image"} & set(release.manifest)
    profile = dataclasses.replace(ORT, docker=SPEC)
    assert plan_host(inputs(profiles=(profile,))).release.id == release.id
    assert release.id == "kata-v1-acc38cdb3f00"


@pytest.mark.parametrize(
    "docker",
    [
        dataclasses.replace(FILES, spec=dataclasses.replace(SPEC, watch=11.0)),
        dataclasses.replace(FILES, image_id="sha256:" + "2e" * 32),
        dataclasses.replace(FILES, compose="services: {a: {}}\n"),
        dataclasses.replace(FILES, turn="#!/bin/bash\n"),
        None,
    ],
)
def test_any_other_input_makes_another_id(docker):
    assert made(docker).id != made().id


@pytest.mark.parametrize("name", ["docker-compose.yml", "turn"])
def test_two_files_of_the_same_name(name):
    with pytest.raises(ModelError, match="have the same name"):
        made(artifact=samples.artifact(filename=name))


def test_remembered_facts_are_those_that_were_found():
    """As `plan --offline` reads them."""
    there = facts("rtx", dataclasses.replace(NVIDIA, cdi=("nvidia.com/gpu=all",)))
    assert probe.from_dict(json.loads(json.dumps(probe.to_dict(there)))) == there


def after(docker=None, *, docker_then=None, then=None, now=None):
    """The plan of a host on which an earlier plan was carried out."""
    before = plan_host(docker_inputs(docker_then or docker, facts=then or facts())).release
    return plan_host(docker_inputs(docker, facts=now or facts(), present=on_host(before)))


def test_the_same_again_is_unchanged():
    plan = after()
    assert (plan.action, container_switch(plan)) == ("unchanged", "")


OTHER_ID = "sha256:" + "2e" * 32
OTHER = IMAGE.replace("ab", "cd")


@pytest.mark.parametrize(
    ("before", "now", "reason"),
    [
        ({}, {"image": OTHER, "image_id": OTHER_ID}, f"the image changes: {IMAGE} → {OTHER}"),
        (
            {"image": "nets:1"},
            {"image": "nets:1", "image_id": OTHER_ID},
            "the image changes: nets:1 (sha256:1d1d1d1d1d1d) → nets:1 (sha256:2e2e2e2e2e2e)",
        ),
        ({}, {"container": "go"}, "the golden answers or docker-compose.yml or turn changes"),
    ],
)
def test_reasons_name_the_image(before, now, reason):
    then = facts("pc", dataclasses.replace(ENGINE, **before))
    plan = after(then=then, now=facts("pc", dataclasses.replace(ENGINE, **now)))
    assert plan.reasons == (reason,)


def test_reasons_name_the_section():
    assert after(DockerSpec(drain=0.0), docker_then=DockerSpec()).reasons == ("docker changes",)


BESIDE = "new container beside the old one (blue-green)"
FIRST = (
    "the old container is stopped first (recreate): 3 x 124 MiB do not fit into the RAM's 300 MiB"
)


@pytest.mark.parametrize(("total", "told"), [(4000, BESIDE), (300, FIRST)])
def test_a_plan_says_which_container_comes_first(total, told):
    there = facts(memory={"total_mb": total})
    plan = after(DockerSpec(drain=0.0), docker_then=DockerSpec(), now=there)
    assert container_switch(plan) == told
    document = plan_document(plan)
    assert (document["strategy"], document["strategy_reason"]) == (
        plan.strategy, plan.strategy_reason,
    )  # fmt: skip
    assert document["image"] == {"reference": IMAGE, "id": IMAGE_ID}
    before = plan_host(docker_inputs()).release
    asked = docker_inputs(DockerSpec(drain=0.0), facts=there, present=on_host(before))
    lines = explain(asked).lines
    assert f"  switch    {told}" in lines
    assert f"  image     {IMAGE}, sha256:1d1d1d1d1d1d (Docker Engine 27.3.1)" in lines


def test_nothing_is_said_of_a_first_container_or_of_other_hosts():
    first = plan_host(docker_inputs())
    assert first.strategy == "blue-green"
    assert container_switch(first) == ""
    assert plan_document(first)["strategy"] is None
    assert not any("switch  " in line for line in explain(docker_inputs()).lines)
    elsewhere = plan_host(inputs())
    assert (elsewhere.strategy, elsewhere.strategy_reason) == ("", "")
    assert "strategy" not in plan_document(elsewhere)
    assert not any("  image" in line for line in explain(inputs()).lines)


@pytest.mark.parametrize("python", [{"onnxruntime": ""}, {"path": ""}])
def test_what_is_missing_belongs_into_the_image(python):
    there = facts(python=samples.PYTHON | python)
    with pytest.raises(SelectionError) as caught:
        plan_host(docker_inputs(facts=there))
    assert caught.value.hint.startswith(f"Put it into the image {IMAGE}")
    with pytest.raises(SelectionError) as caught:
        plan_host(inputs(facts=samples.facts(python=samples.PYTHON | python)))
    assert "image" not in caught.value.hint


def problems(docker=None, engine=ENGINE, arch="x86_64", lacks=()):
    there = facts("pc", engine, arch=arch)
    plan = plan_host(docker_inputs(docker, facts=there))
    plan = dataclasses.replace(plan, present=dataclasses.replace(plan.present, lacks=lacks))
    return preflight(plan, there, now=0.0)


def test_a_healthy_docker_host_has_no_problems():
    assert problems() == ()
    assert problems(DockerSpec(gpus="all", memory_mb=248), NVIDIA) == ()


def test_gpus_that_the_engine_does_not_offer():
    [problem] = problems(DockerSpec(gpus="all"))
    assert (problem.what, problem.blocks) == ("no_gpu_runtime", True)
    assert "NVIDIA Container Toolkit" in problem.hint
    assert problems(DockerSpec(gpus="auto")) == ()


@pytest.mark.parametrize(
    ("machine", "image", "fits"),
    [
        ("x86_64", "amd64", True),
        ("x86_64", "386", True),
        ("x86_64", "arm64", False),
        ("aarch64", "arm64", True),
        ("aarch64", "arm", True),
        ("aarch64", "amd64", False),
        ("armv7l", "arm", True),
        ("armv7l", "arm64", False),
        ("riscv64", "riscv64", True),
        ("riscv64", "amd64", False),
        ("x86_64", "", True),
        ("", "amd64", True),
    ],
)
def test_architecture_of_the_image(machine, image, fits):
    found = problems(engine=dataclasses.replace(ENGINE, image_arch=image), arch=machine)
    assert [(p.what, p.blocks) for p in found] == ([] if fits else [("wrong_architecture", True)])
    if not fits:
        assert f"is for {image}, the machine is {machine}" in found[0].message


def test_a_container_too_small_for_engine_and_benchmark():
    [problem] = problems(DockerSpec(memory_mb=247))
    assert (problem.what, problem.blocks) == ("memory", False)
    assert problem.message.startswith("the container may take 247 MiB")
    assert problem.message.endswith("need about 248")


def test_programs_are_missing_in_the_image():
    [problem] = problems(lacks=("sha256sum",))
    assert problem.hint.endswith("in the image.")


@pytest.mark.parametrize("ports", [{"ports": ("127.0.0.1:80:80",)}, {"expose": (80,)}])
def test_an_engine_that_listens_on_no_port(ports):
    [problem] = problems(DockerSpec(**ports))
    assert (problem.what, problem.blocks) == ("ports", False)
    assert "onnxruntime is asked on its stdin" in problem.message
