"""`orchestrate inventory` as a person and as a script use it."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

SETTINGS = """\
inventory: inventory/
profiles:
  jetson:
    when: facts.board.kind == "jetson"
    artifacts: [{format: onnx}]
    config: jetson.cfg.j2
    engine: {kind: onnxruntime}
"""
HOSTS = """\
pis:
  hosts:
    # by the window
    pi-1: {ansible_host: 192.0.2.1, ansible_port: 2222}
    pi-2:
  vars:
    orchestrate_model: kata-b18@v1
jetsons:
  hosts:
    jetson-1: {ansible_host: "2001:db8:a::1", orchestrate_profile: jetson}
"""


@pytest.fixture
def project(tmp_path):
    (tmp_path / "orchestrate.yml").write_text(SETTINGS)
    (tmp_path / "templates").mkdir()
    (tmp_path / "templates" / "jetson.cfg.j2").write_text("threads = 1\n")
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory" / "hosts.yml").write_text(HOSTS)
    return tmp_path


def orchestrate(project, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "from orchestrator.cli import main; main()", *arguments],
        cwd=project,
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"NO_COLOR": "1"},
    )


def test_table(project):
    done = orchestrate(project, "inventory")
    assert done.returncode == 0, done.stderr
    rows = [line.split() for line in done.stdout.splitlines()]
    assert rows == [
        ["HOST", "GROUPS", "ADDRESS", "MODEL", "PROFILE"],
        ["pi-1", "pis", "192.0.2.1:2222", "kata-b18@v1", "by", "facts"],
        ["pi-2", "pis", "pi-2", "kata-b18@v1", "by", "facts"],
        ["jetson-1", "jetsons", "2001:db8:a::1", "-", "jetson"],
    ]


def test_json_of_some_hosts(project):
    done = orchestrate(project, "inventory", "--json", "--group", "pis", "--limit", "!pi-2")
    assert json.loads(done.stdout) == {
        "hosts": {
            "pi-1": {
                "groups": ["pis"],
                "address": "192.0.2.1",
                "port": 2222,
                "user": None,
                "model": "kata-b18@v1",
                "profile": None,
            }
        }
    }


@pytest.mark.parametrize(
    ("arguments", "message", "hint"),
    [
        (["--group", "pi"], "no group 'pi'", "Did you mean 'pis'?"),
        (["--limit", "pi-3"], "'pi-3' is neither a host nor a group", "Did you mean"),
        (["--check", "--limit", "pi-1"], "--check looks at the whole inventory", "--help"),
        (["remove", "pi-3"], "no host 'pi-3'", "Did you mean"),
        (["add", "x", "--group", "pi"], "no group 'pi'", "--create-group"),
        (["add", "x", "--group", "pis", "--var", "novalue"], "not of the form", "--help"),
        (["--limit", "pis", "add", "x"], "go without a subcommand", "--help"),
    ],
)
def test_bad_input_touches_nothing(project, arguments, message, hint):
    done = orchestrate(project, "inventory", *arguments)
    assert done.returncode == 2
    assert message in done.stderr
    assert hint in done.stderr
    assert (project / "inventory" / "hosts.yml").read_text() == HOSTS


def test_a_typo_in_a_variable_stops(project):
    (project / "inventory" / "hosts.yml").write_text(HOSTS.replace("_model", "_modell"))
    done = orchestrate(project, "inventory")
    assert done.returncode == 2
    assert "hosts.yml:7: unknown variable 'orchestrate_modell'" in done.stderr
    assert "Did you mean 'orchestrate_model'?" in done.stderr


def test_check_lists_mistakes(project):
    (project / "inventory" / "hosts.yml").write_text(
        HOSTS.replace("jetson}", "jetsno, ansible_password: x}")
    )
    done = orchestrate(project, "inventory", "--check")
    assert done.returncode == 2
    assert done.stdout == (
        "inventory/hosts.yml:10: warning: 'ansible_password' holds a password in plain text\n"
        "  fix: Use a key, or encrypt it: ansible-vault encrypt_string.\n"
        "inventory/hosts.yml:10: error: there is no profile 'jetsno'\n"
        "  fix: Did you mean 'jetson'?\n"
        "1 error, 1 warning\n"
    )
    document = json.loads(orchestrate(project, "inventory", "--check", "--json").stdout)
    assert document["exit_code"] == 2
    assert [problem["line"] for problem in document["problems"]] == [10, 10]


def test_check_finds_nothing(project):
    done = orchestrate(project, "inventory", "--check")
    assert (done.returncode, done.stdout) == (0, "no mistakes found\n")


def test_add_and_remove(project):
    file = project / "inventory" / "hosts.yml"
    done = orchestrate(
        project, "inventory", "add", "pi-3", "--group", "pis", "--group", "berlin",
        "--create-group", "--address", "192.0.2.3", "--port", "22", "--var", "camera=true",
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "added: pi-3 (inventory/hosts.yml)\n")
    shown = json.loads(orchestrate(project, "inventory", "--json", "--limit", "pi-3").stdout)
    assert shown["hosts"]["pi-3"]["groups"] == ["berlin", "pis"]
    assert shown["hosts"]["pi-3"]["address"] == "192.0.2.3"
    assert "      camera: true\n" in file.read_text()
    assert "    # by the window\n" in file.read_text()
    (project / "inventory" / "host_vars").mkdir()
    (project / "inventory" / "host_vars" / "pi-3.yml").write_text("x: 1\n")
    done = orchestrate(project, "inventory", "remove", "pi-3", "--json")
    assert json.loads(done.stdout) == {
        "host": "pi-3", "done": "removed", "files": ["inventory/hosts.yml"],
    }  # fmt: skip
    assert "host_vars/pi-3.yml" in done.stderr
    assert file.read_text() == HOSTS + "berlin:\n  hosts:\n"
