"""The section `docker:` of a profile."""

from __future__ import annotations

import pytest

from orchestrator.errors import SettingsError
from orchestrator.fleet.docker_section import split
from orchestrator.fleet.profile import DockerSpec
from orchestrator.fleet.settings import parse

COMPOSE = "docker-compose.yml.j2"
SMALLEST = """profiles:
  pi:
    artifacts: [{format: katago}]
    config: rpi.cfg.j2
    engine: {kind: katago}
    docker:
"""


def spec(*lines: str, templates=("rpi.cfg.j2", COMPOSE)) -> DockerSpec:
    text = SMALLEST + "".join(f"      {line}\n" for line in lines or ["{}"])
    return parse(text, templates=frozenset(templates)).profiles[0].docker


def test_defaults():
    assert spec() == DockerSpec()
    assert parse(SMALLEST.rpartition("    docker")[0], templates=frozenset({"rpi.cfg.j2"}))


def test_a_section_is_read_whole():
    assert spec(
        f"compose: {COMPOSE}",
        "strategy: recreate",
        "ports: ['8080:80', 9000]",
        "expose: [7000, 7001, 7000]",
        "network: backend",
        "gpus: none",
        "gpu_memory_mb: 900",
        "memory_mb: 4096",
        "cpus: 2",
        "watch: 5",
        "drain: 0",
        "front: alpine/socat@sha256:" + "0f" * 32,
    ) == DockerSpec(
        compose=COMPOSE,
        strategy="recreate",
        ports=("127.0.0.1:8080:80", "127.0.0.1:9000:9000"),
        expose=(7000, 7001),
        network="backend",
        gpus="none",
        gpu_memory_mb=900,
        memory_mb=4096,
        cpus=2.0,
        watch=5.0,
        drain=0.0,
        front="alpine/socat@sha256:0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f",
    )


def test_numbers_that_mean_the_same_are_the_same():
    whole = spec("cpus: 2", "watch: 5", "memory_mb: 64", "gpu_memory_mb: 7", "expose: [70]")
    real = spec(
        "cpus: 2.0", "watch: 5.0", "memory_mb: 64.0", "gpu_memory_mb: 7.0", "expose: [70.0]"
    )
    assert repr(whole) == repr(real)
    assert (
        repr(spec("ports: [80]")) == repr(spec("ports: ['080:80']")) == repr(spec("ports: [80.0]"))
    )


@pytest.mark.parametrize(
    ("written", "port"),
    [
        ("8080", "127.0.0.1:8080:8080"),
        ('"8080"', "127.0.0.1:8080:8080"),
        ('"8080:80"', "127.0.0.1:8080:80"),
        ('"127.0.0.1:8080:80"', "127.0.0.1:8080:80"),
        ('"0.0.0.0:8080:80"', "0.0.0.0:8080:80"),
        ('"[::1]:8080:80"', "[::1]:8080:80"),
        ('"[0:0::1]:8080:80"', "[::1]:8080:80"),
    ],
)
def test_a_port(written, port):
    assert spec(f"ports: [{written}]").ports == (port,)
    assert ":".join(split(port)) == port.replace("[", "").replace("]", "")


def test_one_port_on_two_addresses():
    assert len(spec('ports: ["127.0.0.1:80:80", "10.0.0.1:80:80", "81:80"]').ports) == 3


@pytest.mark.parametrize(
    ("line", "message", "hint"),
    [
        ("ports: 8080", "ports: expected a list, got 8080", '["8080:8080"]'),
        ("ports: [0]", "ports[0]: must be at least 1, is 0", "8080"),
        ("ports: [65536]", "ports[0]: must be at most 65535", "8080"),
        ('ports: ["80:65536"]', "ports[0]: '80:65536': 65536 is not a port from 1", "quotes"),
        ('ports: ["0:80"]', "ports[0]: '0:80': 0 is not a port from 1", "quotes"),
        ('ports: ["80:80/udp"]', "ports[0]: '80:80/udp' does not look right", "TCP"),
        ('ports: ["127.0.0.1:80"]', "ports[0]: '127.0.0.1:80': is no port", "TARGET"),
        ('ports: ["1.2.3:80:80"]', "ports[0]: '1.2.3:80:80': 1.2.3 is no IP address", "IP:"),
        ('ports: ["::1:80:80"]', "ports[0]: '::1:80:80': is no port", "IP:"),
        ("ports: [80, 80]", "ports[1]: port 80 of 127.0.0.1 is published already", "once"),
        ('ports: [80, "0.0.0.0:80:1"]', "ports[1]: port 80 of 127.0.0.1 is published", "once"),
        ('ports: ["0.0.0.0:80:1", 80]', "ports[1]: port 80 of 0.0.0.0 is published", "once"),
        ("ports: [true]", "ports[0]: true has none of the known forms", "8080:8080"),
        ("expose: [http]", "expose[0]: expected a whole number, got 'http'", "8080"),
        ("expose: [0]", "expose[0]: must be at least 1", "8080"),
        ("strategy: bluegreen", "strategy: 'bluegreen' is not one of auto", "'blue-green'"),
        ("gpus: 1", "gpus: 1 is not one of auto, all, none", "GPUs"),
        ("gpu_memory_mb: 0", "gpu_memory_mb: must be at least 1", "MiB"),
        ("gpu_memory_mb: 1.5", "gpu_memory_mb: expected a whole number", "MiB"),
        ("memory_mb: 5", "memory_mb: must be at least 6", "MiB"),
        ("cpus: 0", "cpus: must be at least 0.01", "0.5"),
        ("cpus: .nan", "cpus: is no number", "10"),
        ("watch: -1", "watch: must be at least 0", "seconds"),
        ("drain: .inf", "drain: must be at most 1000000", "seconds"),
        ("network: a b", "network: 'a b' does not look right", "backend"),
        ("network: host", "network: in the network host containers have no names", "create"),
        ("network: web", "network: no port is reached from there", "expose"),
        ("front: ''", "front: '' does not look right", "socat"),
        ("front: socat:1.8", "front: 'socat:1.8' can change what it names", "DIGEST"),
        ("front: a b", "front: 'a b' does not look right", "socat"),
        ("compose: docker-compose.yaml.j2", "compose: there is no templates/docker", COMPOSE),
        ("portz: []", "portz: unknown key", "'ports'"),
    ],
)
def test_one_mistake(line, message, hint):
    with pytest.raises(SettingsError) as caught:
        spec(line)
    assert caught.value.message.startswith(f"orchestrate.yml:7: profiles.pi.docker.{message}")
    assert hint in caught.value.hint


def test_the_template_is_needed_only_where_it_is_named():
    without = ("rpi.cfg.j2",)
    assert spec("gpus: all", templates=without).compose == COMPOSE
    with pytest.raises(SettingsError, match="compose: there is no templates/docker-compose"):
        spec(f"compose: {COMPOSE}", templates=without)
