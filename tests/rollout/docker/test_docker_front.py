"""The container with the ports: it stays when it can, is told when it does not run, comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.targets.docker import keeper, names
from tests.proxy import random_loopback_address
from tests.rollout.docker_project import ask, docker_project, docker_vars
from tests.sshd import free_port

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dockerd import Dockerd
    from tests.project import FleetProject

pytestmark = pytest.mark.slow


def changed(engine: Dockerd, image: str, command: str) -> str:
    """The id of an image that differs from another by what a command did in it."""
    made = engine.api.create_container(image, ["sh", "-c", command])["Id"]
    engine.api.start(made)
    assert engine.api.wait(made)["StatusCode"] == 0
    found = engine.api.commit(made)["Id"]
    engine.api.remove_container(made)
    return str(found)


def deployed(tmp_path: Path, engine: Dockerd, name: str, image: str) -> FleetProject:
    """A project whose one host answers at `port_of`."""
    address = random_loopback_address()
    ports = [f"{address}:{free_port(address)}:8080"]
    project = docker_project(
        tmp_path, {"gpu-1": docker_vars(engine.url, name, image)}, {"ports": ports, "drain": 0}
    )
    first = project.run("deploy", "--yes")
    assert first.code == 0, first.stderr
    assert ask(port_of(project)) == "good one"
    return project


def port_of(project: FleetProject) -> tuple[str, int]:
    """Where the project's host answers."""
    address, port, _ = project.settings["profiles"]["words"]["docker"]["ports"][0].split(":")
    return address, int(port)


def front_of(engine: Dockerd, name: str) -> str:
    found = keeper.inspect(engine.api, names.front(name))
    assert found is not None
    return str(found["Id"])


def test_a_new_image_leaves_the_front_alone(
    tmp_path: Path, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> None:
    project = deployed(tmp_path, docker_engine, docker_names, busybox_image)
    front = front_of(docker_engine, docker_names)
    new = changed(docker_engine, busybox_image, "touch /new")
    host = docker_vars(docker_engine.url, docker_names, new)
    project.write_inventory(
        {"all": {"hosts": {"gpu-1": host}, "vars": {"orchestrate_model": "words@v2"}}}
    )
    again = project.run("deploy", "--yes")
    assert (again.code, again.statuses()) == (0, {"gpu-1": "deployed"}), again.stderr
    assert ask(port_of(project)) == "good two"
    running = docker_engine.api.inspect_container(docker_names)
    assert running["Image"] == new
    assert front_of(docker_engine, docker_names) == front


def test_a_front_without_socat_is_told_and_undone(
    tmp_path: Path, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> None:
    project = deployed(tmp_path, docker_engine, docker_names, busybox_image)
    without = changed(docker_engine, busybox_image, "rm $(command -v socat)")
    project.settings["profiles"]["words"]["docker"]["front"] = without
    project.write_settings()
    bad = project.run("deploy", "--yes")
    assert (bad.code, bad.statuses()) == (3, {"gpu-1": "rolled_back"}), bad.stderr
    error = bad.hosts["gpu-1"]["error"]
    assert error["code"] == "front_ended"
    assert "the image has no socat" in error["message"]
    assert "docker.front" in error["hint"]
    assert ask(port_of(project)) == "good one"


def test_containers_of_a_network_that_is_no_more_are_made_anew(
    tmp_path: Path, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> None:
    project = deployed(tmp_path, docker_engine, docker_names, busybox_image)
    second = project.run("deploy", "--yes", "--model", "words@v2")
    assert second.code == 0, second.stderr
    for name in (docker_names, names.front(docker_names)):
        docker_engine.api.remove_container(name, force=True)
    docker_engine.api.remove_network(docker_names)
    back = project.run("rollback", "--yes")
    assert (back.code, back.statuses()) == (0, {"gpu-1": "rolled_back"}), back.stderr
    assert ask(port_of(project)) == "good one"
