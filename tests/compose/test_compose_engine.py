"""Containers made by Docker Compose and by our translation of the same file, compared."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from orchestrator.compose import container, filled, networks, networks_of, read, volumes
from tests.needs import needs_program

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.compose import Compose
    from tests.dockerd import Dockerd

pytestmark = pytest.mark.xdist_group("docker")

HOW_TO_GET_COMPOSE = "apt-get install docker-compose"
RELEASE = "b18-v2-0123456789ab"
ENGINE = """
services:
  engine:
    image: {image}
    container_name: {prefix}-compose
    entrypoint: ["sh", "turn"]
    command: ["/opt/katago/katago", "analysis", "-config", "a$$b.cfg"]
    working_dir: /opt/orchestrate/releases/${{ORCHESTRATE_RELEASE}}
    environment: {{HOME: /state, THREADS: 4}}
    user: "1000:1000"
    group_add: [27]
    hostname: here
    init: true
    stdin_open: true
    read_only: true
    tmpfs: [/tmp, "/run:size=1m"]
    volumes:
      - {{type: volume, source: root, target: /opt/orchestrate, read_only: true}}
      - {{type: volume, source: state, target: /state, volume: {{nocopy: true}}}}
      - {{type: bind, source: /etc, target: /host-etc, read_only: true}}
      - {{type: tmpfs, target: /scratch, tmpfs: {{size: 1048576}}}}
    restart: on-failure:3
    stop_grace_period: 1m10s
    stop_signal: SIGINT
    security_opt: ["no-new-privileges:true"]
    cap_drop: [ALL]
    cap_add: [SYS_NICE]
    healthcheck:
      test: ["CMD", "sh", "turn", "--healthy"]
      interval: 1m30s
      timeout: 500ms
      retries: 3
      start_period: 5s
    mem_limit: 64m
    cpus: 0.5
    cpuset: "0"
    shm_size: 8m
    pids_limit: 50
    ulimits: {{nofile: {{soft: 100, hard: 200}}, core: 0}}
    sysctls: {{net.ipv4.ip_unprivileged_port_start: 0}}
    devices: ["/dev/null:/dev/nothing:rw"]
    extra_hosts: {{other: 192.0.2.1}}
    dns: 192.0.2.2
    logging: {{driver: json-file, options: {{max-size: 1m}}}}
    deploy:
      resources:
        reservations: {{devices: [{{driver: nvidia, count: all, capabilities: [gpu]}}]}}
    labels:
      orchestrate.role: engine
      orchestrate.release: "${{ORCHESTRATE_RELEASE}}"
    ports: ["127.0.0.1:8080:8080", "127.0.0.1:9000:9000/udp"]
    expose: [7000]
    networks: {{default: {{aliases: [{prefix}-alias]}}}}
networks: {{default: {{name: {prefix}-network, external: true}}}}
volumes:
  root: {{name: {prefix}-root, external: true}}
  state: {{name: {prefix}-state, external: true}}
"""
PLAIN = """
services:
  engine:
    image: {image}
    container_name: {prefix}-compose
    command: sleep "1 2" '$$HOME'
    healthcheck: {{disable: true}}
    mem_limit: 64m
    mem_reservation: 32m
    memswap_limit: -1
    restart: "no"
    network_mode: {mode}
"""


def file(tmp_path: Path, text: str) -> Path:
    """The compose file as an operator would run it."""
    path = tmp_path / "docker-compose.yml"
    path.write_text(filled(text, RELEASE))
    return path


def docker_compose(path: Path, engine_url: str, *arguments: str) -> str:
    program = needs_program("docker-compose", HOW_TO_GET_COMPOSE)
    command = [program, "-p", path.parent.name.lower(), "-f", path, *arguments]
    variables = {k: v for k, v in os.environ.items() if not k.startswith(("DOCKER_", "COMPOSE_"))}
    done = subprocess.run(
        command,
        env={**variables, "DOCKER_HOST": engine_url},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, done.stderr
    assert "not set" not in done.stderr
    return done.stdout


def make_what_it_needs(engine: Dockerd, compose: Compose) -> None:
    for resource in networks_of(compose).values():
        post(engine, "/networks/create", resource.body)
    for resource in volumes(compose).values():
        post(engine, "/volumes/create", resource.body)


def create(engine: Dockerd, compose: Compose, name: str) -> None:
    body = container(compose, "engine", release=RELEASE)
    made = post(engine, f"/containers/create?name={name}", body)
    assert not [warning for warning in made["Warnings"] or [] if "discarded" in warning]


def post(engine: Dockerd, path: str, body: Any) -> Any:
    """The engine's answer to a body, sent as it is."""
    answer = engine.api.post(f"{engine.api.base_url}/v1.40{path}", json=body)
    assert answer.status_code == 201, answer.text
    return answer.json()


def described(engine: Dockerd, name: str) -> dict[str, Any]:
    """What the engine says of a container, without what differs from one to the next."""
    said = engine.api.inspect_container(name)
    config, host = said["Config"], said["HostConfig"]
    config["Labels"] = {
        key: value
        for key, value in config["Labels"].items()
        if not key.startswith("com.docker.compose.")
    }
    config["Env"] = sorted(config["Env"])
    if config["Hostname"] == said["Id"][:12]:
        config["Hostname"] = ""
    for key in ("CapAdd", "CapDrop", "Binds", "VolumesFrom", "Links", "PortBindings"):
        host[key] = host[key] or None
    host["Mounts"] = sorted(host.get("Mounts") or [], key=lambda each: each["Target"])
    for request in host["DeviceRequests"] or []:
        request["DeviceIDs"] = request["DeviceIDs"] or []
    aliases = {
        network: sorted(set(entry["Aliases"] or ()) - {"engine", said["Id"][:12]})
        for network, entry in said["NetworkSettings"]["Networks"].items()
    }
    return {"config": config, "host": host, "aliases": aliases, "path": said["Path"]}


@pytest.mark.parametrize(
    "text",
    [ENGINE, *(PLAIN.replace("{mode}", mode) for mode in ("none", "host", "bridge"))],
    ids=["everything", "none", "host", "bridge"],
)
def test_docker_compose_makes_the_same_container(
    docker_engine, docker_names, busybox_image, tmp_path, text
):
    text = text.format(image=busybox_image, prefix=docker_names)
    compose = read(text, source="docker-compose.yml")
    make_what_it_needs(docker_engine, compose)
    create(docker_engine, compose, f"{docker_names}-ours")
    path = file(tmp_path, text)
    docker_compose(path, docker_engine.url, "up", "--no-start", "--no-build")
    ours = described(docker_engine, f"{docker_names}-ours")
    theirs = described(docker_engine, f"{docker_names}-compose")
    assert ours == theirs


def test_a_gpu_is_asked_for_where_there_is_none(docker_engine, docker_names, busybox_image):
    text = ENGINE.format(image=busybox_image, prefix=docker_names)
    compose = read(text, source="docker-compose.yml")
    make_what_it_needs(docker_engine, compose)
    create(docker_engine, compose, f"{docker_names}-ours")
    host = docker_engine.api.inspect_container(f"{docker_names}-ours")["HostConfig"]
    [request] = host["DeviceRequests"]
    assert (request["Driver"], request["Count"]) == ("nvidia", -1)
    assert request["Capabilities"] == [["gpu"]]


def test_a_second_network_is_connected_to(docker_engine, docker_names, busybox_image):
    text = f"""
services:
  engine:
    image: {busybox_image}
    entrypoint: [sleep, "60"]
    networks: {{default: {{aliases: [one]}}, outside: {{aliases: [two]}}}}
networks: {{default: {{name: {docker_names}-a}}, outside: {{name: {docker_names}-b}}}}
"""
    compose = read(text, source="docker-compose.yml")
    make_what_it_needs(docker_engine, compose)
    name = f"{docker_names}-ours"
    create(docker_engine, compose, name)
    first, *others = networks(compose, "engine", release=RELEASE).items()
    for network, aliases in others:
        docker_engine.api.connect_container_to_network(name, network, aliases=list(aliases))
    joined = docker_engine.api.inspect_container(name)["NetworkSettings"]["Networks"]
    assert first == (f"{docker_names}-a", ("one",))
    assert "one" in joined[f"{docker_names}-a"]["Aliases"]
    assert "two" in joined[f"{docker_names}-b"]["Aliases"]
    docker_engine.api.start(name)
    assert docker_engine.api.inspect_container(name)["State"]["Running"]


def test_docker_compose_takes_what_is_read(tmp_path):
    text = ENGINE.format(image="ghcr.io/x/katago@sha256:" + 64 * "0", prefix="orchestrate")
    read(text, source="docker-compose.yml")
    said = docker_compose(file(tmp_path, text), "unix:///nowhere", "config")
    assert f"orchestrate.release: {RELEASE}" in said
