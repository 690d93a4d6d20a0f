"""Containers that somebody paused do nothing: that is told, and deploy wakes them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.targets.docker import names
from tests.proxy import random_loopback_address
from tests.rollout.docker_project import ask, docker_project, docker_vars
from tests.sshd import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dockerd import Dockerd

pytestmark = pytest.mark.slow


def test_paused_containers_are_told_and_woken(
    tmp_path: Path, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> None:
    api, front, keeper = docker_engine.api, names.front(docker_names), names.keeper(docker_names)
    address = random_loopback_address()
    port = free_port(address)
    host = docker_vars(docker_engine.url, docker_names, busybox_image)
    published = {"ports": [f"{address}:{port}:8080"]}
    project = docker_project(tmp_path, {"gpu-1": host}, published)
    assert project.run("deploy", "--yes").code == 0

    for paused, told in (
        (docker_names, "its container ended: somebody paused it"),
        (front, f"{front}, which holds its ports, does not run: somebody paused it"),
    ):
        api.pause(paused)
        status = project.run("status", "--check")
        assert (status.code, told in " ".join(status.hosts["gpu-1"]["notes"])) == (3, True), status
        deploy = project.run("deploy", "--yes")
        assert (deploy.code, ask((address, port))) == (0, "good one"), deploy
        assert project.run("status", "--check").code == 0

    api.pause(keeper)
    assert project.run("status", "--check").code == 0

    # Paused in the middle of a switch, the front lets nobody through to the new one either.
    switching = project.start("deploy", "--yes", "--model", "words@v2")
    serving = ["sh", "-c", "ls /opt/orchestrate/lock/armed-*/serving"]

    def is_serving() -> bool:
        made = api.exec_create(keeper, serving)["Id"]
        api.exec_start(made)
        return bool(api.exec_inspect(made)["ExitCode"] == 0)

    wait_until(is_serving, "the new container answers")
    api.pause(front)
    out, err = switching.communicate()
    assert switching.returncode == 3, (out, err)
    assert b"somebody paused it" in out + err
    assert ask((address, port)) == "good one"
