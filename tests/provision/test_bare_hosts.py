"""Bare hosts are machines of their own, and leave nothing behind."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.provision.bare_hosts import free_network
from tests.sshd import speaks_ssh
from tests.waiting import wait_until

pytestmark = [pytest.mark.xdist_group("bare-hosts"), pytest.mark.timeout(900)]

STARTS_A_HOST = """
import sys, time
from pathlib import Path
from tests.provision.bare_hosts import Bench
host = Bench(Path(sys.argv[1])).add("lost", "x86_64")
print(host.link, host.process.pid, host.init, flush=True)
time.sleep(600)
"""


@pytest.fixture(scope="module")
def host(bench):
    return bench.add("one", "x86_64", sudo="pi", board="raspberry-pi-4")


def test_a_host_has_a_name_processes_and_a_network_of_its_own(host):
    assert host.run("hostname") == "one\n"
    assert host.run("cat", "/proc/1/comm") == "sshd\n"
    assert set(host.run("ls", "/sys/class/net").split()) == {"lo", "eth0"}
    assert host.run("runuser", "-u", "pi", "--", "sudo", "-n", "id", "-u") == "0\n"
    assert host.here("/usr/share/board/proc/device-tree/model").read_text().startswith("Raspberry")


def test_a_host_cannot_change_the_machine_that_it_runs_on(bench, host):
    known = f"UserKnownHostsFile={bench.known_hosts}"
    ssh = ["ssh", "-i", bench.client_key, "-o", known, f"root@{host.address}"]
    for attempt in ("echo 1 >/proc/sys/vm/swappiness", "date -s 2020-01-01"):
        said = subprocess.run([*ssh, attempt], capture_output=True, check=False)
        assert said.returncode == 1, attempt


def test_a_host_keeps_no_mount_of_the_machine_that_it_runs_on(host, tmp_path):
    """A copy would keep what was unmounted here: the networks of containers that are gone."""
    subprocess.run(["mount", "-t", "tmpfs", "held", tmp_path], check=True)
    try:
        host.stop()
        host.start()
        own = ["nsenter", "--mount", "--pid", f"--target={host.init}", "cat", "/proc/mounts"]
        seen = subprocess.run(own, check=True, capture_output=True, text=True).stdout
    finally:
        subprocess.run(["umount", tmp_path], check=True)
    assert f" {tmp_path} " not in seen
    assert " / overlay " in seen


def test_a_disk_outlives_a_restart_and_a_cut_link_comes_back(host):
    host.here("/root/note").write_text("kept")
    host.stop()
    assert not Path("/sys/class/net", host.link).exists()
    host.start()
    assert host.here("/root/note").read_text() == "kept"
    with host.cut():
        assert not speaks_ssh(host.address, 22)
    wait_until(lambda: speaks_ssh(host.address, 22), "the host answers again")


def test_a_host_dies_with_the_process_that_started_it(tmp_path):
    command = [sys.executable, "-c", STARTS_A_HOST, tmp_path / "bench"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as starter:
        assert starter.stdout is not None
        link, *pids = starter.stdout.readline().split()
        assert Path("/sys/class/net", link).exists()
        starter.send_signal(signal.SIGKILL)
    wait_until(lambda: not Path("/sys/class/net", link).exists(), "the link goes")
    wait_until(lambda: not any(map(is_there, map(int, pids))), "the processes end")


def test_networks_differ():
    assert len({free_network() for _ in range(5)}) > 1


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True
