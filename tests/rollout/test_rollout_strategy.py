"""Canaries, batches and limits, by the real command on real hosts."""

from __future__ import annotations

import copy
import dataclasses
import json
import os
import pty
import shutil
import signal
import subprocess
import sys
import threading

import pytest

from orchestrator import cli
from orchestrator.errors import SelectionError, UnreachableError
from orchestrator.fleet.project import Project
from orchestrator.history import open_history
from orchestrator.planning.preflight import Problem
from orchestrator.rollout import batch_run
from orchestrator.rollout.host_run import survey_host
from orchestrator.rollout.task import Failed
from tests.controller import environment
from tests.rollout.conftest import tree
from tests.rollout.file_project import file_project
from tests.sshd import Fleet
from tests.waiting import wait_until

# A host whose REFUSES is in the model refuses it, one whose HANGS is in it never answers.
CHECK = """
if grep -q "${HANGS:-nothing}" *.bin; then exec sleep 600; fi
if grep -q "${REFUSES:-nothing}" *.bin; then echo '{"ok": false, "reason": "it refuses"}'
else echo '{"ok": true, "metrics": {}}'; fi
"""
V2 = ("--yes", "--model", "file@v2")


@pytest.fixture(scope="module")
def a_project(tmp_path_factory):
    """A project that is never deployed; copies of it are."""
    folder = tmp_path_factory.mktemp("project")
    with Fleet(folder / "fleet") as fleet:
        project = file_project(folder, fleet, verify={"command": CHECK, "timeout": 60})
    project.write_inventory({"all": {"hosts": {"a": {"orchestrate_model": "file@v1"}}}})
    return project


@pytest.fixture
def make(sshd_fleet, tmp_path, a_project):
    """`make(a={}, b={"REFUSES": "v2"})`: hosts that all run file@v1, and their project."""

    def made(*, first_deploy=True, **hosts):
        fleet = sshd_fleet(0)
        for name, variables in hosts.items():
            fleet.add(name, environment=variables)
        project = copy.copy(a_project)
        project.root = shutil.copytree(a_project.root, tmp_path / "project")
        project.settings = copy.deepcopy(a_project.settings)
        project.write_inventory(fleet.inventory(orchestrate_model="file@v1"))
        if first_deploy:
            answer = project.run("deploy", "--yes")
            assert answer.code == 0, answer.document
        return project, {host.name: host for host in fleet}

    return made


def strategy(project, **rollout):
    project.settings["rollout"] = rollout
    project.write_settings()


def active(host):
    link = host.root_here / "current"
    return link.readlink().name[:7] if link.is_symlink() else None


def untouched(host):
    """Everything in the root but the lock, which is made and removed within a run."""
    return tree(host.root_here)


def started(events):
    return [(e["kind"], e["hosts"]) for e in events if e["event"] == "batch_started"]


def test_a_bad_version_stops_at_the_canary(make):
    project, hosts = make(a={"REFUSES": "v2"}, b={}, c={})
    strategy(project)  # the defaults: one host of each hardware class, and these are of one
    before = {name: untouched(hosts[name]) for name in "bc"}
    answer = project.run("deploy", *V2)
    assert answer.code == 3
    assert answer.statuses() == {"a": "rolled_back", "b": "skipped", "c": "skipped"}
    reason = "the canary did not pass: a (rolled back)"
    assert answer.document["aborted"] == reason
    error = answer.hosts["b"]["error"]
    assert (error["code"], error["message"]) == ("aborted", f"not begun: {reason}")
    assert f"orchestrate deploy --resume {answer.document['run']}" in error["hint"]
    assert {name: untouched(hosts[name]) for name in "bc"} == before
    assert active(hosts["a"]) == "file-v1"

    shown = project.text("deploy", *V2).stdout.splitlines()
    assert shown[1].split(None, 2)[1:] == ["skipped", "not begun"]
    aborted, total, next_command = shown[-3:]
    assert aborted == f"aborted: {reason}"
    assert total.startswith("2 skipped, 1 rolled back · run ")
    assert "orchestrate deploy --resume " in next_command
    again = project.run("deploy", *V2, "--canary", "c")
    assert again.statuses() == {"a": "rolled_back", "b": "deployed", "c": "deployed"}
    assert again.document["aborted"] is None, "all hosts had their turn"


def test_batches_follow_the_canary_and_each_other(make):
    project, hosts = make(a={}, b={}, c={}, d={}, first_deploy=False)
    strategy(project, canary=["c"], batches=[1, "50%"])
    running = project.start("--json-lines", "deploy", "--yes")
    out, err = running.communicate(timeout=60)
    assert running.returncode == 0, err
    events = [json.loads(line) for line in out.splitlines()]
    assert started(events) == [("canary", ["c"]), ("batch", ["a"]), ("batch", ["b", "d"])]
    locked = [e["host"] for e in events if e["event"] == "state_entered" and e["state"] == "lock"]
    assert locked[:2] == ["c", "a"]
    for first, then in (("c", "a"), ("a", "b"), ("a", "d")):
        done = next(
            n for n, e in enumerate(events) if e["event"] == "host_finished" and e["host"] == first
        )
        begun = next(
            n for n, e in enumerate(events) if e.get("state") == "lock" and e["host"] == then
        )
        assert done < begun
    assert {active(host) for host in hosts.values()} == {"file-v1"}
    assert project.run("deploy", "--yes").document["outcome"] == "unchanged"


def test_more_failures_than_allowed_in_the_whole_fleet_stop_the_rollout(make):
    refuses = {"REFUSES": "v2"}
    project, hosts = make(a=refuses, b=refuses, c={}, d={})
    strategy(project, canary="none", batches=[2], max_failed="49%")
    answer = project.run("deploy", *V2)
    assert answer.code == 3
    assert answer.document["aborted"] == "2 of 4 hosts failed, more than max_failed (49%)"
    assert list(answer.statuses().values()) == ["rolled_back"] * 2 + ["skipped"] * 2
    assert active(hosts["c"]) == "file-v1"
    one_by_one = project.run("deploy", *V2, "--batches", "100%", "--parallel", "1")
    assert list(one_by_one.statuses().values()) == ["rolled_back"] * 2 + ["skipped"] * 2
    allowed = project.run("deploy", *V2, "--max-failed", "2")
    assert allowed.code == 3
    assert list(allowed.statuses().values()) == ["rolled_back"] * 2 + ["deployed"] * 2
    assert allowed.document["aborted"] is None


def test_an_aborted_rollout_puts_back_what_had_succeeded(make):
    project, hosts = make(a={}, b={"REFUSES": "v2"}, c={})
    strategy(project, canary="none", batches=[2], max_failed=0, on_abort="rollback")
    answer = project.run("deploy", *V2)
    assert answer.code == 3
    assert answer.statuses() == {"a": "rolled_back", "b": "rolled_back", "c": "skipped"}
    back = answer.hosts["a"]
    assert back["error"]["code"] == "aborted"
    assert back["release"] == back["previous"] != back["tried"]
    assert back["active"] == "file@v1"
    assert {active(host) for host in hosts.values()} == {"file-v1"}
    assert not any((host.root_here / "lock").exists() for host in hosts.values())
    told = project.run("history", answer.document["run"]).hosts
    assert {name: host["status"] for name, host in told.items()} == answer.statuses()
    # It is told as a rollback, so that nobody goes back to the version that was aborted.
    assert project.run("rollback", "--yes", "--limit", "a").error["code"] == (
        "nothing_to_roll_back_to"
    )


def test_where_nothing_was_active_before_an_abort_leaves_what_passed(make):
    project, hosts = make(a={}, b={"REFUSES": "v2"}, first_deploy=False)
    strategy(project, canary="none", max_failed=0, on_abort="rollback")
    answer = project.run("deploy", *V2)
    assert answer.code == 3
    assert answer.statuses() == {"a": "deployed", "b": "failed"}
    assert answer.hosts["a"]["error"]["code"] == "not_put_back"
    assert "nothing was active before" in answer.hosts["a"]["error"]["message"]
    assert (active(hosts["a"]), active(hosts["b"])) == ("file-v2", None)


def test_hosts_that_do_not_answer_stop_a_rollout_before_anything_is_touched(make):
    project, hosts = make(a={}, b={}, first_deploy=False)
    hosts["a"].stop()
    strategy(project, canary="none", max_unreachable=0)
    answer = project.run("deploy", "--yes")
    assert answer.code == 5
    assert answer.statuses() == {"a": "unreachable", "b": "skipped"}
    assert not hosts["b"].root_here.exists()
    strategy(project, canary=["a"])
    answer = project.run("deploy", "--yes")
    assert answer.document["aborted"] == "no canary answers: a"
    assert not hosts["b"].root_here.exists()
    strategy(project, max_failed=0)
    answer = project.run("deploy", "--yes")
    assert answer.code == 5
    assert answer.statuses() == {"a": "unreachable", "b": "deployed"}


def test_a_host_that_cannot_take_the_release_is_no_canary(make):
    project, hosts = make(a={}, b={}, first_deploy=False)
    hosts["a"].root_here.touch()  # a file where the root should be
    strategy(project, max_failed=1)
    answer = project.run("deploy", "--yes")
    assert answer.code == 3
    assert answer.statuses() == {"a": "failed", "b": "deployed"}
    assert answer.hosts["a"]["error"]["code"] == "permission"


def test_a_question_needs_a_terminal_or_yes(make):
    project, hosts = make(a={}, b={}, first_deploy=False)
    strategy(project, pause="ask")
    refused = project.run("deploy")
    assert (refused.code, refused.error["code"]) == (2, "usage")
    assert "--yes" in refused.error["hint"]
    assert not any(host.root_here.exists() for host in hosts.values())
    assert project.run("deploy", "--yes").code == 0


def answering(project, *answers):
    """A deploy on a terminal: each answer is given once its question stands there."""
    ours, theirs = pty.openpty()
    words = [*project._argv(["deploy", "--model", "file@v2"])]
    with subprocess.Popen(
        words,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(),
    ) as running:
        os.close(theirs)
        said = b""
        for question, answer in answers:
            while question not in said:
                piece = os.read(running.stderr.fileno(), 4096)
                assert piece, said
                said += piece
            os.write(ours, answer)
        out, _ = running.communicate(timeout=60)
        os.close(ours)
    return running.returncode, out.decode(), said.decode()


@pytest.mark.parametrize(
    ("answer", "code", "b"), [(b"y\n", 0, "file-v2"), (b"n\n", 130, "file-v1")]
)
def test_a_question_stands_between_the_batches(make, answer, code, b):
    project, hosts = make(a={}, b={})
    strategy(project, pause="ask")
    ended, out, said = answering(
        project, (b"Go ahead?", b"y\n"), (b"Begin batch 1 of 1 (1 host)?", answer)
    )
    assert ended == code
    assert "Order: canary: a; then 1 host.\n" in out
    assert "So far: 1 deployed.\n  a: deployed" in said
    assert "Next: b.\nBegin" in said
    assert [active(hosts[name]) for name in "ab"] == ["file-v2", b]
    assert ("stopped: the answer before batch 1 of 1 was no" in out) == (code == 130)


def test_ctrl_c_ends_a_pause(make):
    project, hosts = make(a={}, b={})
    strategy(project, pause=600)
    running = project.start("--json", "deploy", *V2)
    assert b"Waiting 600 s before batch 1 of 1 (1 host)." in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    document = json.loads(out)
    assert running.returncode == document["exit_code"] == 130
    statuses = [document["hosts"][name]["status"] for name in "ab"]
    assert statuses == ["deployed", "skipped"]
    assert document["hosts"]["b"]["error"]["code"] == "interrupted"
    assert document["aborted"] is None
    assert [active(hosts[name]) for name in "ab"] == ["file-v2", "file-v1"]


def test_ctrl_c_twice_stops_at_once(make):
    project, hosts = make(a={"HANGS": "v2"}, b={})
    host = hosts["a"]
    strategy(project, canary="none")
    running = project.start("--json", "deploy", *V2, "--parallel", "1")
    wait_until(lambda: any("600" in p.argv for p in host.processes()), "the check hangs")
    running.send_signal(signal.SIGINT)
    assert b"Once more (Ctrl-C) ends them at once" in running.stderr.readline()
    running.send_signal(signal.SIGINT)
    out, _ = running.communicate(timeout=60)
    document = json.loads(out)
    assert running.returncode == document["exit_code"] == 130
    assert document["outcome"] == "interrupted"
    assert document["hosts"]["b"]["status"] == "skipped"
    told = document["hosts"]["a"]["error"]
    assert told["code"] == "halted"
    assert told["message"].startswith("stopped at once: file-v1-")
    assert [active(hosts[name]) for name in "ab"] == ["file-v1", "file-v1"]
    wait_until(lambda: not any("600" in p.argv for p in host.processes()), "nothing runs on")
    assert not (host.root_here / "lock").exists()
    assert project.run("verify").code == 0


@pytest.mark.parametrize(
    ("flag", "value", "cause", "hint"),
    [
        ("--canary", "nobody", "--canary nobody: 'nobody' is neither a host", "There are: a"),
        ("--canary", "0", "0 would be no host at all", "hardware_class"),
        ("--batches", "1,many", "'many' is neither a count nor a percentage", "1,25%,100%"),
        ("--batches", "", "'' is neither a count nor a percentage", "1,25%,100%"),
        ("--pause", "soon", "'soon' is neither seconds nor ask", "30"),
        ("--max-failed", "101%", "101% is more than the whole fleet", "10%"),
        ("--max-unreachable", "1.5", "1.5 is no whole number of hosts", "10%"),
        ("--on-abort", "undo", "'undo' is not one of 'keep', 'rollback'", "--help"),
        ("--parallel", "0", "0 is not in the range", "--help"),
    ],
)
def test_flags_that_cannot_be_read(a_project, capsys, flag, value, cause, hint):
    document = deploy_in_process(a_project, capsys, flag, value)
    assert document["exit_code"] == 2
    assert flag in document["error"]["message"]
    assert cause in document["error"]["message"]
    assert hint in document["error"]["hint"]


def deploy_in_process(project, capsys, *words):
    with pytest.MonkeyPatch.context() as patch:
        argv = ["orchestrate", "--project", str(project.root), "--json", "deploy", "--yes", *words]
        patch.setattr(sys, "argv", argv)
        before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGHUP)}
        with pytest.raises(SystemExit):
            cli.main()
        for number, handler in before.items():
            signal.signal(number, handler)
    said = capsys.readouterr()
    return json.loads(said.out)


def test_a_host_is_looked_at_again_before_it_is_begun_late(make, capsys, monkeypatch):
    project, hosts = make(a={}, first_deploy=False)
    monkeypatch.setattr(batch_run, "FRESH", -1.0)
    document = deploy_in_process(project, capsys)
    assert document["exit_code"] == 0
    assert hosts["a"].log.count("Accepted publickey") == 2
    assert not [t for t in threading.enumerate() if t.name.startswith("host_")]
    with open_history(Project(project.root).history_url, pytest.fail) as history:
        states = [step.state for step in history.run(document["run"]).transitions]
    assert states[:7] == [*["connect", "facts", "plan"] * 2, "lock"]


def hot(answer):
    return dataclasses.replace(
        answer, problems=(Problem("temperature", "it is too hot", "", blocks=True),)
    )


def other_artifact(answer):
    file = dataclasses.replace(answer.plan.release.blobs[0], sha256="0" * 64)
    release = dataclasses.replace(answer.plan.release, id="file-v1-other", blobs=(file,))
    return dataclasses.replace(answer, plan=dataclasses.replace(answer.plan, release=release))


@pytest.mark.parametrize(
    ("change", "status", "code", "told"),
    [
        (hot, "failed", 3, "it is too hot"),
        (other_artifact, "failed", 3, "a changed since it was planned for: it would now get file-"),
        (lambda s: Failed(s.task, SelectionError("nothing fits")), "failed", 3, "nothing fits"),
        (lambda s: Failed(s.task, UnreachableError("gone")), "unreachable", 5, "gone"),
    ],
)
def test_what_a_late_look_at_a_host_finds(make, capsys, monkeypatch, change, status, code, told):
    project, hosts = make(a={}, first_deploy=False)

    def look_again(task):
        answer = survey_host(task)
        if isinstance(changed := change(answer), Failed):
            answer.session.close()
        return changed

    monkeypatch.setattr(batch_run, "FRESH", -1.0)
    monkeypatch.setattr(batch_run, "survey_host", look_again)
    document = deploy_in_process(project, capsys)
    outcome = document["hosts"]["a"]
    assert (document["exit_code"], outcome["status"]) == (code, status)
    assert told in outcome["error"]["message"]
    assert active(hosts["a"]) is None
    assert not [t for t in threading.enumerate() if t.name.startswith("host_")]
