"""The commands of docs/docker-certificates.md as they stand there, and a Docker Engine by them."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from orchestrator.errors import AuthError
from orchestrator.fleet.host import Host
from orchestrator.targets.connection import connection_spec
from orchestrator.targets.docker.engine import open_engine
from tests.dockerd import running_engine
from tests.needs import needs_program

GUIDE = Path(__file__).parents[2] / "docs" / "docker-certificates.md"


def blocks(language):
    return re.findall(rf"^```{language}\n(.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE)


@pytest.fixture
def made(tmp_path):
    """`made(address)`: the folder that the guide's commands leave."""
    needs_program("openssl", "apt-get install openssl")

    def make(address):
        subprocess.run(
            ["sh", "-euc", "\n".join(blocks("sh"))],
            cwd=tmp_path,
            env={**os.environ, "HOST": "box.test", "ADDRESS": address},
            check=True,
            capture_output=True,
        )
        return tmp_path / "docker-certificates"

    return make


@pytest.mark.xdist_group("docker")
def test_the_commands_make_what_both_ends_accept(made):
    with running_engine() as engine:
        folder = made(engine.address)
        server = engine.folder / "server"
        for name, source in (("ca", "ca"), ("cert", "server-cert"), ("key", "server-key")):
            shutil.copy(folder / f"{source}.pem", server / f"{name}.pem")
        engine.restart()
        variables = {
            "ansible_connection": "docker",
            "orchestrate_docker_host": engine.tls_url,
            "orchestrate_docker_tls": str(folder / "client"),
            "orchestrate_image": "sha256:" + "0" * 64,
        }
        with open_engine(connection_spec(Host("box-1", (), variables))) as opened:
            assert opened.api.info()["ID"] == engine.api.info()["ID"]
        variables["orchestrate_docker_tls"] = str(engine.certificates)
        with pytest.raises(AuthError, match="not from the authority"):
            open_engine(connection_spec(Host("box-1", (), variables)))


def test_keys_are_for_their_owner_alone(made):
    folder = made("192.0.2.1")
    keys = ["ca-key.pem", "server-key.pem", "client/key.pem"]
    assert {(folder / key).stat().st_mode & 0o777 for key in keys} == {0o400}
    assert folder.stat().st_mode & 0o777 == 0o700
    assert {path.name for path in (folder / "client").iterdir()} == {
        "ca.pem",
        "cert.pem",
        "key.pem",
    }


def test_the_daemons_settings_are_json():
    (text,) = blocks("json")
    assert json.loads(text)["tlsverify"] is True
