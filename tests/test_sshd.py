"""The OpenSSH hosts that other tests stand on are what they say."""

from __future__ import annotations

import shlex
import subprocess
import threading

from tests.proxy import Cut
from tests.waiting import wait_until


def ssh(variables, command, **options):
    """`command` on the host that the inventory variables describe, by OpenSSH's client."""
    argv = [
        "ssh", "-F", "none", "-T", "-o", "BatchMode=yes", "-o", "LogLevel=ERROR",
        "-i", variables["ansible_ssh_private_key_file"], "-p", str(variables["ansible_port"]),
        *shlex.split(variables["ansible_ssh_common_args"]),
        f"{variables['ansible_user']}@{variables['ansible_host']}", command,
    ]  # fmt: skip
    return subprocess.run(argv, capture_output=True, check=False, **options)


def test_hosts_are_apart(sshd_fleet):
    fleet = sshd_fleet(3, environment={"ORCHESTRATE_SYSROOT": '/some where/"odd"'})
    said = [ssh(h.inventory_vars(), 'echo "$HOME|$ORCHESTRATE_SYSROOT"').stdout for h in fleet]
    assert [line.decode().strip() for line in said] == [
        f'{host.folder}/home|/some where/"odd"' for host in fleet
    ]
    assert len({host.host_key for host in fleet}) == 3
    assert len({host.address for host in fleet}) == 3


def test_busybox_host_has_nothing_else(sshd_fleet, needs_busybox):
    host = sshd_fleet(1, userland="busybox", environment={"MARK": "a b"})[0]
    said = ssh(
        host.inventory_vars(),
        'echo "$MARK"; ls -l /bin/sh; python3 -V || perl -v || bash -c : || echo none;'
        f"mkdir -p {host.root}; cat > {host.root}/got; test -r /proc/meminfo && test -c /dev/null",
        input=b"data",
    )
    assert said.returncode == 0
    lines = said.stdout.decode().splitlines()
    assert lines[0] == "a b"
    assert lines[1].endswith("/bin/sh -> busybox")
    assert lines[2] == "none"
    assert (host.root_here / "got").read_bytes() == b"data"


def test_new_host_key_is_refused_by_known_hosts(sshd_fleet):
    host = sshd_fleet(1)[0]
    address = host.address, host.port
    assert ssh(host.inventory_vars(), "true").returncode == 0
    host.rotate_host_key()
    assert (host.address, host.port) == address
    said = ssh(host.inventory_vars(), "true")
    assert said.returncode == 255
    assert b"Host key verification failed" in said.stderr


def test_session_is_killed_and_the_daemon_lives(sshd_fleet):
    host = sshd_fleet(1)[0]
    running = subprocess.Popen(
        ["ssh", "-F", "none", "-T", "-i", host.client_key, "-p", str(host.port),
         "-o", f"UserKnownHostsFile={host.known_hosts}", "-o", "LogLevel=ERROR",
         host.address, "echo up; exec sleep 1000"],
        stdout=subprocess.PIPE,
    )  # fmt: skip
    assert running.stdout.readline() == b"up\n"
    assert host.kill_sessions("sleep 1000")
    assert running.wait() != 0
    running.stdout.close()
    assert ssh(host.inventory_vars(), "true").returncode == 0


def test_connection_is_cut_once_after_that_many_bytes(sshd_fleet, tmp_path):
    host = sshd_fleet(1)[0]
    arrived = tmp_path / "arrived"
    with Cut(host, after=6_000_000) as cut:
        first = ssh(cut.inventory_vars(), f"cat > {arrived}", input=bytes(12_000_000))
        assert first.returncode == 255
        assert cut.happened.is_set()
        # More than the 2 MB window has passed, so some of it was taken.
        assert 0 < arrived.stat().st_size < 6_000_000
        second = ssh(cut.inventory_vars(), f"cat > {arrived}", input=bytes(12_000_000))
        assert second.returncode == 0
        assert arrived.stat().st_size == 12_000_000


def test_link_passes_nothing_while_it_stalls_and_everything_after(sshd_fleet):
    host = sshd_fleet(1)[0]
    with Cut(host, latency=0.02) as link:
        asked = threading.Thread(target=ssh, args=(link.inventory_vars(), "true"))
        link.stall()
        asked.start()
        wait_until(lambda: link.connections, "a connection that waits")
        assert (link.passed, link.passed_back) == (0, 0)
        link.heal()
        asked.join()
        assert link.passed > 0
        assert link.passed_back > 0


def test_link_that_is_down_refuses_until_it_is_up(sshd_fleet):
    host = sshd_fleet(1)[0]
    with Cut(host, after_back=3000) as link:
        assert ssh(link.inventory_vars(), "head -c 9000 /dev/zero").returncode == 255
        assert link.happened.is_set()
        link.down()
        assert b"refused" in ssh(link.inventory_vars(), "true").stderr
        link.up()
        assert ssh(link.inventory_vars(), "true").returncode == 0
