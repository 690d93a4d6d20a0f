"""Hosts that were away when something was deployed get it when they are back."""

from __future__ import annotations

import json
import signal
from datetime import UTC, datetime, timedelta

import pytest

from orchestrator.history import open_history
from tests.project import FleetProject
from tests.waiting import wait_until

PASSES = """grep -q good app.bin && echo '{"ok": true, "metrics": {}}'"""


@pytest.fixture
def make_app(tmp_path):
    """`make_app(fleet)`: a project with app@v1, a bad app@v2 and app@v3; no engine is needed."""

    def make(fleet) -> FleetProject:
        wanted = fleet.inventory(orchestrate_model="app@v1")
        project = FleetProject(tmp_path / "project", wanted)
        del project.settings["rollout"]  # a canary first, and few may fail
        project.settings["profiles"] = {
            "any": {
                "when": "true",
                "artifacts": [{"format": "file"}],
                "config": "any.cfg.j2",
                "engine": {"kind": "command", "run": "true"},
                "verify": {"command": PASSES},
            }
        }
        project.write_settings()
        (project.own_templates() / "any.cfg.j2").write_text("x = 1\n")
        for version, text in (("v1", "good 1"), ("v2", "bad"), ("v3", "good 3")):
            folder = tmp_path / version
            folder.mkdir()
            (folder / "app.bin").write_text(text)
            project.add(f"app@{version}", folder / "app.bin", "--format", "file")
        return project

    return make


def waiting(project):
    answer = project.run("reconcile", "--list")
    assert answer.code == 0, answer.stderr
    return {wish["host"]: wish for wish in answer.document["wishes"]}


def attempts(project):
    """How often hosts were tried, straight from the history."""
    with open_history(f"sqlite:///{project.root}/.orchestrate/history.db", pytest.fail) as history:
        return {wish.host: wish.attempts for wish in history.wishes()}


def active(host):
    current = host.root_here / "current"
    return (
        json.loads((current / "manifest.json").read_text())["version"] if current.exists() else None
    )


def test_a_host_that_was_away_gets_what_it_missed(sshd_fleet, make_app):
    fleet = sshd_fleet(2)
    project = make_app(fleet)
    fleet[1].stop()
    deployed = project.run("deploy", "--yes")
    assert deployed.code == 5
    wish = waiting(project)["host-2"]
    assert (wish["model"], wish["run"], wish["attempts"]) == (
        "app@v1",
        deployed.document["run"],
        0,
    )
    assert wish["last_error"]

    away = project.run("reconcile")
    assert (away.code, away.statuses()) == (5, {"host-2": "unreachable"})
    assert waiting(project)["host-2"]["attempts"] == 1
    told = project.text("reconcile", "--list").stdout
    assert "host-2" in told
    assert "attempt 2" in told

    fleet[1].start()
    back = project.run("reconcile")
    assert (back.code, back.statuses()) == (0, {"host-2": "deployed"}), back.stderr
    assert active(fleet[1]) == "v1"
    assert waiting(project) == {}
    nothing = project.run("reconcile")
    assert (nothing.code, nothing.hosts, nothing.document["run"]) == (0, {}, None)
    assert "No host waits" in project.text("reconcile", "--watch").stdout


def test_an_aborted_rollout_leaves_nobody_waiting(sshd_fleet, make_app):
    fleet = sshd_fleet(2)
    project = make_app(fleet)
    fleet[1].stop()
    aborted = project.run("deploy", "--yes", "--model", "app@v2")
    assert aborted.code == 3
    assert aborted.statuses() == {"host-1": "failed", "host-2": "unreachable"}
    assert aborted.document["aborted"]
    assert waiting(project) == {}


def test_windows_yanked_versions_and_forgetting(sshd_fleet, make_app):
    (host,) = fleet = sshd_fleet(1)
    project = make_app(fleet)
    later = datetime.now(UTC) + timedelta(hours=3)
    window = f"{later:%H}:00-{later:%H}:59 UTC"
    variables = {"orchestrate_model": "app@v3", "orchestrate_window": window}
    project.write_inventory(fleet.inventory(**variables))
    host.stop()
    assert project.run("deploy", "--yes").code == 5
    host.start()

    closed = project.run("reconcile")
    assert (closed.code, closed.statuses()) == (5, {"host-1": "skipped"})
    error = closed.hosts["host-1"]["error"]
    assert error["code"] == "outside_window"
    assert f"{later:%Y-%m-%d %H}:00 UTC" in error["message"]
    assert active(host) is None
    assert waiting(project)["host-1"]["window"] == window

    project.write_inventory(
        fleet.inventory(**variables | {"orchestrate_window": ["00:00-24:00 UTC"]})
    )
    assert project.run("models", "yank", "app@v3", "--reason", "too hot").code == 0
    yanked = project.run("reconcile")
    assert (yanked.code, yanked.hosts["host-1"]["error"]["code"]) == (5, "yanked")
    assert "too hot" in yanked.hosts["host-1"]["error"]["message"]
    assert attempts(project) == {"host-1": 0}
    assert active(host) is None

    assert project.run("reconcile", "--forget", "host-2").error["code"] == "usage"
    assert project.run("reconcile", "--forget", "host-1").code == 0
    assert waiting(project) == {}


def test_a_watch_brings_a_host_that_returns_while_it_waits(sshd_fleet, make_app):
    fleet = sshd_fleet(2)
    project = make_app(fleet)
    fleet[1].stop()
    assert project.run("deploy", "--yes", "--model", "app@v3").code == 5
    watching = project.start("--json", "reconcile", "--watch", "--interval", "0.05")
    wait_until(lambda: attempts(project)["host-2"] >= 2, "two attempts")
    fleet[1].start()
    out, err = watching.communicate(timeout=60)
    assert watching.returncode == 0, err
    assert json.loads(out)["hosts"]["host-2"]["status"] == "deployed"
    assert active(fleet[1]) == "v3"
    assert attempts(project) == {}


def test_a_watch_that_waits_ends_at_once_and_holds_no_lock(sshd_fleet, make_app):
    fleet = sshd_fleet(2)
    project = make_app(fleet)
    fleet[1].stop()
    assert project.run("deploy", "--yes").code == 5
    watching = project.start("--json", "reconcile", "--watch", "--interval", "600")
    lines = iter(watching.stderr.readline, b"")
    assert any(b"host-2 is tried again" in line for line in lines)
    meanwhile = project.run("deploy", "--yes", "--model", "app@v3", "--limit", "host-1")
    assert meanwhile.code == 0, meanwhile.stderr
    watching.send_signal(signal.SIGTERM)
    out, _ = watching.communicate(timeout=60)
    document = json.loads(out)
    assert watching.returncode == 130
    assert (document["outcome"], document["exit_code"]) == ("interrupted", 130)
    assert document["hosts"]["host-2"]["status"] == "unreachable"
    assert attempts(project) == {"host-2": 1}
