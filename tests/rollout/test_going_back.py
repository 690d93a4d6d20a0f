"""Whatever goes wrong after the switch, the host ends on a release that passed there."""

from __future__ import annotations

import json
import os

import pytest

from tests.proxy import Cut
from tests.rollout.conftest import tree

pytestmark = pytest.mark.slow

OK = 'echo "{\\"ok\\": true, \\"metrics\\": {}}"'


@pytest.fixture
def plain(make_project, tmp_path):
    """`plain(fleet, check)`: versions v1, v2, v3 of a small file; v2's check can be another one."""

    def make(fleet, check=OK):
        project = make_project(fleet)
        folder = project.own_templates()
        (folder / "any.cfg.j2").write_text("version = {{ version }}\n")
        project.settings["profiles"] = {
            name: {
                "when": f'host.vars.get("check", "good") == "{name}"',
                "artifacts": [{"format": "file"}],
                "config": "any.cfg.j2",
                "engine": {"kind": "command", "run": "true"},
                "verify": {"command": command, "timeout": 20},
            }
            for name, command in (("good", OK), ("bad", check))
        }
        project.write_settings()
        for version in ("v1", "v2", "v3"):
            (tmp_path / f"{version}.bin").write_bytes(os.urandom(1000))
            project.add(f"plain@{version}", tmp_path / f"{version}.bin", "--format", "file")
        assert project.run("deploy", "--yes", "--model", "plain@v1").code == 0
        return project

    return make


def current(host):
    return (host.root_here / "current").readlink().name


def test_a_verdict_that_cannot_be_written_sends_the_host_back(sshd_fleet, plain):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet)
    before = current(host)
    log = host.root_here / "audit.log"
    log.rename(log.with_name("audit.old"))
    log.mkdir()
    answer = project.run("deploy", "--yes", "--model", "plain@v2")
    assert answer.code != 0
    (outcome,) = answer.hosts.values()
    assert "audit.log" in outcome["error"]["message"]
    on_disk = current(host) if (host.root_here / "current").is_symlink() else None
    assert outcome["release"] == on_disk, "what is said is what is there"
    assert on_disk in {None, before}
    assert not (host.root_here / "lock").exists()


@pytest.mark.parametrize(
    "check",
    [
        'printf \'{"ok": true, "metrics": {"x": 1%0400d}}\\n\' 0',
        "head -c 300000 /dev/zero | tr '\\0' '['",
    ],
)
def test_a_check_that_behaves_oddly_sends_the_host_back(sshd_fleet, plain, check):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet, check)
    before = tree(host.root_here / "current")
    project.write_inventory(fleet.inventory(check="bad"))
    answer = project.run("deploy", "--yes", "--model", "plain@v2")
    assert answer.code == 3, answer.document
    assert answer.statuses() == {"host-1": "rolled_back"}
    assert tree(host.root_here / "current") == before


def test_after_a_cut_run_the_way_back_is_what_passed(sshd_fleet, plain):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet, "exit 1")
    good = current(host)
    project.run("deploy", "--yes", "--model", "plain@v2")
    (unverified,) = {p.name for p in (host.root_here / "releases").iterdir() if "-v2-" in p.name}
    log = host.root_here / "audit.log"
    log.write_text("".join(line for line in log.read_text().splitlines(keepends=True)
                           if unverified not in line))  # fmt: skip
    (host.root_here / "current").unlink()
    (host.root_here / "current").symlink_to(f"releases/{unverified}")
    project.write_inventory(fleet.inventory(check="bad"))
    answer = project.run("deploy", "--yes", "--model", "plain@v3")
    assert answer.code == 3
    assert answer.hosts["host-1"]["release"] == good == current(host)


def test_a_damaged_release_is_mended_by_the_next_deploy(sshd_fleet, plain):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet)
    before = tree(host.root_here / "current")
    folder = (host.root_here / "current").resolve()
    (folder / "any.cfg").write_text("hacked = 1\n")
    (folder / "v1.bin").unlink()
    assert project.run("status").hosts["host-1"]["state"] == "drift"
    answer = project.run("deploy", "--yes", "--model", "plain@v1")
    assert (answer.code, answer.statuses()) == (0, {"host-1": "deployed"})
    assert tree(host.root_here / "current") == before


def test_a_blob_that_was_cut_on_the_host_is_sent_again(sshd_fleet, plain):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet)
    before = tree(host.root_here / "current")
    for blob in host.root_here.glob("store/sha256/*/*"):
        blob.chmod(0o644)
        blob.write_bytes(b"cut")
    answer = project.run("deploy", "--yes", "--model", "plain@v1")
    assert answer.code == 0, answer.document
    assert tree(host.root_here / "current") == before


def test_rollback_refuses_a_release_that_was_changed(sshd_fleet, plain):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet)
    old = host.root_here / "releases" / current(host)
    assert project.run("deploy", "--yes", "--model", "plain@v2").code == 0
    active = current(host)
    (old / "any.cfg").write_text("hacked = 1\n")
    answer = project.run("rollback", "--yes")
    assert answer.code == 3
    assert answer.hosts["host-1"]["error"]["code"] == "damaged_release"
    assert current(host) == active
    assert project.run("deploy", "--yes", "--model", "plain@v1").code == 0


def test_rollback_by_version(sshd_fleet, plain):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet)
    first = current(host)
    for version in ("v2", "v3"):
        assert project.run("deploy", "--yes", "--model", f"plain@{version}").code == 0
    answer = project.run("rollback", "--yes", "--to", "plain@v1")
    assert answer.code == 0
    assert current(host) == first
    assert project.run("rollback", "--yes", "--to", "plain@v9").code == 2


@pytest.mark.parametrize("part", [0.6, 0.95])
def test_a_link_that_stalls_anywhere_leaves_a_verified_release(sshd_fleet, plain, part):
    (host,) = fleet = sshd_fleet(1)
    project = plain(fleet)
    project.settings |= {"connect_timeout": 3, "command_timeout": 3, "keepalive": 1}
    project.write_settings()
    known = host.known_hosts.read_text()
    with Cut(host) as whole:
        host.known_hosts.write_text(known + host.known_hosts_line(whole.address, whole.port))
        project.write_inventory({"all": {"hosts": {host.name: whole.inventory_vars()}}})
        assert project.run("deploy", "--yes", "--model", "plain@v3").code == 0
        usual = whole.passed
    with Cut(host, after=int(usual * part), then="stall") as cut:
        host.known_hosts.write_text(known + host.known_hosts_line(cut.address, cut.port))
        project.write_inventory({"all": {"hosts": {host.name: cut.inventory_vars()}}})
        answer = project.run("deploy", "--yes", "--model", "plain@v2")
        assert cut.happened.is_set()
    (outcome,) = answer.hosts.values()
    assert outcome["status"] in {"deployed", "rolled_back", "unreachable", "failed"}
    active = current(host)
    if outcome["hardware_class"] and answer.code in {0, 3}:
        assert outcome["release"] == active
    audit = [json.loads(line) for line in (host.root_here / "audit.log").read_text().splitlines()]
    verdicts = [a["verdict"] for a in audit if a.get("release") == active and a.get("verdict")]
    assert verdicts[-1] == "pass", (answer.document, audit)
    assert answer.code in {0, 3, 5}
    project.write_inventory(fleet.inventory())
    again = project.run("deploy", "--yes", "--model", "plain@v2")
    assert again.code == 0, again.document
