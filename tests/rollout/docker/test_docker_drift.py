"""What somebody changed by hand on a Docker host is told by status and mended by deploy."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.targets.docker import names
from tests.rollout.docker_project import docker_project, docker_vars

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dockerd import Dockerd
    from tests.project import FleetProject

pytestmark = pytest.mark.slow


@pytest.fixture
def project(
    tmp_path: Path, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> FleetProject:
    """A Docker host on which words@v1 is active; nothing is published."""
    host = docker_vars(docker_engine.url, docker_names, busybox_image)
    project = docker_project(tmp_path, {"gpu-1": host})
    assert project.run("deploy", "--yes").code == 0
    return project


def test_drift_is_told_and_mended(
    project: FleetProject, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> None:
    api = docker_engine.api

    def drift() -> str:
        status = project.run("status", "--check")
        assert status.code == 3
        return " ".join(status.hosts["gpu-1"]["notes"])

    def begun() -> Any:
        return api.inspect_container(docker_names)["State"]["StartedAt"]

    def mended() -> None:
        deploy = project.run("deploy", "--yes")
        assert (deploy.code, deploy.statuses()) == (0, {"gpu-1": "deployed"}), deploy.stderr
        assert deploy.hosts["gpu-1"]["verify"]["verdict"] == "pass"
        assert project.run("status", "--check").code == 0

    api.stop(docker_names)
    assert "its container ended: exit 0" in drift()
    mended()

    api.remove_container(docker_names, force=True)
    assert "its container is gone" in drift()
    mended()

    before = begun()
    beside = api.create_container(
        busybox_image,
        ["sleep", "1000"],
        name=f"{docker_names}-beside",
        labels={**names.labels(docker_names, "engine"), names.RELEASE: "words-v0-000000000000"},
    )
    api.start(beside["Id"])
    assert "the container of words-v0-000000000000 runs beside it" in drift()
    mended()
    assert begun() == before, "what ran well was started anew"

    keeper = names.keeper(docker_names)
    change = "cd /opt/orchestrate/current && rm speed && echo 99 >speed"
    made = api.exec_create(keeper, ["sh", "-c", change])
    api.exec_start(made["Id"])
    assert "speed was changed by hand" in drift()
    mended()
    assert begun() != before, "the engine still runs with the config that was changed"


def test_a_compose_file_that_cannot_be_written_here_is_told_and_no_trouble_of_the_host(
    project: FleetProject,
) -> None:
    written = project.root / ".orchestrate" / "compose"
    shutil.rmtree(written)
    written.write_text("somebody's file\n")

    deploy = project.run("deploy", "--yes", "--model", "words@v2")

    assert (deploy.code, deploy.statuses()) == (0, {"gpu-1": "deployed"}), deploy.stderr
    assert "gpu-1: its compose file is not written here" in deploy.stderr
    assert written.read_text() == "somebody's file\n"
