"""`orchestrate trust` for hosts that are not reached by SSH alone."""

from __future__ import annotations

import json
import subprocess

import pytest
import yaml
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import UsageError
from orchestrator.fleet import skeleton
from tests.needs import needs_program

IMAGE = "sha256:" + "0" * 64


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("DOCKER_CONFIG", str(tmp_path / "docker-config"))
    skeleton.create(tmp_path / "fleet")

    def run(hosts, *words):
        docker = {"ansible_connection": "docker", "orchestrate_image": IMAGE}
        own = {name: {**docker, **variables} for name, variables in hosts.items()}
        text = yaml.safe_dump({"all": {"hosts": own}})
        (tmp_path / "fleet" / "inventory" / "hosts.yml").write_text(text)
        arguments = ["--project", str(tmp_path / "fleet"), *words]
        result = CliRunner().invoke(root, arguments, standalone_mode=False)
        if result.exception is not None:
            raise result.exception
        return result

    return run


@pytest.mark.parametrize("way", ["url", "context"])
def test_the_key_of_the_machine_behind_ssh_is_taken(run, sshd_fleet, tmp_path, way):
    (host,) = sshd_fleet()
    known = tmp_path / "known_hosts"
    url = f"ssh://{host.address}:{host.port}"
    if way == "context":
        docker = needs_program("docker", "apt-get install docker-cli, or docker.io")
        create = [docker, "context", "create", "far", "--docker", f"host={url}"]
        subprocess.run(create, check=True, capture_output=True)
        url = "far"
    hosts = {
        "box-1": {
            "orchestrate_docker_host": url,
            "ansible_ssh_common_args": f"-o UserKnownHostsFile={known}",
        },
        "box-2": {"orchestrate_docker_host": "unix:///var/run/docker.sock"},
        "here": {"ansible_connection": "local"},
    }
    result = run(hosts, "--json", "trust", "all", "--yes")
    assert json.loads(result.stdout) == {"trusted": ["box-1"]}
    assert known.read_text().strip() == f"[{host.address}]:{host.port} {host.host_key}"
    told = "box-2: no host key: its Docker Engine is unix:///var/run/docker.sock"
    assert told in result.stderr.splitlines()
    assert "here: no host key: it is this machine" in result.stderr.splitlines()


@pytest.mark.parametrize(
    ("variables", "why"),
    [
        ({"orchestrate_docker_host": "unix:///run/x.sock"}, "its Docker Engine is unix:///run/x"),
        ({"ansible_connection": "local"}, "it is this machine"),
    ],
)
def test_who_has_no_host_key_is_told(run, variables, why):
    with pytest.raises(UsageError, match=f"box-1 has no host key: {why}") as caught:
        run({"box-1": variables}, "trust", "box-1")
    assert "over SSH" in caught.value.hint
