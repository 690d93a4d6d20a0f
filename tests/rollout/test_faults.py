"""Cut transfers, hosts that are gone, changed keys, locks, and a controller that dies."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import threading
import time

import pytest

from tests.proxy import Cut

MEGABYTE = 1_000_000


@pytest.fixture
def big(make_project, tmp_path):
    """`big(fleet)`: a project whose model `big@v1` is a 24 MB file that needs no engine."""

    def make(fleet):
        project = make_project(fleet)
        project.settings["profiles"] = {
            "any": {
                "when": "true",
                "artifacts": [{"format": "file"}],
                "config": "any.cfg.j2",
                "engine": {"kind": "command", "run": "true"},
                "verify": {"command": 'echo "{\\"ok\\": true, \\"metrics\\": {}}"'},
            }
        }
        project.write_settings()
        (project.own_templates() / "any.cfg.j2").write_text("x = 1\n")
        for version in ("v1", "v2"):
            (tmp_path / f"{version}.bin").write_bytes(os.urandom(24 * MEGABYTE))
            project.add(f"big@{version}", tmp_path / f"{version}.bin", "--format", "file")
        return project

    return make


def part_size(host):
    return sum(path.stat().st_size for path in host.root_here.glob("store/sha256/*/*.part"))


def wait_for(condition, what):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.002)


def complete_currents(host, seen, stop):
    """Note every state of `current` that is not a complete release."""
    while not stop.is_set():
        link = host.root_here / "current"
        try:
            folder = host.root_here / link.readlink()
        except OSError:
            continue
        missing = {"manifest.json", "any.cfg", "run"} - set(os.listdir(folder))
        sizes = [p.stat().st_size for p in folder.glob("*.bin")]
        if missing or sizes != [24 * MEGABYTE]:
            seen.append((folder.name, missing, sizes))


def test_a_killed_transfer_goes_on_where_it_stopped(sshd_fleet, big):
    (host,) = fleet = sshd_fleet(1)
    project = big(fleet)
    assert project.run("deploy", "--yes", "--model", "big@v1").code == 0
    incomplete, stop = [], threading.Event()
    watcher = threading.Thread(target=complete_currents, args=(host, incomplete, stop))
    watcher.start()

    with Cut(host, bytes_per_second=20 * MEGABYTE) as slow:
        host.known_hosts.write_text(
            host.known_hosts.read_text() + host.known_hosts_line(slow.address, slow.port)
        )
        project.write_inventory({"all": {"hosts": {host.name: slow.inventory_vars()}}})
        running = project.start("--json", "deploy", "--yes", "--model", "big@v2")
        wait_for(lambda: part_size(host) > 6 * MEGABYTE, "a quarter of the file")
        assert host.kill_sessions(), "the remote side of the transfer"
        out, _ = running.communicate(timeout=60)
    arrived = part_size(host)
    first = json.loads(out)
    assert running.returncode in {3, 5}
    assert first["hosts"][host.name]["status"] in {"failed", "unreachable"}
    assert 6 * MEGABYTE < arrived < 24 * MEGABYTE
    assert not (host.root_here / "lock").exists(), "the lock is let go on every way out"

    project.write_inventory(fleet.inventory())
    second = project.run("deploy", "--yes", "--model", "big@v2")
    stop.set()
    watcher.join()
    assert second.code == 0, second.stderr
    assert second.hosts[host.name]["bytes_sent"] <= 24 * MEGABYTE - arrived
    assert incomplete == []


def test_a_part_that_was_damaged_is_sent_again_whole(sshd_fleet, big):
    (host,) = fleet = sshd_fleet(1)
    project = big(fleet)
    model = json.loads((project.root / "artifacts/big/v1/manifest.json").read_text())
    digest = model["artifacts"][0]["sha256"]
    folder = host.root_here / "store" / "sha256" / digest[:2]
    folder.mkdir(parents=True)
    (folder / f"{digest}.part").write_bytes(b"something else" * 1000)
    answer = project.run("deploy", "--yes", "--model", "big@v1")
    assert answer.code == 0, answer.stderr
    assert answer.hosts[host.name]["bytes_sent"] >= 24 * MEGABYTE


def test_an_unreachable_host_does_not_keep_the_others(sshd_fleet, make_project):
    fleet = sshd_fleet(2)
    project = make_project(fleet)
    fleet[0].stop()
    answer = project.run("deploy", "--yes")
    assert answer.code == 5
    assert answer.statuses() == {"host-1": "unreachable", "host-2": "deployed"}
    assert answer.hosts["host-1"]["error"]["hint"]


def test_a_changed_host_key_refuses_that_host(sshd_fleet, make_project):
    fleet = sshd_fleet(2)
    project = make_project(fleet)
    fleet[0].rotate_host_key()
    answer = project.run("deploy", "--yes")
    assert answer.code == 5
    assert answer.statuses() == {"host-1": "unreachable", "host-2": "deployed"}
    error = answer.hosts["host-1"]["error"]
    assert error["code"] == "host_key_mismatch"
    assert "orchestrate trust host-1 --replace" in error["hint"]
    assert not fleet[0].root_here.exists()
    refused = project.run("trust", "host-1", "--yes")
    assert refused.error["code"] == "host_key_mismatch"
    assert project.run("trust", "host-1", "--replace", "--yes").code == 0
    assert project.run("deploy", "--yes").code == 0


def test_a_lock_of_somebody_else_is_respected_until_broken(sshd_fleet, make_project):
    fleet = sshd_fleet(2)
    project = make_project(fleet)
    lock = fleet[0].root_here / "lock"
    lock.mkdir(parents=True)
    owner = {"run": "r0", "who": "eve@elsewhere", "since": "2026-01-01", "command": "deploy"}
    (lock / "owner.json").write_text(json.dumps(owner, separators=(",", ":")) + "\n")
    answer = project.run("deploy", "--yes")
    assert answer.code == 6
    assert answer.statuses() == {"host-1": "locked", "host-2": "deployed"}
    message = answer.hosts["host-1"]["error"]["message"]
    assert "eve@elsewhere since 2026-01-01 (deploy, run r0)" in message
    assert "locked by eve@elsewhere" in str(project.run("status").hosts["host-1"]["notes"])
    assert project.run("unlock", "host-1", "--yes").document["unlocked"] == ["host-1"]
    assert project.run("deploy", "--yes").code == 0


def test_a_killed_controller_is_recovered_from(sshd_fleet, big):
    (host,) = fleet = sshd_fleet(1)
    project = big(fleet)
    with Cut(host, bytes_per_second=10 * MEGABYTE) as slow:
        host.known_hosts.write_text(
            host.known_hosts.read_text() + host.known_hosts_line(slow.address, slow.port)
        )
        project.write_inventory({"all": {"hosts": {host.name: slow.inventory_vars()}}})
        running = project.start("deploy", "--yes", "--model", "big@v1")
        wait_for(lambda: part_size(host) > 2 * MEGABYTE, "some bytes")
        running.send_signal(signal.SIGKILL)
        running.communicate()
    assert (host.root_here / "lock").exists()
    project.write_inventory(fleet.inventory())
    answer = project.run("deploy", "--yes", "--model", "big@v1")
    assert answer.code == 0, answer.stderr
    assert answer.hosts[host.name]["bytes_sent"] < 24 * MEGABYTE


def test_ctrl_c_finishes_what_is_in_flight(sshd_fleet, big):
    fleet = sshd_fleet(2)
    project = big(fleet)
    project.settings["parallel"] = 1
    project.write_settings()
    slow = [Cut(host, bytes_per_second=12 * MEGABYTE) for host in fleet]
    for cut in slow:
        fleet.known_hosts.write_text(
            fleet.known_hosts.read_text() + cut.host.known_hosts_line(cut.address, cut.port)
        )
    project.write_inventory(
        {"all": {"hosts": {cut.host.name: cut.inventory_vars() for cut in slow}}}
    )
    running = project.start("--json", "deploy", "--yes", "--model", "big@v1")
    wait_for(lambda: any(part_size(host) > MEGABYTE for host in fleet), "some bytes")
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    for cut in slow:
        cut.close()
    document = json.loads(out)
    assert running.returncode == 130
    assert document["outcome"] == "interrupted"
    statuses = sorted(host["status"] for host in document["hosts"].values())
    assert statuses == ["deployed", "skipped"]
    assert not any((host.root_here / "lock").exists() for host in fleet)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root may mount a file system")
def test_a_full_disk_keeps_the_version_from_that_host_alone(sshd_fleet, big):
    fleet = sshd_fleet(2)
    project = big(fleet)
    full = fleet[0].root_here
    full.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=8m", "tmpfs", str(full)]
    if subprocess.run(mount, check=False).returncode != 0:
        pytest.skip("no file system can be mounted here")
    try:
        answer = project.run("deploy", "--yes", "--model", "big@v1")
        assert list(full.iterdir()) == []
    finally:
        subprocess.run(["umount", full], check=True)
    assert answer.code == 3
    assert answer.statuses() == {"host-1": "failed", "host-2": "deployed"}
    error = answer.hosts["host-1"]["error"]
    assert error["code"] == "space"
    assert "host-1 cannot take the release: 8 MiB are free" in error["message"]
    assert "8 MiB are free" in answer.stderr, "told before anything is sent"
