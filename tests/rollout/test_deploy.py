"""The whole path on real OpenSSH hosts: deploy, catch a bad version, roll back, explain."""

from __future__ import annotations

import json

from tests.rollout.conftest import tree


def current(host):
    return (host.root_here / "current").readlink().name


def audit(host):
    return [json.loads(line) for line in (host.root_here / "audit.log").read_text().splitlines()]


def test_four_hosts_from_first_deploy_to_rollback(sshd_fleet, make_project):
    fleet = sshd_fleet(4)
    project = make_project(fleet)

    planned = project.run("plan")
    assert {h["action"] for h in planned.hosts.values()} == {"deploy"}
    assert not any(host.root_here.exists() for host in fleet), "plan touches nothing"

    first = project.run("deploy", "--yes")
    assert (first.code, first.document["outcome"]) == (0, "deployed"), first.stderr
    for host in fleet:
        entry = first.hosts[host.name]
        assert entry["status"] == "deployed"
        assert entry["release"] == current(host)
        assert entry["bytes_sent"] > 0
        assert entry["verify"]["verdict"] == "pass"
        assert entry["verify"]["metrics"]["evals_per_s"] > 0
        assert entry["verify"]["metrics"]["golden_max_error"] < 1e-3
    before = {host.name: tree(host.root_here / "current") for host in fleet}

    again = project.run("deploy", "--yes")
    assert (again.code, again.document["outcome"]) == (0, "unchanged")
    assert {h["bytes_sent"] for h in again.hosts.values()} == {0}

    bad = project.run("deploy", "--yes", "--model", "net@v2")
    assert (bad.code, bad.document["outcome"]) == (3, "failed")
    for host in fleet:
        entry = bad.hosts[host.name]
        assert entry["status"] == "rolled_back"
        assert entry["active"] == "net@v1"
        assert entry["verify"]["verdict"] == "fail"
        assert "golden error" in entry["error"]["message"]
        assert current(host) == first.hosts[host.name]["release"]
        verdicts = [(a["what"], a.get("verdict")) for a in audit(host)]
        assert verdicts[-3:] == [("verify", "fail"), ("revert", None), ("verify", "pass")]
        assert not (host.root_here / "lock").exists()
    assert {host.name: tree(host.root_here / "current") for host in fleet} == before

    project.settings["profiles"]["cpu"]["vars"] = {"onnxruntime_threads": 1}
    project.write_settings()
    good = project.run("deploy", "--yes", "--model", "net@v3")
    assert (good.code, good.document["outcome"]) == (0, "deployed"), good.stderr
    for host in fleet:
        after = tree(host.root_here / "current")
        assert after["v3.onnx"] != before[host.name]["v1.onnx"]
        assert after["cpu.cfg"] != before[host.name]["cpu.cfg"]

    back = project.run("rollback", "--yes")
    assert back.code == 0, back.stderr
    assert back.statuses() == dict.fromkeys(before, "rolled_back")
    assert {h["bytes_sent"] for h in back.hosts.values()} == {0}
    assert {host.name: tree(host.root_here / "current") for host in fleet} == before

    further = project.run("rollback", "--yes")
    assert further.code == 2, "a second rollback goes further back, not forward again"
    assert further.error["code"] == "nothing_to_roll_back_to"


def test_explain_tells_why(sshd_fleet, make_project):
    project = make_project(sshd_fleet(1))
    said = project.text("explain", "host-1")
    assert said.returncode == 0
    for words in ("cpu-x86_64", "raspberry-pi", "has no katago artifact", "runs with onnxruntime"):
        assert words in said.stdout
    document = project.run("explain", "host-1").document
    assert "katago" in json.dumps(document)


def test_a_release_that_is_too_slow_goes_back(sshd_fleet, make_project, nets, tmp_path):
    from tests import lab_nets as lab

    calm = tmp_path / "calm" / "proc" / "loadavg"
    calm.parent.mkdir(parents=True)
    calm.write_text("0.00 0.00 0.00 1/100 1\n")  # this machine may be too busy to judge by
    (host,) = fleet = sshd_fleet(1, environment={"ORCHESTRATE_SYSROOT": str(tmp_path / "calm")})
    project = make_project(fleet)
    assert project.run("deploy", "--yes").code == 0
    lab.make_net(tmp_path / "slow.onnx", seed=9, channels=96, blocks=6)
    lab.golden(tmp_path / "slow.onnx", tmp_path / "slow.npz")
    project.add("net@v9", tmp_path / "slow.onnx", "--golden", str(tmp_path / "slow.npz"))
    slow = project.run("deploy", "--yes", "--model", "net@v9")
    assert slow.code == 3
    assert slow.statuses() == {"host-1": "rolled_back"}
    assert "cpu-x86_64 baseline" in slow.hosts["host-1"]["error"]["message"]
    assert audit(host)[-1]["verdict"] == "pass"


def test_a_first_version_that_fails_leaves_no_current(sshd_fleet, make_project):
    (host,) = fleet = sshd_fleet(1)
    project = make_project(fleet)
    bad = project.run("deploy", "--yes", "--model", "net@v2")
    assert bad.code == 3
    assert bad.statuses() == {"host-1": "failed"}
    assert bad.hosts["host-1"]["release"] is None
    assert not (host.root_here / "current").is_symlink()
    assert not (host.root_here / "lock").exists()
    assert project.run("deploy", "--yes").code == 0


def test_a_release_known_on_the_host_is_only_switched_to(sshd_fleet, make_project):
    fleet = sshd_fleet(1)
    project = make_project(fleet)
    for version in ("v1", "v3"):
        assert project.run("deploy", "--yes", "--model", f"net@{version}").code == 0
    again = project.run("deploy", "--yes", "--model", "net@v1")
    assert again.code == 0
    assert again.hosts["host-1"]["status"] == "deployed"
    assert again.hosts["host-1"]["bytes_sent"] == 0


def test_verify_and_status_see_what_is_active(sshd_fleet, make_project):
    (host,) = fleet = sshd_fleet(1)
    project = make_project(fleet)
    assert project.run("status").hosts["host-1"]["state"] == "empty"
    assert project.run("verify").hosts["host-1"]["error"]["code"] == "nothing_active"
    project.run("deploy", "--yes")
    assert project.run("verify").statuses() == {"host-1": "verified"}
    assert project.run("status").hosts["host-1"]["state"] == "ok"
    config = host.root_here / "current" / "cpu.cfg"
    config.write_text(config.read_text() + "# by hand\n")
    status = project.run("status").hosts["host-1"]
    assert (status["state"], status["notes"]) == ("drift", ["cpu.cfg was changed by hand"])
    model = host.root_here / "current" / "v1.onnx"
    model.unlink()
    model.write_bytes(b"not a net")
    broken = project.run("verify")
    assert broken.code == 4
    assert broken.hosts["host-1"]["error"]["code"] == "verify_failed"
    assert project.run("status").hosts["host-1"]["state"] == "failing"


def test_history_lists_runs_and_can_be_lost(sshd_fleet, make_project):
    fleet = sshd_fleet(1)
    project = make_project(fleet)
    project.run("deploy", "--yes")
    assert "deploy" in project.text("history").stdout
    database = project.root / ".orchestrate" / "history.db"
    for path in database.parent.glob("history.db*"):
        path.unlink()
    database.write_bytes(b"this is no database, whatever it was before")
    answer = project.run("deploy", "--yes", "--model", "net@v3")
    assert answer.code == 0
    assert "warning" in answer.stderr


def test_a_busybox_host_is_served_with_a_command_engine(
    sshd_fleet, needs_busybox, make_project, tmp_path
):
    fleet = sshd_fleet(0)
    host = fleet.add("tiny", userland="busybox")
    project = make_project(fleet, orchestrate_python="")
    project.settings["profiles"] = {
        "tiny": {
            "when": "true",
            "artifacts": [{"format": "file"}],
            "config": "tiny.cfg.j2",
            "engine": {"kind": "command", "run": "cat words.bin"},
            "verify": {"command": 'echo "{\\"ok\\": true, \\"metrics\\": {}}"'},
        }
    }
    project.write_settings()
    (project.own_templates() / "tiny.cfg.j2").write_text("name = {{ host.name }}\n")
    (tmp_path / "words.bin").write_bytes(b"hello\n")
    project.add("words@v1", tmp_path / "words.bin", "--format", "file")
    answer = project.run("deploy", "--yes", "--model", "words@v1")
    assert answer.code == 0, answer.stderr
    assert (host.root_here / "current" / "tiny.cfg").read_text() == "name = tiny\n"
    assert project.run("deploy", "--yes", "--model", "words@v1").document["outcome"] == "unchanged"
