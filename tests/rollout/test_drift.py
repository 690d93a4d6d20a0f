"""What became of hosts after a deploy: `status` tells it, and the next deploy heals it."""

from __future__ import annotations

import shutil

import pytest

from tests.rollout.conftest import tree
from tests.rollout.file_project import file_project

UP = '"$ORCHESTRATE_ROOT/up"'


def edited(host):
    (host.root_here / "current" / "any.cfg").write_text("threads = 64\n")


def replaced(host):
    """Another model of the same size, under the same name."""
    model = host.root_here / "current" / "v1.bin"
    model.unlink()
    model.write_bytes(b"xx" * 500)


def removed(host):
    shutil.rmtree((host.root_here / "current").resolve())


def nothing(host):
    pass


DRIFT = {
    "edited": (edited, {}, "any.cfg was changed by hand"),
    "replaced": (replaced, {}, "v1.bin was replaced"),
    "removed": (removed, {}, "is gone"),
    "threads": (nothing, {"threads": 4}, "any.cfg would change"),
    "newer": (nothing, {"orchestrate_model": "file@v2"}, "file@v2 is wanted"),
    "well": (nothing, {}, None),
}


@pytest.fixture
def fleet(sshd_fleet):
    fleet = sshd_fleet(0)
    for name in DRIFT:
        fleet.add(name)
    return fleet


def inventory(fleet, variables):
    """The fleet's inventory, with further variables by host."""
    document = fleet.inventory(orchestrate_model="file@v1")
    for name, more in variables.items():
        document["all"]["hosts"][name] |= more
    return document


def test_drift_is_told_and_healed(fleet, tmp_path):
    project = file_project(tmp_path, fleet)
    assert project.run("status", "--check").code == 3, "nothing is there yet"
    assert project.run("deploy", "--yes").code == 0
    good = {host.name: tree(host.root_here / "current") for host in fleet}
    answer = project.run("status", "--check")
    assert answer.code == 0, answer.document

    for host in fleet:
        drift, _, _ = DRIFT[host.name]
        drift(host)
    project.write_inventory(inventory(fleet, {name: more for name, (_, more, _) in DRIFT.items()}))
    answer = project.run("status", "--check")
    assert answer.code == answer.document["exit_code"] == 3
    for name, (_, _, note) in DRIFT.items():
        found = answer.hosts[name]
        assert found["state"] == ("drift" if note else "ok"), found
        assert [note in said for said in found["notes"]] == ([True] if note else []), found
    assert project.run("status").code == 0
    assert project.run("status", "--check", "--limit", "well").code == 0
    shown = project.text("status", "--check")
    assert (shown.returncode, shown.stderr) == (3, "")
    assert "v1.bin was replaced" in shown.stdout

    assert project.run("deploy", "--yes").code == 0
    assert project.run("status", "--check").code == 0
    for host in fleet:
        _, more, _ = DRIFT[host.name]
        assert (tree(host.root_here / "current") == good[host.name]) is not bool(more)


def test_what_cannot_be_planned_or_reached_spoils_no_status(sshd_fleet, tmp_path):
    here, lost = fleet = sshd_fleet(2)
    project = file_project(tmp_path, fleet)
    assert project.run("deploy", "--yes").code == 0
    assert project.run("models", "yank", "file@v1", "--reason", "bad").code == 0
    answer = project.run("status", "--check")
    assert answer.code == 0
    assert answer.hosts[here.name]["notes"] == ["cannot plan: file@v1 was yanked: bad"]

    lost.stop()
    answer = project.run("status", "--check")
    assert answer.code == project.run("status").code == 5
    assert {name: row["state"] for name, row in answer.hosts.items()} == {
        here.name: "ok",
        lost.name: "unreachable",
    }
    edited(here)
    assert project.run("status", "--check").code == 3
    assert project.run("status").code == 5


def test_a_service_that_is_down_is_told_and_started(sshd_fleet, tmp_path):
    (host,) = fleet = sshd_fleet(1)
    service = {"activate": f"touch {UP}", "health": f"test -e {UP} || {{ echo dead; exit 7; }}"}
    project = file_project(tmp_path, fleet, service=service)
    assert project.run("deploy", "--yes").code == 0
    assert project.run("status", "--check").code == 0
    (host.root_here / "up").unlink()
    answer = project.run("status", "--check")
    assert (answer.code, answer.hosts[host.name]["state"]) == (3, "drift")
    assert answer.hosts[host.name]["notes"] == ["the service is down: exit 7: dead"]
    assert project.run("plan").hosts[host.name]["reasons"] == answer.hosts[host.name]["notes"]
    assert project.run("deploy", "--yes").statuses() == {host.name: "deployed"}
    assert project.run("status", "--check").code == 0
    assert project.run("deploy", "--yes").statuses() == {host.name: "unchanged"}
