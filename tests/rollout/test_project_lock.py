"""One command at a time switches hosts of a fleet project, and tells the others who it is."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import signal
import subprocess

import pytest
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import LockedError, UsageError
from orchestrator.events import BatchStarted, RolloutAborted, RunStarted
from orchestrator.rollout import project_lock, this_process
from tests.project import FleetProject


@pytest.fixture
def project(tmp_path):
    """A project with the host `here`; its benchmark waits until the file `go` is there."""
    here = {
        "ansible_connection": "local",
        "orchestrate_root": str(tmp_path / "root"),
        "orchestrate_model": "word@v1",
    }
    made = FleetProject(tmp_path / "project", {"all": {"hosts": {"here": here}}})
    wait = f"until [ -e {tmp_path / 'go'} ]; do sleep 0.05; done"
    made.settings["profiles"] = {
        "any": {
            "when": "true",
            "artifacts": [{"format": "file"}],
            "config": "any.cfg.j2",
            "engine": {"kind": "command", "run": "true"},
            "verify": {"command": f'{wait}; echo "{{\\"ok\\": true, \\"metrics\\": {{}}}}"'},
        }
    }
    made.write_settings()
    (made.own_templates() / "any.cfg.j2").write_text("x = 1\n")
    (tmp_path / "word.dat").write_text("word\n")
    made.add("word@v1", tmp_path / "word.dat", "--format", "file")
    return made


def deploying(project, state="verify"):
    """A deploy that has come to `state`, and its run's id."""
    running = project.start("deploy", "--yes", "--json-lines")
    for line in running.stdout:
        event = json.loads(line)
        if event.get("state") == state:
            return running, event["run"]
    raise AssertionError(running.communicate()[1].decode())


def ended(running):
    """The exit status, once the pipes are read out."""
    running.communicate(timeout=60)
    return running.returncode


def test_a_second_command_is_told_who_and_what_at_once(project, tmp_path):
    first, run = deploying(project)
    for words in (["deploy", "--yes"], ["rollback", "--yes"]):
        answer = project.run(*words)
        assert (answer.code, answer.error["code"]) == (6, "project_locked")
        message = answer.error["message"]
        assert message.startswith(f"the fleet project is locked by {this_process.who()} since 2")
        assert f"deploy, run {run}, " in message
        assert f"pid {first.pid})" in message
        assert f"kill {first.pid} on " in answer.error["hint"]
        assert "orchestrate unlock fleet-project" in answer.error["hint"]
    assert project.run("status").code == 0, "looking needs no lock"
    (tmp_path / "go").touch()
    assert ended(first) == 0
    assert project.run("deploy", "--yes").code == 0


def test_ctrl_c_lets_go(project, tmp_path):
    first, _ = deploying(project)
    first.send_signal(signal.SIGINT)
    (tmp_path / "go").touch()
    assert ended(first) == 130
    assert project_lock.owner(project.root / ".orchestrate") is None


def test_it_dies_with_its_process(project):
    first, _ = deploying(project, "connect")
    first.kill()
    ended(first)
    state = project.root / ".orchestrate"
    assert json.loads((state / "lock").read_text())["pid"] == first.pid
    assert project_lock.owner(state) is None
    project_lock.take(state, "deploy").release()
    assert (state / "lock").read_text() == ""


def test_an_error_lets_go(project):
    done = CliRunner().invoke(root, ["--project", str(project.root), "deploy"])
    assert isinstance(done.exception, UsageError), "there is no terminal to ask on"
    assert project_lock.owner(project.root / ".orchestrate") is None


def test_what_its_holder_is_doing(tmp_path):
    lock = project_lock.take(tmp_path, "deploy")
    told = []
    for event in (
        RunStarted(run="r1", command="deploy", hosts=("a", "b"), user="me"),
        BatchStarted(run="r1", kind="canary", batch=1, batches=3, hosts=("a",)),
        RolloutAborted(run="r1", reason="x" * 5000, not_begun=("b",)),
    ):
        lock.on_event(event)
        held = project_lock.owner(tmp_path)
        told.append((held["run"], held["doing"]))
    assert told[:2] == [("r1", "2 hosts"), ("r1", "canary 1 of 3")]
    assert told[2][1].startswith("stopping: xxx")
    with pytest.raises(LockedError, match=r"\(deploy, run r1, stopping: x+, pid \d+\)"):
        project_lock.take(tmp_path, "deploy")
    lock.release()
    lock.release()
    lock.on_event(RunStarted(run="r2", command="deploy", hosts=(), user="me"))
    assert project_lock.owner(tmp_path) is None
    assert (tmp_path / "lock").read_text() == ""


def test_a_broken_lock_excludes_its_old_holder_no_more(tmp_path):
    assert project_lock.owner(tmp_path) is None
    old = project_lock.take(tmp_path, "deploy")
    project_lock.break_lock(tmp_path)
    assert project_lock.owner(tmp_path) is None
    new = project_lock.take(tmp_path, "rollback")
    old.release()
    assert project_lock.owner(tmp_path)["command"] == "rollback"
    with pytest.raises(LockedError, match="rollback"):
        project_lock.take(tmp_path, "deploy")
    new.release()


def test_a_lock_that_is_broken_just_when_it_is_taken_is_taken_anew(tmp_path, monkeypatch):
    is_free = project_lock._is_free

    def broken_meanwhile(handle):
        monkeypatch.setattr(project_lock, "_is_free", is_free)
        project_lock.break_lock(tmp_path)
        return is_free(handle)

    monkeypatch.setattr(project_lock, "_is_free", broken_meanwhile)
    lock = project_lock.take(tmp_path, "deploy")
    with pytest.raises(LockedError):
        project_lock.take(tmp_path, "deploy")
    lock.release()


def test_where_the_file_system_knows_no_locks_what_is_written_counts(tmp_path, monkeypatch):
    def none(_handle, _what):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    monkeypatch.setattr(fcntl, "flock", none)
    lock = project_lock.take(tmp_path, "deploy")
    with pytest.raises(LockedError):
        project_lock.take(tmp_path, "deploy")
    lock.release()
    left = project_lock.take(tmp_path, "deploy")
    assert project_lock.owner(tmp_path)["pid"] == os.getpid()
    project_lock.break_lock(tmp_path)
    project_lock.take(tmp_path, "deploy").release()
    left.release()


@pytest.mark.parametrize("text", ["", "no json", "[1]", '{"who": 3, "pid": "x", "since": []}'])
def test_any_text_in_the_file_is_lived_with(tmp_path, text):
    (tmp_path / "lock").write_text(text)
    assert project_lock.owner(tmp_path) is None
    holder = os.open(tmp_path / "lock", os.O_RDWR)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with pytest.raises(LockedError, match="the fleet project is locked by"):
        project_lock.take(tmp_path, "deploy")
    os.close(holder)


def test_what_somebody_wrote_there_does_nothing_to_a_terminal(tmp_path):
    held = project_lock.take(tmp_path, "deploy")
    (tmp_path / "lock").write_text(json.dumps({"who": "eve\x1b[2J@\u009b1m", "pid": 1}) + "\n")
    said = project_lock.locked(project_lock.owner(tmp_path)).message
    held.release()
    assert said.startswith("the fleet project is locked by eve?[2J@?1m (pid 1")


def test_a_process_that_is_gone_is_said_to_be(tmp_path):
    gone = subprocess.Popen(["true"])
    gone.wait()
    owner = this_process.owner("r1", "deploy", 0) | {"pid": gone.pid}
    assert f"pid {gone.pid}, which is gone)" in project_lock.locked(owner).message


def test_where_no_lock_can_be_made_nothing_is_begun(tmp_path):
    (tmp_path / "state").write_text("a file where the folder should be")
    with pytest.raises(UsageError, match="cannot be locked"):
        project_lock.take(tmp_path / "state", "deploy")
