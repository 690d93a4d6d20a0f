"""`orchestrate lab` from a shell."""

from __future__ import annotations

import json
import signal
import subprocess
import sys

import pytest

from orchestrator.fleet import skeleton
from orchestrator.lab import fleet
from orchestrator.lab.layout import Layout, read_json
from orchestrator.lab.processes import marked
from tests.lab.test_server import wait_until

ORCHESTRATE = [sys.executable, "-c", "from orchestrator.cli import main; main()"]


@pytest.fixture
def project(tmp_path):
    skeleton.create(tmp_path)
    yield tmp_path
    fleet.down(tmp_path)


def orchestrate(project, *arguments):
    done = subprocess.run(
        [*ORCHESTRATE, "--project", str(project), "lab", *arguments, "--json"],
        capture_output=True,
        timeout=60,
        check=False,
    )
    return done.returncode, json.loads(done.stdout)


def test_up_status_break_mend_down(project):
    assert orchestrate(project, "status") == (0, {"lab": None, "exit_code": 0})
    code, document = orchestrate(project, "up", "--hosts", "rpi:1,cpu:1")
    assert code == 0
    assert [host["name"] for host in document["lab"]["hosts"]] == ["lab-rpi-1", "lab-cpu-1"]
    assert orchestrate(project, "status") == (code, document)

    code, error = orchestrate(project, "up")
    assert (code, error["error"]["hint"]) == (2, "orchestrate lab down")

    code, broken = orchestrate(project, "break", "lab-cpu-1", "--how", "refuse")
    assert [host["broken"] for host in broken["lab"]["hosts"]] == ["", "refuse"]
    assert orchestrate(project, "mend", "lab-cpu-1") == (0, document)

    code, off = orchestrate(project, "down", "lab-rpi-1")
    assert (code, [host["up"] for host in off["lab"]["hosts"]]) == (0, [False, True])
    code, error = orchestrate(project, "up", "lab-rpi-1", "--hosts", "gpu:1")
    assert (code, error["error"]["hint"]) == (2, "orchestrate lab up lab-rpi-1")
    assert orchestrate(project, "up", "lab-rpi-1") == (0, document)

    assert orchestrate(project, "down") == (0, {"lab": None, "was_up": True, "exit_code": 0})
    assert orchestrate(project, "down") == (0, {"lab": None, "was_up": False, "exit_code": 0})


def test_an_unknown_kind_is_bad_input(project):
    code, document = orchestrate(project, "up", "--hosts", "jetsom:2")
    assert (code, document["error"]["hint"]) == (2, "Did you mean 'jetson'?")


def test_down_after_up_was_killed(project):
    layout = Layout(project)
    up = subprocess.Popen([*ORCHESTRATE, "--project", str(project), "lab", "up"])
    with up:
        wait_until(layout.plan.exists)
        up.send_signal(signal.SIGKILL)
    token = read_json(layout.plan)["token"]
    assert orchestrate(project, "down")[1]["was_up"] is True
    assert marked(token) == []
    assert not layout.folder.exists()
    assert not layout.inventory.exists()
