"""The compose file of a Docker host, and which container comes first."""

from __future__ import annotations

import dataclasses
import os
import subprocess
from typing import Any

import pytest
import yaml

from orchestrator.errors import InventoryError, SettingsError, TemplateError
from orchestrator.fleet.facts import Gpu
from orchestrator.fleet.profile import DockerSpec, EngineSpec, ServiceSpec
from orchestrator.planning.containers import compose_scripts, gpus, inside, strategy
from orchestrator.planning.plan import plan_host
from orchestrator.planning.release import TURN
from tests.needs import needs_program
from tests.planning import samples
from tests.planning.docker_hosts import (
    CDI,
    CDI_EACH,
    COMPOSE,
    ENGINE,
    IMAGE,
    IMAGE_ID,
    NVIDIA,
    SHIPPED,
    docker_inputs,
    facts,
    shipped_templates,
)
from tests.planning.plans import ORT

KATAGO = {"path": "/opt/katago/katago", "version": "1.18.1", "backend": "eigen"}
RTX = ("rtx", {"katago": KATAGO | {"backend": "cuda"}})
RUN = EngineSpec("command", run='./serve "$MODEL" --cost $5')
LIMITED = DockerSpec(memory_mb=1024, cpus=2.5)


def rendered(docker: DockerSpec | None = None, **changes) -> dict[str, Any]:
    release = plan_host(docker_inputs(docker, **changes)).release
    return yaml.safe_load(release.texts["docker-compose.yml"])


def engine_of(docker: DockerSpec | None = None, **changes) -> dict[str, Any]:
    return rendered(docker, **changes)["services"]["engine"]


def with_profile(docker: DockerSpec | None = None, **changes):
    return (dataclasses.replace(ORT, docker=docker or DockerSpec(), **changes),)


KATAGO_GTP = "katago gtp"
ENGINES = {
    KATAGO_GTP: ("cpu", "katago fp32", ["/opt/katago/katago", "gtp"]),
    "katago analysis": ("gpu-server", "katago fp32", ["/opt/katago/katago", "analysis"]),
    "onnxruntime": ("cpu", "onnx fp32", ["sh", "-c"]),
    "command": ("cpu", "onnx fp32", ["env", "MODEL=net-fp32.onnx"]),
}
HOSTS = {
    "no GPU": (ENGINE, DockerSpec()),
    "GPU": (NVIDIA, DockerSpec(gpus="all")),
    "CDI": (CDI, DockerSpec(memory_mb=900, cpus=0.5)),
    "ports": (ENGINE, DockerSpec(ports=("127.0.0.1:8080:80", "0.0.0.0:81:80"), expose=(9000,))),
    "network": (NVIDIA, DockerSpec(expose=(9000,), network="backend", front="socat:1")),
}


@pytest.mark.parametrize("host", HOSTS)
@pytest.mark.parametrize("kind", ENGINES)
def test_shipped_template(kind, host):
    """It renders, is taken by our own reader, and says what it has to for every engine."""
    name, artifact, words = ENGINES[kind]
    there, docker = HOSTS[host]
    profile = dataclasses.replace(samples.profile(name), when="true", docker=docker)
    if kind == "command":
        profile = dataclasses.replace(profile, engine=RUN)
    plan = plan_host(
        docker_inputs(
            facts=facts("rtx", there, katago=KATAGO, python=samples.CUDA_PYTHON),
            version=samples.version(samples.artifact(artifact)),
            profiles=(profile,),
            templates=dict(shipped_templates().texts),
        )
    )
    document = yaml.safe_load(plan.release.texts["docker-compose.yml"])
    services, engine = document["services"], document["services"]["engine"]
    has_front = bool(docker.ports or docker.expose)
    assert set(document) == {"services", "volumes"} | ({"networks"} if has_front else set())
    assert set(services) == {"engine"} | ({"front"} if has_front else set())
    assert engine["command"][: len(words)] == words
    assert engine["entrypoint"] == ["sh", "turn"]
    assert engine["image"] == IMAGE
    assert engine["working_dir"] == "/opt/orchestrate/releases/${ORCHESTRATE_RELEASE}"
    assert (engine["read_only"], engine["cap_drop"], engine["stdin_open"]) == (True, ["ALL"], True)
    assert ("deploy" in engine) == (there is not ENGINE)
    assert (engine.get("network_mode") == "none") != has_front


@pytest.mark.parametrize("host", HOSTS)
def test_docker_compose_reads_it_alike(host):
    """The file is for people with Docker Compose too."""
    program = needs_program("docker-compose", "apt-get install docker-compose")
    there, docker = HOSTS[host]
    profiles = with_profile(docker, engine=RUN)
    text = plan_host(docker_inputs(facts=facts("rtx", there), profiles=profiles)).release.texts[
        "docker-compose.yml"
    ]
    done = subprocess.run(
        [program, "-p", "x", "-f", "-", "config"],
        input=text,
        text=True,
        capture_output=True,
        check=False,
        env={
            **os.environ,
            "ORCHESTRATE_RELEASE": "kata-v1-0123456789ab",
            "ORCHESTRATE_ALIAS": "r-0123456789ab",
        },
    )
    assert done.returncode == 0, done.stderr
    ours = yaml.safe_load(text.replace("${ORCHESTRATE_RELEASE}", "kata-v1-0123456789ab"))
    theirs = yaml.safe_load(done.stdout)
    assert set(theirs["services"]) == set(ours["services"])
    for name, service in ours["services"].items():
        for key in ("command", "entrypoint", "image", "labels", "working_dir", "cap_drop"):
            assert theirs["services"][name][key] == service[key]


def test_engine_service_is_rendered_whole():
    assert rendered(DockerSpec(memory_mb=4096, cpus=2.0)) == {
        "services": {
            "engine": {
                "image": IMAGE,
                "container_name": "orchestrate",
                "entrypoint": ["sh", "turn"],
                "command": engine_of()["command"],
                "working_dir": "/opt/orchestrate/releases/${ORCHESTRATE_RELEASE}",
                "environment": {"HOME": "/state"},
                "stdin_open": True,
                "read_only": True,
                "tmpfs": ["/tmp"],
                "volumes": [
                    {
                        "type": "volume",
                        "source": "root",
                        "target": "/opt/orchestrate",
                        "read_only": True,
                    },
                    {"type": "volume", "source": "state", "target": "/state"},
                ],
                "restart": "always",
                "stop_grace_period": "10s",
                "security_opt": ["no-new-privileges:true"],
                "cap_drop": ["ALL"],
                "healthcheck": {
                    "test": ["CMD", "sh", "turn", "--healthy"],
                    "interval": "10s",
                    "timeout": "5s",
                    "retries": 3,
                },
                "mem_limit": "4096m",
                "cpus": 2.0,
                "labels": {
                    "orchestrate.container": "orchestrate",
                    "orchestrate.role": "engine",
                    "orchestrate.release": "${ORCHESTRATE_RELEASE}",
                    "orchestrate.version": "kata@v1",
                    "orchestrate.digest": samples.digest("onnx fp32"),
                    "orchestrate.image": IMAGE_ID,
                },
                "network_mode": "none",
            }
        },
        "volumes": {
            "root": {"name": "orchestrate", "external": True},
            "state": {"name": "orchestrate-state", "external": True},
        },
    }


def test_front_holds_ports_and_names():
    there = dataclasses.replace(ENGINE, container="go")
    docker = DockerSpec(
        ports=("127.0.0.1:8080:80", "[::1]:81:80"), expose=(9000, 80), network="backend"
    )
    document = rendered(docker, facts=facts("pc", there))
    front = document["services"]["front"]
    assert front["image"] == IMAGE
    assert front["container_name"] == "go-front"
    assert front["command"][1:] == ["front", "80", "9000"]
    assert front["working_dir"] == "/opt/orchestrate"
    assert front["ports"] == ["127.0.0.1:8080:80", "[::1]:81:80"]
    assert front["networks"] == {"default": {"aliases": ["go"]}, "outside": {"aliases": ["go"]}}
    assert front["labels"] == {"orchestrate.container": "go", "orchestrate.role": "front"}
    assert document["services"]["engine"]["networks"] == {
        "default": {"aliases": ["${ORCHESTRATE_ALIAS}"]}
    }
    assert document["networks"] == {
        "default": {"name": "go", "external": True},
        "outside": {"name": "backend", "external": True},
    }
    assert {v["name"] for v in document["volumes"].values()} == {"go", "go-state"}


def test_front_script_is_the_one_of_the_package():
    script = rendered(DockerSpec(expose=(80,)))["services"]["front"]["command"][0]
    assert script.replace("$$", "$") == compose_scripts().front
    assert "$$" in script


def test_front_may_have_an_image_of_its_own():
    services = rendered(DockerSpec(expose=(80,), front="socat:1"))["services"]
    assert (services["front"]["image"], services["engine"]["image"]) == ("socat:1", IMAGE)
    assert "ports" not in services["front"]


def test_scripts_are_sh():
    for script in compose_scripts():
        assert subprocess.run(["sh", "-n"], input=script.encode(), check=False).returncode == 0


def test_turn_lies_in_the_release():
    texts = plan_host(docker_inputs()).release.texts
    assert texts[TURN] == compose_scripts().turn


def test_a_command_keeps_its_dollars_and_quotes():
    engine = engine_of(profiles=with_profile(engine=RUN))
    assert engine["command"][-1] == './serve "$$MODEL" --cost $$5'
    assert engine["command"][:2] == ["env", "MODEL=net-fp32.onnx"]
    text = "it's <b> & \\n #: {x}\nsecond line"
    odd = EngineSpec("command", run=text)
    assert engine_of(profiles=with_profile(engine=odd))["command"][-1] == text


def test_a_net_without_a_program_keeps_its_container():
    shell, option, line = engine_of()["command"]
    assert (shell, option) == ("sh", "-c")
    assert line.endswith(" net-fp32.onnx && exec tail -f /dev/null")
    serving = EngineSpec("onnxruntime", run="./serve")
    assert engine_of(profiles=with_profile(engine=serving))["command"][-1] == "./serve"


def test_health_of_the_profile_is_the_containers():
    service = ServiceSpec(health='test "$(cat x)" = ok', timeout=7.5)
    engine = engine_of(profiles=with_profile(service=service))
    assert engine["healthcheck"] == {
        "test": ["CMD-SHELL", 'test "$$(cat x)" = ok'],
        "interval": "10s",
        "timeout": "7.5s",
        "retries": 3,
    }


@pytest.mark.parametrize("key", ["activate", "deactivate"])
def test_a_container_is_not_started_by_a_service(key):
    service = ServiceSpec(**{key: "systemctl restart x"})
    with pytest.raises(SettingsError, match=f"pi-1: profile ort has `service: {key}`") as caught:
        rendered(profiles=with_profile(service=service))
    assert "facts.docker_engine.version" in caught.value.hint


def test_a_project_without_the_template():
    with pytest.raises(TemplateError, match=f"pi-1: there is no templates/{COMPOSE}") as caught:
        rendered(templates={})
    assert "orchestrate init" in caught.value.hint


def test_a_compose_file_that_is_refused_names_host_and_template():
    with pytest.raises(TemplateError) as caught:
        rendered(templates={COMPOSE: "services:\n  engine: {privileged: true}\n"})
    assert caught.value.message.startswith("pi-1: templates/docker-compose.yml.j2:2: ")
    assert "privileged" in caught.value.message


@pytest.mark.parametrize(
    ("wanted", "there", "resolved", "device"),
    [
        ("auto", ENGINE, "none", None),
        ("auto", NVIDIA, "nvidia", {"driver": "nvidia", "count": "all"}),
        ("auto", CDI, "cdi", {"driver": "cdi", "device_ids": ["nvidia.com/gpu=all"]}),
        (
            "all",
            CDI_EACH,
            "cdi",
            {"driver": "cdi", "device_ids": ["nvidia.com/gpu=0", "nvidia.com/gpu=1"]},
        ),
        ("all", NVIDIA, "nvidia", {"driver": "nvidia", "count": "all"}),
        ("all", ENGINE, "nvidia", {"driver": "nvidia", "count": "all"}),
        ("none", NVIDIA, "none", None),
    ],
)
def test_gpus(wanted, there, resolved, device):
    docker = DockerSpec(gpus=wanted)
    there_facts = facts("rtx", there)
    assert gpus(docker, there_facts) == resolved
    engine = engine_of(docker, facts=there_facts)
    if device is None:
        assert "deploy" not in engine
    else:
        [found] = engine["deploy"]["resources"]["reservations"]["devices"]
        assert found == device | {"capabilities": ["gpu"]}


def with_gpus(machine: str, *megabytes: int, total: int = 64000):
    cards = tuple(Gpu("card", 8.6, size) for size in megabytes)
    found = facts(machine, NVIDIA, memory={"total_mb": total})
    return dataclasses.replace(found, gpus=cards)


# The sample artifact has 10 MB: 124 MiB of RAM by its size, 636 MiB with CUDA's context.
@pytest.mark.parametrize(
    ("docker", "there", "expected"),
    [
        (DockerSpec(strategy="recreate"), facts(), ("recreate", "the profile says so")),
        (DockerSpec(strategy="blue-green"), facts(), ("blue-green", "the profile says so")),
        (DockerSpec(), facts(), ("blue-green", "3 x 124 MiB fit into the RAM's 4000 MiB")),
        (
            DockerSpec(),
            facts(memory={"total_mb": 371}),
            ("recreate", "3 x 124 MiB do not fit into the RAM's 371 MiB"),
        ),
        (DockerSpec(), facts(memory={"total_mb": 372}), ("blue-green", None)),
        (DockerSpec(), facts(memory={"total_mb": 0}), ("blue-green", "its memory is not known")),
        (DockerSpec(), with_gpus("pc", 8000), ("blue-green", None)),
        (
            DockerSpec(),
            with_gpus("pc", 24000, 1907),
            ("recreate", "3 x 636 MiB do not fit into the GPU's 1907 MiB"),
        ),
        (DockerSpec(), with_gpus("pc", 24000, 1908), ("blue-green", None)),
        (
            DockerSpec(gpu_memory_mb=900),
            with_gpus("pc", 2000),
            ("recreate", "3 x 900 MiB do not fit into the GPU's 2000 MiB"),
        ),
        (DockerSpec(gpu_memory_mb=600), with_gpus("pc", 1800), ("blue-green", None)),
        (DockerSpec(gpus="none"), with_gpus("pc", 100), ("blue-green", None)),
        # A Jetson's GPU has the RAM of the CPU.
        (
            DockerSpec(),
            with_gpus("pc", 0, total=1900),
            ("recreate", "3 x 636 MiB do not fit into the RAM's 1900 MiB"),
        ),
    ],
)
def test_strategy(docker, there, expected):
    name, why = strategy(docker, there, samples.artifact())
    assert (name, expected[1] and why) == expected


def test_strategy_believes_the_manifest():
    """600 MiB said there are more than the 124 guessed from the size."""
    artifact = samples.artifact(memory_mb=600)
    assert strategy(DockerSpec(), facts(memory={"total_mb": 1800}), artifact)[0] == "blue-green"
    assert strategy(DockerSpec(), facts(memory={"total_mb": 1799}), artifact)[0] == "recreate"


def test_a_template_does_not_name_the_container():
    text = (SHIPPED / COMPOSE).read_text("utf-8").replace("{{ container | tojson }}", "mine", 1)
    inputs = docker_inputs(templates={COMPOSE: text})
    with pytest.raises(TemplateError, match=r"container_name is 'mine', and .* 'orchestrate'"):
        plan_host(inputs)


def test_nothing_is_planned_for_an_image_that_is_not_there():
    without = dataclasses.replace(ENGINE, image="", image_id="")
    with pytest.raises(InventoryError, match="its image is not on its Docker Engine yet") as caught:
        plan_host(docker_inputs(facts=facts(engine=without)))
    assert "orchestrate plan" in caught.value.hint


def test_a_template_lets_the_front_reach_the_engine():
    text = (SHIPPED / COMPOSE).read_text("utf-8").replace("aliases: [{{ alias | tojson }}]", "", 1)
    inputs = docker_inputs(docker=DockerSpec(ports=("127.0.0.1:80:80",)), templates={COMPOSE: text})
    with pytest.raises(TemplateError, match="engine has no alias"):
        plan_host(inputs)


def test_a_template_leaves_the_engine_to_turn():
    text = (SHIPPED / COMPOSE).read_text("utf-8").replace("[sh, turn]", "[tini]", 1)
    with pytest.raises(TemplateError, match=r"entrypoint is not \[sh, turn\]"):
        plan_host(docker_inputs(templates={COMPOSE: text}))


def test_what_a_container_may_use_is_what_the_config_sees():
    seen = inside(facts(memory={"total_mb": 8000, "available_mb": 7000}, cpu={"cores": 8}), LIMITED)
    assert (seen.memory.total_mb, seen.memory.available_mb, seen.cpu.cores) == (1024, 1024, 2)
    small = inside(facts(memory={"total_mb": 500, "available_mb": 400}, cpu={"cores": 1}), LIMITED)
    assert (small.memory.total_mb, small.memory.available_mb, small.cpu.cores) == (500, 400, 1)
    assert inside(facts(), DockerSpec()) == facts()


def test_a_variable_that_is_not_there_is_named():
    text = (SHIPPED / COMPOSE).read_text("utf-8").replace("{{ image |", "{{ imagee |", 1)
    with pytest.raises(TemplateError, match="'imagee' is undefined") as caught:
        plan_host(docker_inputs(templates={COMPOSE: text}))
    assert "'image'" in caught.value.hint
