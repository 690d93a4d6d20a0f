"""Up, status, down, and what is left: nothing."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest
import yaml

from orchestrator.errors import OrchestrateError, UsageError
from orchestrator.fleet import inventory
from orchestrator.lab import fleet
from orchestrator.lab.layout import Layout, read_json, write_json
from orchestrator.lab.processes import MARK, end_marked, marked
from tests.lab.conftest import running
from tests.lab.test_server import wait_until

ONE = {"rpi": 1}


def everything_below(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))


def test_down_leaves_nothing_behind(tmp_path):
    before = everything_below(tmp_path)
    with running(tmp_path, {"rpi": 1, "gpu": 1}) as lab:
        token = read_json(lab.layout.plan)["token"]
        # A process that has left its session, and a folder that resists deletion.
        started = lab.run("lab-rpi-1", "setsid sleep 300 > /dev/null 2>&1 & echo ok")
        assert started.stdout == b"ok\n"
        lab.run("lab-rpi-1", "mkdir closed && touch closed/file && chmod 500 closed")
        assert len(marked(token)) == 2
        assert fleet.down(tmp_path) is True
        assert marked(token) == []
    left = [path for path in everything_below(tmp_path) if path != "inventory"]
    assert left == before == []
    assert fleet.down(tmp_path) is False


def test_status_is_none_until_up_and_after_down(tmp_path):
    assert fleet.status(tmp_path) is None
    with running(tmp_path, ONE) as lab:
        assert fleet.status(tmp_path) == lab.status
        assert lab.status.hosts[0].identity == "Raspberry Pi 4 Model B Rev 1.4"
    assert fleet.status(tmp_path) is None


def test_a_second_up_names_the_hosts_and_the_way_out(tmp_path):
    with running(tmp_path, ONE) as lab:
        with pytest.raises(UsageError, match="lab-rpi-1") as raised:
            fleet.up(tmp_path, {"gpu": 1})
        assert raised.value.hint == "orchestrate lab down"
        assert fleet.status(tmp_path) == lab.status


def test_up_recovers_from_a_dead_daemon(tmp_path):
    with running(tmp_path, ONE) as lab:
        os.kill(lab.status.pid, signal.SIGKILL)
        token = read_json(lab.layout.plan)["token"]
        wait_until(lambda: not marked(token))
        with running(tmp_path, {"gpu": 1}) as second:
            assert [host.name for host in second.status.hosts] == ["lab-gpu-1"]


def test_down_cleans_after_a_killed_up(tmp_path):
    """The daemon serves, but `up` died before it wrote the inventory."""
    with running(tmp_path, ONE) as lab:
        lab.layout.inventory.unlink()
        lab.layout.known_hosts.unlink()
        lab.layout.running.unlink()
        token = read_json(lab.layout.plan)["token"]
        assert fleet.down(tmp_path) is True
        assert marked(token) == []
        assert not lab.layout.folder.exists()


def test_down_without_a_plan_deletes_the_folder(tmp_path):
    layout = Layout(tmp_path)
    layout.folder.mkdir(parents=True)
    assert fleet.down(tmp_path) is True
    assert not layout.folder.exists()


def test_the_daemon_ends_when_the_project_is_deleted(tmp_path):
    with running(tmp_path, ONE) as lab:
        token = read_json(lab.layout.plan)["token"]
        lab.layout.plan.unlink()
        wait_until(lambda: not marked(token))


def test_another_process_with_the_recorded_id_is_left_alone(tmp_path):
    """A recycled process id or port is not the lab."""
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with bystander:
        layout = Layout(tmp_path)
        layout.folder.mkdir(parents=True)
        write_json(layout.plan, {"token": "0123", "hosts": ONE})
        write_json(layout.running, {"pid": bystander.pid, "control_port": 1, "hosts": {}})
        assert fleet.status(tmp_path) is None
        assert fleet.down(tmp_path) is True
        assert bystander.poll() is None
        bystander.stdin.write(b"\n")
    assert bystander.returncode == 0


def test_only_processes_with_the_token_end(tmp_path):
    def start(token):
        return subprocess.Popen(
            [sys.executable, "-c", "print(flush=True); input()"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env={**os.environ, MARK: token},
        )

    with start("one") as ours, start("one-more") as theirs:
        ours.stdout.readline()
        theirs.stdout.readline()
        assert end_marked("one") == 1
        assert ours.wait(30) == -signal.SIGKILL
        assert theirs.poll() is None
        theirs.stdin.write(b"\n")
    assert theirs.returncode == 0


def test_the_inventory_is_read_by_the_project(lab):
    loaded = inventory.load(lab.project / "inventory")
    assert set(loaded.groups["lab"]) == {host.name for host in lab.status.hosts}
    assert loaded.groups["lab_pis"] == ("lab-rpi-1", "lab-rpi-2")
    host = loaded.hosts["lab-gpu-1"]
    assert host.vars["ansible_port"] == lab.port("lab-gpu-1")
    assert host.vars["orchestrate_python"] == sys.executable
    assert host.vars["orchestrate_root"].startswith(str(lab.layout.host("lab-gpu-1")))


def test_a_project_whose_path_has_a_space(tmp_path):
    project = tmp_path / "my fleet"
    project.mkdir()
    with running(project, ONE) as lab:
        group = yaml.safe_load(lab.layout.inventory.read_text())["all"]["children"]["lab"]
        assert group["vars"]["ansible_ssh_common_args"] == (
            f"-o 'UserKnownHostsFile=\"{lab.layout.known_hosts}\"'"
        )


def test_an_inventory_that_is_not_ours_is_kept(tmp_path):
    (tmp_path / "inventory").mkdir()
    (tmp_path / "inventory/lab.yml").write_text("mine: {}\n")
    with pytest.raises(UsageError, match="not of a lab"):
        fleet.up(tmp_path, ONE)
    fleet.down(tmp_path)
    assert (tmp_path / "inventory/lab.yml").read_text() == "mine: {}\n"


def test_a_taken_port_is_said_and_nothing_stays(tmp_path):
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
    with running(tmp_path / "one", ONE) as lab:
        port = lab.port("lab-rpi-1")
        with pytest.raises(OrchestrateError, match="did not start") as raised:
            fleet.up(tmp_path / "two", ONE, port_base=port)
        assert "in use" in raised.value.message
        assert "--port-base" in raised.value.hint
    assert not Layout(tmp_path / "two").folder.exists()


def test_refused_then_mended(tmp_path):
    with running(tmp_path, ONE) as lab:
        fleet.break_host(tmp_path, "lab-rpi-1", "refuse")
        assert fleet.status(tmp_path).hosts[0].broken == "refuse"
        assert b"Connection refused" in lab.run("lab-rpi-1", "true").stderr
        fleet.mend_host(tmp_path, "lab-rpi-1")
        assert fleet.status(tmp_path).hosts[0].broken == ""
        assert lab.run("lab-rpi-1", "true").returncode == 0


def test_hosts_that_are_off_lose_all_but_their_files(tmp_path):
    with running(tmp_path, {"rpi": 1, "gpu": 2}) as lab:
        token = read_json(lab.layout.plan)["token"]
        off = ("lab-rpi-1", "lab-gpu-2")
        for name in (*off, "lab-gpu-1"):
            # A process that has left its session, and one on a connection that is open.
            lab.run(name, "echo kept > file; setsid sleep 300 > /dev/null 2>&1 &")
        with subprocess.Popen(lab.ssh("lab-rpi-1", "sleep 300"), stderr=subprocess.PIPE) as login:
            wait_until(lambda: len(marked(token, "lab-rpi-1")) >= 2)
            fleet.take_down(tmp_path, off)
            assert login.wait(30) == 255
        assert [host.up for host in fleet.status(tmp_path).hosts] == [False, True, False]
        assert [len(marked(token, name)) for name in off] == [0, 0]
        assert len(marked(token, "lab-gpu-1")) == 1
        assert b"Connection refused" in lab.run("lab-gpu-2", "true").stderr

        fleet.break_host(tmp_path, "lab-rpi-1", "new-host-key")
        fleet.break_host(tmp_path, "lab-gpu-2", "cut-after:1")
        fleet.mend_host(tmp_path, "lab-gpu-2")
        assert b"Connection refused" in lab.run("lab-gpu-2", "true").stderr
        fleet.bring_up(tmp_path, off)
        assert all(host.up for host in fleet.status(tmp_path).hosts)
        assert b"Host key verification failed" in lab.run("lab-rpi-1", "true").stderr
        assert lab.run("lab-gpu-2", "cat file").stdout == b"kept\n"


def test_no_host_goes_down_when_one_is_unknown(lab):
    with pytest.raises(UsageError, match="the lab has no host 'lab-rpi-9'"):
        fleet.take_down(lab.project, ["lab-rpi-1", "lab-rpi-9"])
    assert fleet.status(lab.project) == lab.status


def test_another_host_key_then_the_old_one(tmp_path):
    with running(tmp_path, ONE) as lab:
        fleet.break_host(tmp_path, "lab-rpi-1", "new-host-key")
        assert b"Host key verification failed" in lab.run("lab-rpi-1", "true").stderr
        fleet.mend_host(tmp_path, "lab-rpi-1")
        assert lab.run("lab-rpi-1", "true").returncode == 0


def test_a_cut_leaves_a_part_and_ends_the_command(tmp_path):
    with running(tmp_path, ONE) as lab:
        fleet.break_host(tmp_path, "lab-rpi-1", "cut-after:500000")
        assert lab.run("lab-rpi-1", "cat > part", bytes(2_000_000)).returncode == 255
        fleet.mend_host(tmp_path, "lab-rpi-1")
        part = lab.layout.host("lab-rpi-1") / "home" / "part"
        wait_until(lambda: 400_000 < part.stat().st_size <= 500_000)


def test_a_slow_lab_still_works(tmp_path):
    with running(tmp_path, ONE, latency=0.02, rate=1_000_000) as lab:
        assert lab.run("lab-rpi-1", "wc -c", bytes(200_000)).stdout.strip() == b"200000"


@pytest.mark.parametrize(
    ("host", "how", "message"),
    [
        ("lab-rpi-9", "refuse", "the lab has no host 'lab-rpi-9'"),
        ("lab-rpi-1", "explode", "cannot break a host by 'explode'"),
        ("lab-rpi-1", "cut-after", "cannot break a host by 'cut-after'"),
        ("lab-rpi-1", "cut-after:x", "cannot break a host by 'cut-after:x'"),
        ("lab-rpi-1", "refuse:3", "cannot break a host by 'refuse:3'"),
    ],
)
def test_what_cannot_be_broken_is_said(lab, host, how, message):
    with pytest.raises(UsageError, match=message):
        fleet.break_host(lab.project, host, how)


def test_breaking_needs_a_lab(tmp_path):
    with pytest.raises(UsageError, match="no lab is up"):
        fleet.break_host(tmp_path, "lab-rpi-1", "refuse")
