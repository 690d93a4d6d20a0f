"""Real SSH clients talk to the lab's hosts."""

from __future__ import annotations

import hashlib
import random
import subprocess

import paramiko
import pytest

from orchestrator.lab.layout import read_json
from orchestrator.lab.processes import marked

MEBIBYTE = 1024 * 1024


def test_a_command_runs_for_real_in_the_hosts_own_home(lab):
    done = lab.run("lab-rpi-1", 'pwd; echo "$HOME"; echo to stderr >&2; exit 7')
    home = str(lab.layout.host("lab-rpi-1") / "home")
    assert done.stdout.decode().split() == [home, home]
    assert done.stderr == b"to stderr\n"
    assert done.returncode == 7


def test_nothing_of_the_operators_environment_reaches_a_host(lab, monkeypatch):
    monkeypatch.setenv("SECRET_OF_THE_OPERATOR", "x")
    names = {line.partition("=")[0] for line in lab.run("lab-rpi-1", "env").stdout.decode().split()}
    assert names >= {"HOME", "PATH", "ORCHESTRATE_SYSROOT"}
    assert not {name for name in names if name.startswith(("SECRET", "PYTHON", "VIRTUAL_ENV"))}


@pytest.mark.parametrize("host", ["lab-rpi-1", "lab-gpu-2"])
def test_binary_goes_up_and_comes_back_intact(lab, host):
    data = random.Random(1).randbytes(5 * MEBIBYTE + 13)
    up = lab.run(host, "cat > blob && sha256sum < blob", data)
    assert up.stdout.decode().split()[0] == hashlib.sha256(data).hexdigest()
    assert lab.run(host, "cat blob; rm blob").stdout == data


def test_output_after_the_other_stream_is_closed_is_not_lost(lab):
    assert lab.run("lab-rpi-1", "exec 2>&-; sleep 0.1; echo late").stdout == b"late\n"
    assert lab.run("lab-rpi-1", "exec >&-; sleep 0.1; echo late >&2").stderr == b"late\n"


def test_a_command_that_reads_nothing_ends_whatever_is_sent(lab):
    done = lab.run("lab-rpi-1", "exit 4", bytes(20 * MEBIBYTE))
    assert done.returncode == 4


def test_without_a_command_sh_reads_stdin(lab):
    ssh = lab.ssh("lab-rpi-1", "")[:-1]
    done = subprocess.run(
        ssh, input=b"echo $((6 * 7))\n", capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b"42\n"


def test_a_stranger_is_not_let_in(lab, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    ssh = [
        str(key) if part == str(lab.layout.client_key) else part
        for part in lab.ssh("lab-rpi-1", "true")
    ]
    done = subprocess.run(ssh, capture_output=True, timeout=60, check=False)
    assert done.returncode == 255
    assert b"Permission denied" in done.stderr


def test_every_host_has_its_own_key(lab):
    keys = {line.split()[2] for line in lab.layout.known_hosts.read_text().splitlines()}
    assert len(keys) == len(lab.status.hosts)


def test_paramiko_with_its_known_hosts(lab):
    client = paramiko.SSHClient()
    client.load_host_keys(str(lab.layout.known_hosts))
    client.connect(
        "127.0.0.1",
        lab.port("lab-jetson-1"),
        "lab",
        key_filename=str(lab.layout.client_key),
        allow_agent=False,
        look_for_keys=False,
        timeout=20,
    )
    with client:
        stdin, stdout, _ = client.exec_command("sha256sum", timeout=20)
        data = random.Random(2).randbytes(3 * MEBIBYTE)
        stdin.write(data)
        stdin.channel.shutdown_write()
        assert stdout.read().split()[0].decode() == hashlib.sha256(data).hexdigest()
        assert stdout.channel.recv_exit_status() == 0


def test_a_lost_connection_kills_the_commands_process_group(lab):
    token = read_json(lab.layout.plan)["token"]
    client = subprocess.Popen(
        lab.ssh("lab-rpi-2", "trap '' HUP TERM; sleep 300 & echo ready; wait"),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    with client:
        assert client.stdout.readline() == b"ready\n"
        assert len(marked(token)) >= 3  # the daemon, sh and sleep
        client.kill()
    wait_until(lambda: marked(token) == [lab.status.pid])


def wait_until(condition, patience=30.0):
    """Returns as soon as `condition` holds; fails only when it never does."""
    import time

    deadline = time.monotonic() + patience
    while not condition():
        assert time.monotonic() < deadline, "it never came to be"
        time.sleep(0.02)
