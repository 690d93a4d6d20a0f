"""`orchestrate unlock`: whose lock it is, what goes back first, and only what was named."""

from __future__ import annotations

import json
import os
import pty
import signal
import subprocess

import pytest

from orchestrator.rollout import project_lock
from tests.project import ORCHESTRATE
from tests.rollout.file_project import file_project

OK = 'echo "{\\"ok\\": true, \\"metrics\\": {}}"'
# file@v2 is measured until somebody ends it.
WAIT_ON_V2 = f'if grep -q v2 "$MODEL"; then sleep 600; fi; {OK}'
EVE = {"run": "r0", "who": "eve@elsewhere", "since": "2026-01-01", "command": "deploy"}


@pytest.fixture
def fleet(sshd_fleet):
    return sshd_fleet(2)


@pytest.fixture
def project(tmp_path, fleet):
    return file_project(tmp_path, fleet, verify={"command": WAIT_ON_V2})


def lock(host, owner):
    (host.root_here / "lock").mkdir(parents=True)
    (host.root_here / "lock" / "owner.json").write_text(json.dumps(owner) + "\n")


def test_only_the_hosts_that_were_named(project, fleet):
    for host in fleet:
        lock(host, EVE)
    one, other = fleet
    assert project.run("unlock", "--yes").error["code"] == "usage", "there is no default"
    assert project.run("unlock", one.name).error["message"] == "there is no terminal to ask on"
    assert (one.root_here / "lock").exists()
    answer = project.run("unlock", one.name, "--yes")
    assert (answer.code, answer.document["unlocked"]) == (0, [one.name])
    assert f"{one.name} is locked by eve@elsewhere since 2026-01-01" in answer.stderr
    document = answer.document["hosts"][one.name]
    assert (document["owner"], document["unconfirmed"]) == (EVE, None)
    assert not (one.root_here / "lock").exists()
    assert (other.root_here / "lock").exists()
    other.stop()
    said = project.text("unlock", "all", one.name, "--yes")
    assert said.returncode == 5
    assert f"{one.name} is not locked\n" in said.stderr
    wrong = project.run("unlock", "ungruped").error
    assert wrong["message"] == "no host is named 'ungruped'"
    assert wrong["hint"] == f"There are: {one.name}, {other.name}."
    assert "Nothing was unlocked." in said.stdout
    assert "Is the host on" in said.stderr


def test_an_unconfirmed_switch_goes_back_first(project, fleet):
    host = fleet[0]
    words = ["deploy", "--limit", host.name, "--yes"]
    assert project.run(*words).code == 0
    running = project.start(*words, "--model", "file@v2", "--json-lines")
    for line in running.stdout:
        if json.loads(line).get("state") == "verify":
            break
    running.send_signal(signal.SIGSTOP)  # it lives, and shows no sign of life
    try:
        answer = project.run("unlock", host.name, "--yes")
    finally:
        running.kill()
        running.communicate()
    assert answer.document["unlocked"] == [host.name], answer.stderr
    document = answer.document["hosts"][host.name]
    assert document["unconfirmed"]["release"].startswith("file-v2-")
    assert document["active"] == document["unconfirmed"]["back"]
    assert document["active"].startswith("file-v1-")
    assert "is active and not confirmed" in answer.stderr
    assert "that run may well be at work" in answer.stderr
    assert (host.root_here / "current").readlink().name == document["active"]
    assert not (host.root_here / "lock").exists()


def test_the_lock_of_the_fleet_project(project):
    assert "the fleet project is not locked" in project.run("unlock", "fleet-project").stderr
    held = project_lock.take(project.root / ".orchestrate", "deploy")
    assert project.run("unlock", "fleet-project").error["message"].startswith("there is no term")
    answer = project.run("unlock", "fleet-project", "--yes")
    assert answer.document == {"exit_code": 0, "unlocked": ["fleet-project"], "hosts": {}}
    assert f"(deploy, pid {os.getpid()})" in answer.stderr
    project_lock.take(project.root / ".orchestrate", "deploy").release()
    held.release()


def test_a_lock_that_changed_hands_before_the_answer_stays(project, fleet):
    host = fleet[0]
    lock(host, EVE)
    terminal, end = pty.openpty()
    running = subprocess.Popen(
        [ORCHESTRATE, "--project", project.root, "unlock", host.name],
        stdin=end,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.close(end)
    said = b""
    while b"Break it?" not in said:
        said += os.read(running.stderr.fileno(), 1000) or pytest.fail(said.decode())
    owner = host.root_here / "lock" / "owner.json"
    owner.write_text(json.dumps(EVE | {"run": "r1"}) + "\n")
    os.write(terminal, b"y\n")
    out, err = running.communicate(timeout=60)
    os.close(terminal)
    assert (running.returncode, out) == (0, b"Nothing was unlocked.\n")
    assert b"somebody else has it now" in err
    assert owner.exists()
