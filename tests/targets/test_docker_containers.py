"""What a compose file names beside its containers: networks and volumes."""

from __future__ import annotations

import pytest
from docker.errors import APIError, NotFound

from orchestrator import compose
from orchestrator.errors import ServiceError
from orchestrator.targets.connection import ConnectionSpec
from orchestrator.targets.docker import connect, names
from orchestrator.targets.docker import containers as containers_module
from orchestrator.targets.docker.containers import Containers
from tests.docker_images import busybox_tree
from tests.dockerd import free_network, running_engine

RELEASE = "net-v1-0123456789ab"


@pytest.fixture
def containers(docker_engine, docker_names):
    spec = ConnectionSpec(
        "gpu-1", kind="docker", docker_host=docker_engine.url, container=docker_names
    )
    with connect(spec) as target:
        yield Containers(target)


def made(containers, image, more):
    text = f"services: {{engine: {{image: '{image}', command: [sh], {more}\n"
    return containers.make(RELEASE, compose.read(text, source="test"), "run")


def test_what_a_template_adds_is_made_as_it_says(
    containers, docker_engine, docker_names, busybox_image
):
    volume, network = f"{docker_names}-v", f"{docker_names}-n"
    made(
        containers,
        busybox_image,
        f"""volumes: ['v:/v'], networks: [n]}}}}
volumes: {{v: {{name: {volume}, driver_opts: {{type: tmpfs, device: tmpfs}}}}}}
networks: {{n: {{name: {network}, attachable: true, internal: true}}}}""",
    )
    found = docker_engine.api.inspect_volume(volume)
    assert found["Options"] == {"type": "tmpfs", "device": "tmpfs"}
    assert names.is_ours(found, docker_names)
    there = docker_engine.api.inspect_network(network)
    assert (there["Attachable"], there["Internal"]) == (True, True)


def test_a_volume_that_must_be_there_is_not_made(containers, docker_names, busybox_image):
    with pytest.raises(ServiceError, match=f"no volume '{docker_names}-v'") as caught:
        made(
            containers,
            busybox_image,
            f"""network_mode: none, volumes: ['v:/v']}}}}
volumes: {{v: {{name: {docker_names}-v, external: true}}}}""",
        )
    assert caught.value.as_dict()["code"] == "no_volume"
    assert containers.all() == []


def test_a_container_that_is_just_ending_has_its_restart_policy_changed_all_the_same(
    containers, docker_engine, busybox_image, monkeypatch
):
    container = made(containers, busybox_image, "network_mode: none}}")
    api = containers._api
    update, refused = api.update_container, []

    def ending(*words, **more):
        if len(refused) < 2:
            refused.append("container not running")
            raise APIError(refused[0])
        return update(*words, **more)

    monkeypatch.setattr(api, "update_container", ending)
    containers.restart_policy(container, "always")
    found = docker_engine.api.inspect_container(container.id)
    assert found["HostConfig"]["RestartPolicy"]["Name"] == "always"
    assert len(refused) == 2

    monkeypatch.setattr(containers_module, "CHANGING", 0)
    refused.clear()
    with pytest.raises(APIError, match="not running"):
        containers.restart_policy(container, "unless-stopped")
    containers.remove(container)
    monkeypatch.undo()
    with pytest.raises(NotFound):
        containers.restart_policy(container, "unless-stopped")


def test_an_engine_that_has_no_addresses_left_for_a_network(docker_names):
    pool = f"--default-address-pool=base={free_network()},size=24"
    with running_engine([pool]) as engine:
        spec = ConnectionSpec("gpu-1", "docker", docker_host=engine.url, container=docker_names)
        with connect(spec) as target, pytest.raises(ServiceError) as caught:
            made(
                Containers(target),
                busybox_tree().import_into(engine),
                f"""networks: [one, two]}}}}
networks: {{one: {{name: {docker_names}-1}}, two: {{name: {docker_names}-2}}}}""",
            )
    assert caught.value.as_dict()["code"] == "no_addresses"
    assert "default-address-pools" in caught.value.as_dict()["hint"]
