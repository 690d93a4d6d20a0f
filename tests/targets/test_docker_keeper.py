"""The keeper beside what is somebody else's, and beside another command that makes it too."""

from __future__ import annotations

import docker.errors
import pytest

from orchestrator.errors import PreflightError
from orchestrator.fleet.facts import DockerEngine
from orchestrator.targets.docker import keeper, names

NONE = DockerEngine()


def taken(call, *arguments):
    """The name in the error that says it is somebody else's."""
    with pytest.raises(PreflightError) as caught:
        call(*arguments)
    assert caught.value.as_dict()["code"] == "name_taken"
    return caught.value.message


def test_a_volume_of_somebody_else_is_not_written(docker_engine, docker_names, busybox_image):
    api = docker_engine.api
    api.create_volume(docker_names)
    said = taken(keeper.make, api, docker_names, busybox_image, "gpu-1", NONE)
    assert said == f"gpu-1: a volume that is not orchestrate's is called '{docker_names}'"
    assert keeper.inspect(api, names.keeper(docker_names)) is None


def test_a_container_of_somebody_else_is_not_removed(docker_engine, docker_names, busybox_image):
    api = docker_engine.api
    keeper.make(api, docker_names, busybox_image, "gpu-1", NONE)
    new = f"{names.keeper(docker_names)}-new"
    theirs = api.create_container(busybox_image, ["sleep", "1"], name=new)["Id"]
    said = taken(keeper.renew, api, docker_names, busybox_image, "gpu-1", NONE)
    assert new in said
    assert api.inspect_container(theirs)["Name"] == f"/{new}"


def test_who_comes_second_takes_the_keeper_that_is_there(
    docker_engine, docker_names, busybox_image
):
    api = docker_engine.api
    keeper.make(api, docker_names, busybox_image, "gpu-1", NONE)
    first = keeper.find(api, docker_names, "gpu-1")
    keeper.make(api, docker_names, busybox_image, "gpu-1", NONE)
    assert keeper.find(api, docker_names, "gpu-1")["Id"] == first["Id"]
    with pytest.raises(docker.errors.NotFound):
        api.inspect_container(f"{names.keeper(docker_names)}-new")


def test_a_name_that_the_engine_takes_for_an_id_is_a_name(
    docker_engine, docker_names, busybox_image
):
    api = docker_engine.api
    theirs = api.create_container(busybox_image, ["sleep", "1"], name=f"{docker_names}-1")["Id"]
    assert keeper.inspect(api, theirs[:12]) is None
    assert keeper.inspect(api, theirs)["Id"] == theirs
    assert keeper.inspect(api, f"{docker_names}-1")["Id"] == theirs
