"""`orchestrate resume` and `deploy --resume`, after the controller was killed."""

from __future__ import annotations

import json

import pytest
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import UsageError
from tests.project import FleetProject
from tests.rollout.file_project import file_project

# Waits for the file `go` in the host's home; file@v2 fails where a file `bad` lies.
CHECK = (
    'until [ -e "$HOME/go" ]; do sleep 0.05; done; '
    '! { [ -e "$HOME/bad" ] && grep -q v2 "$MODEL"; } && echo \'{"ok": true, "metrics": {}}\''
)


@pytest.fixture
def make_fleet(sshd_fleet, tmp_path):
    """`make_fleet(n)`: a fleet whose hosts all have file@v1, two of them worked on at a time."""

    def make(count):
        fleet = sshd_fleet(count)
        project = file_project(tmp_path, fleet, verify={"command": CHECK})
        project.settings["rollout"] = {"canary": "none", "max_failed": "100%", "revert_after": 600}
        project.settings["parallel"] = 2
        project.write_settings()
        for host in fleet:
            (home(host) / "go").touch()
        assert project.run("deploy", "--yes").code == 0
        return fleet, project

    return make


def home(host):
    return host.folder / "home"


def killed_at(project, hosts, *words, state="verify"):
    """The id of a run that was killed when all of `hosts` were in `state`."""
    waiting = {host.name for host in hosts}
    running = project.start(*words, "--yes", "--json-lines")
    for line in running.stdout:
        event = json.loads(line)
        if event.get("state") == state:
            waiting -= {event["host"]}
        if not waiting:
            break
    running.kill()
    said = running.communicate()[1].decode()
    assert not waiting, said
    return event["run"]


def active(host):
    """The version of the active release."""
    return json.loads((host.root_here / "current" / "manifest.json").read_text())["version"]


def test_a_killed_deploy_is_settled_and_gone_on_with(make_fleet):
    fleet, project = make_fleet(3)
    good, bad, untouched = fleet
    for host in (good, bad):
        (home(host) / "go").unlink()
    run = killed_at(project, (good, bad), "deploy", "--model", "file@v2")
    assert [active(host) for host in fleet] == ["v2", "v2", "v1"]
    status = project.run("status", "--check")
    assert status.code == 3
    assert [status.hosts[host.name]["state"] for host in fleet] == [*["unconfirmed"] * 2, "ok"]
    assert f"run {run} was cut off" in status.hosts[good.name]["notes"][0]
    for host in (good, bad):
        (home(host) / "go").touch()
    (home(bad) / "bad").touch()

    answer = project.run("resume", run[:-2])
    assert answer.code == 3, answer.stderr
    assert f"run {run} was cut off: 2 hosts were in flight\n" in answer.stderr
    assert f"Never begun: {untouched.name}\n" in answer.stderr
    assert f"orchestrate deploy --resume {run}\n" in answer.stderr
    assert answer.statuses() == {good.name: "deployed", bad.name: "rolled_back"}
    document = answer.document
    assert (document["resumes"], document["never_begun"]) == (run, [untouched.name])
    assert document["cut_off"][good.name]["state"] == "verify"
    assert document["cut_off"][good.name]["release"].startswith("file-v2-")
    assert [active(host) for host in fleet] == ["v2", "v1", "v1"]
    assert not any((host.root_here / "lock").exists() for host in fleet)

    closed = project.run("history", run).document
    assert (closed["run"]["outcome"], closed["run"]["exit_code"]) == ("interrupted", 130)
    assert {host: told["status"] for host, told in closed["hosts"].items()} == answer.statuses()
    again = project.run("resume")
    assert (again.code, again.document["hosts"]) == (0, {})
    said = project.text("resume", run).stdout
    assert f"Nothing to resume: run {run} came to its end (interrupted, exit 130)." in said
    assert f"orchestrate deploy --resume {run}" in said

    (home(bad) / "bad").unlink()
    rest = project.run("deploy", "--resume", document["run"], "--yes")
    assert (rest.code, rest.statuses()) == (0, {bad.name: "deployed", untouched.name: "deployed"})
    assert [active(host) for host in fleet] == ["v2", "v2", "v2"], "as the run was asked"
    request = project.run("history", rest.document["run"]).document["run"]["request"]
    assert (request["rest_of"], request["hosts"]) == (run, [bad.name, untouched.name])
    assert set(request["wanted"].values()) == {"file@v2"}
    nothing = project.text("deploy", "--resume", "last", "--yes")
    assert (nothing.returncode, nothing.stdout[:20]) == (0, "Nothing left to do: ")


def test_a_switch_that_was_cut_off_half_way_is_not_taken_for_done(make_fleet):
    (host,), project = make_fleet(1)
    before = (host.root_here / "current").readlink()
    (home(host) / "go").unlink()
    run = killed_at(project, [host], "deploy", "--model", "file@v2")
    (home(host) / "go").touch()
    (host.root_here / "current").unlink()
    (host.root_here / "current").symlink_to(before)
    answer = project.run("resume", run)
    assert (answer.code, answer.statuses()) == (0, {host.name: "unchanged"})
    assert active(host) == "v1"
    assert not (host.root_here / "lock").exists()
    assert project.run("deploy", "--resume", run, "--yes").code == 0
    assert active(host) == "v2"


def test_the_next_deploy_says_what_was_cut_off_and_settles_it(make_fleet):
    fleet, project = make_fleet(2)
    cut, gone = fleet
    (home(cut) / "go").unlink()
    run = killed_at(project, [cut], "deploy", "--limit", cut.name, "--model", "file@v2")
    (home(cut) / "go").touch()
    deploy = project.text("deploy", "--yes")
    assert deploy.returncode == 0, deploy.stderr
    words = f"run {run} was cut off: 1 host was in flight; it is settled when reached\n"
    assert deploy.stderr.count(words) == 1
    assert active(cut) == "v1", "what is wanted now"
    assert "was cut off" not in project.text("deploy", "--yes").stderr
    plain = project.run("history", "-n", "2").document["runs"][1]["id"]
    done = project.text("resume")
    assert (done.returncode, done.stdout) == (0, "")
    assert f"Left alone, overruled by run {plain}: {cut.name}\n" in done.stderr
    assert "deploy --resume" not in done.stderr
    rest = project.text("deploy", "--resume", run, "--yes")
    assert f"Left alone, overruled by run {plain}: {cut.name}\n" in rest.stderr
    assert rest.stdout.startswith("Nothing left to do: ")
    assert project.text("resume").stdout == "Nothing to resume: no run was cut off.\n"

    for host in fleet:
        (home(host) / "go").unlink()
    run = killed_at(project, fleet, "deploy", "--model", "file@v2")
    for host in fleet:
        (home(host) / "go").touch()
    gone.stop()
    unreached = project.run("resume")
    assert unreached.code == 5
    assert unreached.statuses() == {cut.name: "deployed", gone.name: "unreachable"}
    assert f"not where it should bring them: {gone.name}. Go on" in unreached.stderr
    assert project.run("history", run).document["run"]["finished"] is None, "not settled yet"
    gone.start()
    settled = project.text("resume")
    assert settled.returncode == 0, settled.stderr
    assert f"{gone.name} was cut off in verify of file-v2-" in settled.stdout
    assert "1 deployed" in settled.stdout
    assert active(gone) == "v2"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--resume", "last"], "there is no deploy to go on with"),
        (["--resume", "nope"], "no single run has an id that starts with nope"),
        (["--resume", "last", "--model", "a@v1"], "--resume goes with what its run was asked"),
        (["--resume", "last", "--check", "--limit", "x"], "not with --limit, --check"),
    ],
)
def test_what_cannot_be_gone_on_with(tmp_path, words, message):
    project = FleetProject(tmp_path / "project", {"all": {"hosts": {"here": {}}}})
    line = ["--project", str(project.root), "deploy", *words]
    error = CliRunner().invoke(root, line).exception
    assert isinstance(error, UsageError)
    assert message in error.message
    assert error.hint


def test_only_a_deploy_can_be_gone_on_with(make_fleet):
    fleet, project = make_fleet(1)
    verified = project.run("verify").document["run"]
    answer = project.run("deploy", "--resume", verified, "--yes")
    assert answer.error["message"] == f"run {verified} was no deploy but a verify"
    assert "Nothing to resume" in project.text("resume", verified).stdout
    fleet[0].stop()
    project.run("deploy", "--yes", "--model", "file@v2")
    project.write_inventory({"all": {"hosts": {"other": {"orchestrate_model": "file@v1"}}}})
    rest = project.text("deploy", "--resume", "last", "--yes")
    assert rest.returncode == 0
    assert f"Left alone, not in the inventory any more: {fleet[0].name}\n" in rest.stderr
