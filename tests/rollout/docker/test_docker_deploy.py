"""Deploy, unchanged, bad versions and rollback on containers of a real Docker Engine."""

from __future__ import annotations

import contextlib
import itertools
import threading
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.targets.docker import names
from tests.proxy import random_loopback_address
from tests.rollout.docker_project import ask, docker_project, docker_vars
from tests.sshd import free_port
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from tests.dockerd import Dockerd
    from tests.project import FleetProject
    from tests.sshd import Fleet

EVERY = 0.05  # seconds between two questions of a client


@pytest.fixture
def port() -> tuple[str, int]:
    """A loopback address and a port that nobody listens on."""
    address = random_loopback_address()
    return address, free_port(address)


@contextlib.contextmanager
def client(address: tuple[str, int]) -> Iterator[list[str]]:
    """What a client hears that asks every 50 ms; an answer that fails is its error's name."""
    heard: list[str] = []
    ended = threading.Event()

    def work() -> None:
        while not ended.wait(EVERY):
            try:
                heard.append(ask(address) or "nothing")
            except OSError as exc:
                heard.append(type(exc).__name__)

    thread = threading.Thread(target=work)
    thread.start()
    try:
        yield heard
    finally:
        ended.set()
        thread.join()


def engines(engine: Dockerd, container: str) -> dict[str, tuple[str, bool, str]]:
    """Of each container of a release: its release, whether it runs, its restart policy."""
    listed = engine.api.containers(all=True, filters=names.filters(container, "engine"))
    found = [engine.api.inspect_container(each["Id"]) for each in listed]
    return {
        each["Name"].lstrip("/"): (
            each["Config"]["Labels"][names.RELEASE],
            each["State"]["Running"],
            each["HostConfig"]["RestartPolicy"]["Name"],
        )
        for each in found
    }


def published(port: tuple[str, int]) -> dict[str, Any]:
    """The profile's section that publishes the engine's port there."""
    return {"ports": [f"{port[0]}:{port[1]}:8080"]}


def assert_alone(engine: Dockerd, container: str, release: str) -> None:
    """One container runs, that of the release, under the host's name and restarted for good."""
    found = engines(engine, container)
    assert found[container] == (release, True, "always")
    others = {name: state for name, state in found.items() if name != container}
    assert all(not runs and policy == "no" for _, runs, policy in others.values()), others


def by_unix(engine: Dockerd, _sshd_fleet: Callable[..., Fleet]) -> dict[str, Any]:
    return {"orchestrate_docker_host": engine.url}


def by_tls(engine: Dockerd, _sshd_fleet: Callable[..., Fleet]) -> dict[str, Any]:
    return {
        "orchestrate_docker_host": engine.tls_url,
        "orchestrate_docker_tls": str(engine.certificates),
    }


def by_ssh(engine: Dockerd, sshd_fleet: Callable[..., Fleet]) -> dict[str, Any]:
    sshd = sshd_fleet(1, environment=engine.environment())[0]
    host = {**sshd.inventory_vars()}
    host["orchestrate_docker_host"] = f"ssh://{host['ansible_user']}@{sshd.address}:{sshd.port}"
    return host


@pytest.mark.parametrize("reach", [by_unix, by_tls, by_ssh])
def test_deploy_unchanged_bad_and_back(
    reach: Callable[..., dict[str, Any]],
    tmp_path: Path,
    docker_engine: Dockerd,
    docker_names: str,
    busybox_image: str,
    port: tuple[str, int],
    sshd_fleet: Callable[..., Fleet],
) -> None:
    host = docker_vars("", docker_names, busybox_image) | reach(docker_engine, sshd_fleet)
    project = docker_project(tmp_path, {"gpu-1": host}, published(port))

    first = project.run("deploy", "--yes")
    assert (first.code, first.statuses()) == (0, {"gpu-1": "deployed"}), first.stderr
    v1 = first.hosts["gpu-1"]["release"]
    assert ask(port) == "good one"
    assert_alone(docker_engine, docker_names, v1)

    again = project.run("deploy", "--yes")
    assert (again.code, again.statuses()) == (0, {"gpu-1": "unchanged"})
    assert again.hosts["gpu-1"]["bytes_sent"] == 0

    bad = project.run("deploy", "--yes", "--model", "words@bad")
    assert (bad.code, bad.statuses()) == (3, {"gpu-1": "rolled_back"}), bad.stderr
    assert bad.hosts["gpu-1"]["release"] == v1
    assert ask(port) == "good one"
    assert_alone(docker_engine, docker_names, v1)

    second = project.run("deploy", "--yes", "--model", "words@v2")
    assert second.code == 0, second.stderr
    assert ask(port) == "good two"
    assert_alone(docker_engine, docker_names, second.hosts["gpu-1"]["release"])

    back = project.run("rollback", "--yes")
    assert (back.code, back.hosts["gpu-1"]["release"]) == (0, v1), back.stderr
    assert ask(port) == "good one"
    assert_alone(docker_engine, docker_names, v1)
    assert project.run("status", "--check").code == 0


def test_a_client_sees_no_gap(
    tmp_path: Path,
    docker_engine: Dockerd,
    docker_names: str,
    busybox_image: str,
    port: tuple[str, int],
) -> None:
    host = docker_vars(docker_engine.url, docker_names, busybox_image)
    project = docker_project(tmp_path, {"gpu-1": host}, published(port))
    assert project.run("deploy", "--yes").code == 0

    with client(port) as heard:
        wait_until(lambda: "good one" in heard, "the client hears the first version")
        assert project.run("deploy", "--yes", "--model", "words@v2").code == 0
        switched = len(heard)
        wait_until(lambda: heard[-1] == "good two", "the client hears the second version")
        assert project.run("deploy", "--yes", "--model", "words@bad").code == 3
        assert project.run("rollback", "--yes", "--to", "words@v1").code == 0
        wait_until(lambda: heard[-1] == "good one", "the client hears the first version again")
    assert set(heard) == {"good one", "good two"}, [h for h in heard if not h.startswith("good")]
    turns = [one for one, next_one in itertools.pairwise(heard) if one != next_one]
    assert turns == ["good one", "good two"]
    assert 0 < switched < len(heard)
    print(f"{len(heard)} questions, none failed, in two switches and a revert")


def test_a_connection_that_stays_open_may_end(
    tmp_path: Path,
    docker_engine: Dockerd,
    docker_names: str,
    busybox_image: str,
    port: tuple[str, int],
) -> None:
    """The old container runs until its last connection ends, or `drain` is over."""
    host = docker_vars(docker_engine.url, docker_names, busybox_image)
    project = slow_answers(docker_project(tmp_path, {"gpu-1": host}, published(port)))
    assert project.run("deploy", "--yes").code == 0
    heard: list[str] = []
    asking = threading.Thread(target=lambda: heard.append(ask(port, timeout=60)))
    with project.start("--json-lines", "deploy", "--yes", "--model", "words@v2") as running:
        assert running.stdout is not None
        for line in running.stdout:
            if b'"verify"' in line and not asking.ident:
                asking.start()
    assert running.returncode == 0
    asking.join()
    assert heard == ["good one"]
    assert ask(port) == "good two"


def slow_answers(project: FleetProject) -> FleetProject:
    """The project with a first version that takes four seconds for each answer."""
    profile = project.settings["profiles"]["words"]
    slow = "grep -q two $MODEL || sleep 4; head -n 1"
    profile["engine"]["run"] = profile["engine"]["run"].replace("head -n 1", slow)
    profile["docker"] |= {"watch": 0, "drain": 30}
    project.write_settings()
    return project


def test_one_container_is_one_host(tmp_path: Path) -> None:
    host = docker_vars("unix:///nobody/listens.sock", "same", f"sha256:{'0' * 64}")
    project = docker_project(tmp_path, {"gpu-1": host, "gpu-2": host})
    deploy = project.run("deploy", "--yes")
    assert deploy.code == 2
    assert deploy.error["message"].startswith("gpu-1 and gpu-2 are both container 'same'")
