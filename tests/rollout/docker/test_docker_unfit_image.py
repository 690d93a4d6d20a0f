"""An image that cannot run on the machine is refused; what runs there can still be asked."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from orchestrator.targets.docker import keeper, names
from tests.registry import Registry, serve
from tests.rollout.docker_project import docker_project, docker_vars

if TYPE_CHECKING:
    from pathlib import Path

    from tests.dockerd import Dockerd

pytestmark = pytest.mark.slow

SHELL = b"\x7fELF of another machine"


def test_an_image_for_another_machine(
    tmp_path: Path, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> None:
    good = docker_vars(docker_engine.url, docker_names, busybox_image)
    with serve(Registry()) as registry:
        digest, _ = registry.add("net", docker_names, {"bin/sh": SHELL}, arch="arm64")
        foreign = good | {"orchestrate_image": f"{registry.address}/net@{digest}"}
        project = docker_project(tmp_path, {"gpu-1": foreign})

        refused = project.run("deploy", "--yes")
        error = refused.hosts["gpu-1"]["error"]
        assert (refused.code, error["code"]) == (3, "wrong_architecture"), error
        assert "is for arm64, the machine is " in error["message"]
        assert keeper.inspect(docker_engine.api, names.keeper(docker_names)) is None

        wanted = {"orchestrate_model": "words@v1"}
        project.write_inventory({"all": {"hosts": {"gpu-1": good}, "vars": wanted}})
        assert project.run("deploy", "--yes").code == 0
        project.write_inventory({"all": {"hosts": {"gpu-1": foreign}, "vars": wanted}})
        again = project.run("deploy", "--yes")
        assert again.hosts["gpu-1"]["error"]["code"] == "wrong_architecture"
        assert project.run("verify").statuses() == {"gpu-1": "verified"}
        docker_engine.api.remove_image(foreign["orchestrate_image"], force=True, noprune=True)


def test_an_archive_that_is_gone(
    tmp_path: Path, docker_engine: Dockerd, docker_names: str, busybox_image: str
) -> None:
    host = docker_vars(docker_engine.url, docker_names, busybox_image)
    project = docker_project(tmp_path, {"gpu-1": host})
    assert project.run("deploy", "--yes").code == 0
    host["orchestrate_image"] = "archive:nowhere.tar"
    project.write_inventory(
        {"all": {"hosts": {"gpu-1": host}, "vars": {"orchestrate_model": "words@v1"}}}
    )
    assert project.run("verify").statuses() == {"gpu-1": "verified"}
