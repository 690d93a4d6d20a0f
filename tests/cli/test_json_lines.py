"""`--json-lines`: what a program reads while a run goes on."""

from __future__ import annotations

import itertools
import json

import pytest
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import UsageError
from tests.project import FleetProject

OK = 'echo "{\\"ok\\": true, \\"metrics\\": {}}"'


@pytest.fixture
def project(tmp_path):
    """A fleet project with the host `here`, reached without SSH, that is to get word@v1."""
    here = {
        "ansible_connection": "local",
        "orchestrate_root": str(tmp_path / "root"),
        "orchestrate_model": "word@v1",
    }
    made = FleetProject(tmp_path / "project", {"all": {"hosts": {"here": here}}})
    made.settings["profiles"] = {
        "any": {
            "when": "true",
            "artifacts": [{"format": "file"}],
            "config": "any.cfg.j2",
            "engine": {"kind": "command", "run": "true"},
            "verify": {"command": OK},
        }
    }
    made.write_settings()
    (made.own_templates() / "any.cfg.j2").write_text("x = 1\n")
    (tmp_path / "word.dat").write_text("word\n")
    made.add("word@v1", tmp_path / "word.dat", "--format", "file")
    return made


def test_a_deploy_is_told_event_by_event(project):
    done = project.text("deploy", "--yes", "--json-lines")
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert [told[0]["event"], told[-1]["event"]] == ["run_started", "run_finished"]
    assert len({event["run"] for event in told}) == 1
    assert all(a["time"] <= b["time"] for a, b in itertools.pairwise(told))
    states = [event["state"] for event in told if event["event"] == "state_entered"]
    assert states[:3] == ["connect", "facts", "plan"]
    assert states.index("activate") < states.index("commit")
    (finished,) = (event for event in told if event["event"] == "host_finished")
    assert finished["outcome"]["status"] == "deployed"
    assert "1 deployed" in done.stderr


@pytest.mark.parametrize(
    "words", [("status",), ("plan",), ("facts", "--refresh"), ("explain", "here")]
)
def test_what_only_looks_tells_what_it_does_too(project, words):
    done = project.text("--json-lines", *words)
    assert done.returncode == 0, done.stderr
    told = [json.loads(line) for line in done.stdout.splitlines()]
    assert {"run_started", "state_entered"} <= {event["event"] for event in told}
    assert "here" in done.stderr


def test_a_reader_who_goes_away_stops_nothing(project):
    running = project.start("deploy", "--yes", "--json-lines")
    running.stdout.close()
    said = running.stderr.read().decode()
    running.stderr.close()
    assert running.wait(60) == 0, said
    assert said.count("no more --json-lines: Broken pipe") == 1
    assert "1 deployed" in said


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--json", "--json-lines", "status"], "--json and --json-lines exclude each other"),
        (["--json-lines", "history"], "history asks no hosts, so it has no events"),
        (["--json-lines", "models", "list"], "models asks no hosts, so it has no events"),
    ],
)
def test_where_there_is_no_stream(words, message):
    done = CliRunner().invoke(root, words)
    assert isinstance(done.exception, UsageError)
    assert done.exception.message.startswith(message)
    assert done.exception.hint
    assert done.stdout == ""
