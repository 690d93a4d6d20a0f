"""What orchestrate runs, plain Docker Compose runs the same; and Docker hosts beside others."""

from __future__ import annotations

import dataclasses
import io
import json
import os
import subprocess
import tarfile
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator import compose
from orchestrator.fleet.profile import DockerSpec
from orchestrator.planning.plan import plan_host
from orchestrator.targets.docker import keeper, names
from tests.needs import needs_program
from tests.planning import docker_hosts, samples
from tests.proxy import random_loopback_address
from tests.rollout.docker_project import ask, docker_project, docker_vars
from tests.sshd import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from tests.dockerd import Dockerd
    from tests.sshd import Fleet

pytestmark = pytest.mark.slow

HOW_TO_GET_COMPOSE = "apt-get install docker-compose"


def docker_compose(engine: Dockerd, file: Path, *words: str) -> str:
    """What Docker Compose prints; the project is called as the file."""
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "COMPOSE_"))}
    program = needs_program("docker-compose", HOW_TO_GET_COMPOSE)
    done = subprocess.run(
        [program, "-p", file.stem, "-f", file, *words],
        env=variables | engine.environment(),
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "has changed" not in done.stderr, "its idea of what is there differs from ours"
    return done.stdout


def described(engine: Dockerd, container: str) -> dict[str, Any]:
    """What the Docker Engine was told of a container, without what no file can say alike."""
    found = engine.api.inspect_container(container)
    config, host = dict(found["Config"]), dict(found["HostConfig"])
    config["Labels"] = {
        key: value
        for key, value in config["Labels"].items()
        if not key.startswith("com.docker.compose.")
        and key not in {names.RUN, "orchestrate.definition"}
    }
    config["Env"] = sorted(config["Env"])
    del config["Hostname"]  # the container's id
    for key in ("Binds", "VolumesFrom", "PortBindings"):
        host[key] = host[key] or None
    host["Mounts"] = sorted(host["Mounts"], key=lambda mount: mount["Target"])
    return {"config": config, "host": host, "aliases": aliases(found)}


def aliases(found: dict[str, Any]) -> dict[str, set[str]]:
    """Its names on each network; Compose adds that of the service, the Engine its id."""
    joined = found["NetworkSettings"]["Networks"]
    return {
        network: set(entry["Aliases"]) - {"engine", "front", found["Id"][:12]}
        for network, entry in joined.items()
    }


@pytest.fixture
def port() -> tuple[str, int]:
    """A loopback address and a port that nobody listens on."""
    address = random_loopback_address()
    return address, free_port(address)


def hears(port: tuple[str, int], answer: str) -> None:
    """Return once the engine behind the port gives that answer."""

    def answered() -> bool:
        try:
            return ask(port) == answer
        except OSError:
            return False

    wait_until(answered, f"{port} answers {answer}", seconds=30)


def test_plain_docker_compose_runs_the_same(
    docker_engine: Dockerd,
    docker_names: str,
    busybox_image: str,
    port: tuple[str, int],
    tmp_path: Path,
) -> None:
    host = docker_vars(docker_engine.url, docker_names, busybox_image)
    section = {"ports": [f"{port[0]}:{port[1]}:8080"], "memory_mb": 200, "cpus": 1}
    project = docker_project(tmp_path, {"gpu-1": host}, section)
    first = project.run("deploy", "--yes")
    assert first.code == 0, first.stderr
    file = project.root / ".orchestrate" / "compose" / "gpu-1" / "docker-compose.yml"
    assert docker_names in docker_compose(docker_engine, file, "config")

    both = [docker_names, names.front(docker_names)]
    ours = {container: described(docker_engine, container) for container in both}
    for container in both:
        docker_engine.api.remove_container(container, force=True)
    docker_compose(docker_engine, file, "up", "-d")
    theirs = {container: described(docker_engine, container) for container in both}
    assert theirs == ours
    hears(port, "good one")

    # What Compose made bears our labels: it is taken as it is.
    made = [docker_engine.api.inspect_container(container)["Id"] for container in both]
    (status,) = project.run("status").hosts.values()
    assert (status["state"], status["release"]) == ("ok", first.hosts["gpu-1"]["release"])
    again = project.run("deploy", "--yes")
    assert (again.code, again.statuses()) == (0, {"gpu-1": "unchanged"}), again.stderr
    assert [docker_engine.api.inspect_container(each)["Id"] for each in both] == made
    hears(port, "good one")

    old = tmp_path / "old.yml"
    old.write_bytes(file.read_bytes())
    second = project.run("deploy", "--yes", "--model", "words@v2")
    assert (second.code, second.statuses()) == (0, {"gpu-1": "deployed"}), second.stderr
    hears(port, "good two")

    # An old file starts what waits for its turn, and what runs is put right again.
    for container in both:
        docker_engine.api.remove_container(container, force=True)
    docker_compose(docker_engine, old, "up", "-d")
    (status,) = project.run("status").hosts.values()
    assert (status["state"], status["active"]) == ("drift", "words@v2")
    assert any("the service is down" in note for note in status["notes"])
    mended = project.run("deploy", "--yes", "--model", "words@v2")
    assert mended.code == 0, mended.stderr
    hears(port, "good two")
    running = docker_engine.api.inspect_container(docker_names)["Config"]["Labels"]
    assert running[names.RELEASE] == second.hosts["gpu-1"]["release"]
    label = names.filters(docker_names, "engine")
    assert len(docker_engine.api.containers(all=True, filters=label)) == 2

    back = project.run("rollback", "--yes")
    assert (back.code, back.statuses()) == (0, {"gpu-1": "rolled_back"}), back.stderr
    hears(port, "good one")


def test_one_run_over_hosts_of_all_kinds(
    docker_engine: Dockerd,
    docker_names: str,
    busybox_image: str,
    sshd_fleet: Callable[..., Fleet],
    tmp_path: Path,
) -> None:
    (ssh,) = sshd_fleet(1)
    near = {"ansible_connection": "local", "orchestrate_root": str(tmp_path / "near")}
    away = f"unix://{tmp_path}/none.sock"
    hosts = {
        "box-1": docker_vars(docker_engine.url, f"{docker_names}-1", busybox_image),
        "box-2": docker_vars(docker_engine.url, f"{docker_names}-2", busybox_image),
        "gone": docker_vars(away, docker_names, busybox_image),
        "near": near,
        "ssh": ssh.inventory_vars(),
    }
    project = docker_project(tmp_path, hosts)
    words = project.settings["profiles"]["words"]
    check = (
        'grep -q good "$MODEL" && echo "{\\"ok\\": true, \\"metrics\\": {\\"evals_per_s\\": 1}}"'
    )
    project.settings["profiles"] = {
        "words": words | {"when": "facts.docker_engine.version"},
        "plain": {**words, "when": "true", "verify": {"command": check}},
    }
    project.write_settings()

    first = project.run("deploy", "--yes")
    assert first.code == 5, first.stderr + json.dumps(first.document)
    well = {name: "deployed" for name in hosts if name != "gone"}
    assert first.statuses() == well | {"gone": "unreachable"}
    assert first.hosts["gone"]["error"]["code"] == "docker_unreachable"
    assert shape(first.hosts["box-1"]) == shape(first.hosts["ssh"])
    assert shape(first.hosts["box-2"]) == shape(first.hosts["near"])
    assert {name: first.hosts[name]["profile"] for name in well} == {
        "box-1": "words", "box-2": "words", "near": "plain", "ssh": "plain",
    }  # fmt: skip
    # The two containers of one Docker Engine are two hosts, with volumes of their own.
    for name in ("1", "2"):
        found = docker_engine.api.inspect_container(f"{docker_names}-{name}")
        sources = {mount["Name"] for mount in found["Mounts"] if mount["Type"] == "volume"}
        assert sources == {f"{docker_names}-{name}", f"{docker_names}-{name}-state"}

    again = project.text("deploy", "--yes")
    assert again.returncode == 5
    rows = [line.split()[:2] for line in again.stdout.splitlines()]
    for name in hosts:
        assert [name, "unreachable" if name == "gone" else "unchanged"] in rows


def shape(document: Any) -> Any:
    """The keys of a JSON document, and of what is in it; what was measured may have any."""
    if not isinstance(document, dict):
        return None
    free = {"metrics", "seconds"}
    return {key: None if key in free else shape(value) for key, value in document.items()}


@pytest.mark.parametrize(
    ("there", "wanted"),
    [
        (docker_hosts.NVIDIA, {"Driver": "nvidia", "Count": -1, "DeviceIDs": []}),
        (docker_hosts.CDI, {"Driver": "cdi", "Count": 0, "DeviceIDs": ["nvidia.com/gpu=all"]}),
    ],
)
def test_gpus_are_asked_for_as_the_engine_has_them(
    docker_engine: Dockerd, docker_names: str, busybox_image: str, there: Any, wanted: Any
) -> None:
    engine = dataclasses.replace(
        there, container=docker_names, image=busybox_image, image_id=busybox_image
    )
    facts = docker_hosts.facts("rtx", engine, python=samples.CUDA_PYTHON)
    plan = plan_host(docker_hosts.docker_inputs(DockerSpec(gpus="all"), facts=facts))
    file = compose.read(plan.release.texts["docker-compose.yml"], source="its file")
    body = compose.container(file, "engine", release=plan.release.id)
    keeper.create(docker_engine.api, body, docker_names)
    (request,) = docker_engine.api.inspect_container(docker_names)["HostConfig"]["DeviceRequests"]
    assert request.items() >= wanted.items()
    assert request["Capabilities"] == [["gpu"]]


def test_gpus_that_are_wanted_where_there_are_none(
    docker_engine: Dockerd, docker_names: str, busybox_image: str, tmp_path: Path
) -> None:
    host = docker_vars(docker_engine.url, docker_names, busybox_image)
    project = docker_project(tmp_path, {"gpu-1": host}, {"gpus": "all"})
    answer = project.run("deploy", "--yes")
    assert (answer.code, answer.statuses()) == (3, {"gpu-1": "failed"})
    error = answer.hosts["gpu-1"]["error"]
    assert error["code"] == "no_gpu_runtime"
    assert "NVIDIA Container Toolkit" in error["hint"]
    for role in ("engine", "front", "probe"):
        label = names.filters(docker_names, role)
        assert docker_engine.api.containers(all=True, filters=label) == []
    packed, _ = docker_engine.api.get_archive(names.keeper(docker_names), "/opt/orchestrate")
    with tarfile.open(fileobj=io.BytesIO(b"".join(packed))) as archive:
        assert archive.getnames() == ["orchestrate"]
