"""`orchestrate models` as an operator types it."""

from __future__ import annotations

import json

import click
import pytest
from click.testing import CliRunner

from orchestrator.cli import root
from orchestrator.errors import ModelError, UsageError
from orchestrator.fleet import skeleton
from orchestrator.fleet.project import Project
from orchestrator.history import open_history
from tests.history.test_history import outcome, publish, run_of
from tests.katago_net import tiny_net


@pytest.fixture
def project(tmp_path):
    folder = tmp_path / "fleet"
    skeleton.create(folder)
    (folder / "inventory" / "hosts.yml").write_text(
        "all: {hosts: {pi-1: {orchestrate_model: kata@v1}}}\n"
    )
    return folder


@pytest.fixture
def net(tmp_path):
    return tiny_net(tmp_path / "net.bin.gz", seed=1)


@pytest.fixture
def orchestrate(project):
    def run(*words):
        arguments = ["--project", str(project), *words]
        return CliRunner().invoke(root, arguments, standalone_mode=False)

    return run


def refused(result, error=ModelError):
    assert isinstance(result.exception, error), result.output
    assert result.exception.exit_code == 2
    return result.exception


def test_add_says_what_it_did_and_what_comes_next(orchestrate, net):
    result = orchestrate("models", "add", "kata@v1", str(net))
    assert result.exception is None
    assert "Added katago fp32 to kata@v1: net.bin.gz" in result.output
    assert "no golden answers" in result.output
    assert "orchestrate plan --model kata@v1" in result.output
    assert "already" in orchestrate("models", "add", "kata@v1", str(net)).output


def test_add_takes_every_option(orchestrate, tmp_path):
    engine, golden = tmp_path / "engine", tmp_path / "g.json"
    engine.write_bytes(b"ftrt")
    golden.write_text("{}")
    words = ["--format", "file", "--precision", "int8", "--golden", str(golden)]
    words += ["--memory-mb", "64", "--filename", "net.bin", "--requires", "hardware_class=rpi4"]
    result = orchestrate("--json", "models", "add", "kata@v1", str(engine), *words)
    assert result.exception is None, result.output
    document = json.loads(result.stdout)
    assert document["added"] is True
    (artifact,) = document["artifacts"]
    assert artifact["golden"]["filename"] == "g.json"
    assert {key: artifact[key] for key in ("format", "precision", "filename", "memory_mb")} == {
        "format": "file",
        "precision": "int8",
        "filename": "net.bin",
        "memory_mb": 64,
    }
    assert artifact["requires"] == {"hardware_class": "rpi4"}
    assert artifact["stored"] is True


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["kata", "net"], "names no version"),
        (["kata@v1", "nowhere.bin.gz"], "does not exist"),
        (["kata@v1", "https://127.0.0.1:1/net.bin.gz"], "sha256"),
    ],
)
def test_bad_input_is_refused(orchestrate, project, words, message):
    assert message in refused(orchestrate("models", "add", *words)).message
    assert list((project / "artifacts").glob("*/*/manifest.json")) == []


def test_list(orchestrate, net, project):
    assert "No models yet" in orchestrate("models", "list").output
    for ref in ("kata@v10", "kata@v9", "other@1"):
        orchestrate("models", "add", ref, str(net))
    orchestrate("models", "yank", "kata@v9", "--reason", "[bold]slow[/]")
    lines = orchestrate("models", "list").output.splitlines()
    assert [line.split()[0] for line in lines[1:]] == ["kata@v9", "kata@v10", "other@1"]
    assert "yanked: [bold]slow[/]" in lines[1]
    document = json.loads(orchestrate("--json", "models", "list", "kata").stdout)
    assert [v["ref"] for v in document["versions"]] == ["kata@v9", "kata@v10"]
    assert document["versions"][0]["yanked"] == "[bold]slow[/]"
    assert refused(orchestrate("models", "list", "kato")).hint == "Did you mean 'kata'?"


def test_show(orchestrate, net):
    orchestrate("models", "add", "kata@v1", str(net))
    output = orchestrate("models", "show", "kata@v1").output
    digest = json.loads(orchestrate("--json", "models", "show", "kata@v1").stdout)["artifacts"][0]
    assert digest["sha256"] in output
    assert str(net) in output


def test_yank_and_unyank(orchestrate, net):
    orchestrate("models", "add", "kata@v1", str(net))
    assert "is yanked: bad" in orchestrate("models", "yank", "kata@v1", "--reason", "bad").output
    assert "can be deployed again" in orchestrate("models", "unyank", "kata@v1").output
    assert "reason" in str(orchestrate("models", "yank", "kata@v1").exception)


def test_verify_and_fetch(orchestrate, net, project):
    orchestrate("models", "add", "kata@v1", str(net))
    assert orchestrate("models", "verify").return_value == 0
    (blob,) = (project / "artifacts" / "store" / "sha256").glob("??/*")
    blob.chmod(0o644)
    blob.write_bytes(b"rot")
    result = orchestrate("models", "verify", "kata@v1")
    assert result.return_value == 2
    assert "is damaged" in result.output
    assert "orchestrate models fetch kata@v1" in result.output
    document = json.loads(orchestrate("--json", "models", "verify").stdout)
    assert document["exit_code"] == 2
    assert document["files"][0]["ok"] is False
    assert "Fetched net.bin.gz of kata@v1" in orchestrate("models", "fetch").output
    assert "Everything is here" in orchestrate("models", "fetch", "kata@v1").output
    assert orchestrate("models", "verify").return_value == 0


def test_gc_spares_what_the_inventory_wants(orchestrate, tmp_path, project):
    for number in (1, 2, 3):
        path = tiny_net(tmp_path / f"n{number}.bin.gz", seed=number)
        orchestrate("models", "add", f"kata@v{number}", str(path))
    deployed_once(project)
    dry = orchestrate("models", "gc", "--keep", "1", "--dry-run")
    assert dry.exception is None, dry.output
    assert "1 file would be removed" in dry.output
    document = json.loads(orchestrate("--json", "models", "gc", "--keep", "1").stdout)
    assert [blob["refs"] for blob in document["removed"]] == [["kata@v2"]]
    assert document["freed"] == document["removed"][0]["size"]
    stored = json.loads(orchestrate("--json", "models", "list").stdout)["versions"]
    assert [v["artifacts"][0]["stored"] for v in stored] == [True, False, True]
    assert "not here: fetch it" in orchestrate("models", "list").output


def deployed_once(project):
    """Let the history know of a deploy."""
    with open_history(Project(project).history_url, pytest.fail) as history:
        publish(history, run_of("2026-a", ("pi-1", outcome())))


def test_gc_refuses_when_the_history_knows_of_no_deploy(orchestrate, tmp_path, project):
    for number in (1, 2, 3):
        path = tiny_net(tmp_path / f"n{number}.bin.gz", seed=number)
        orchestrate("models", "add", f"kata@v{number}", str(path))
    assert "0 files removed" in orchestrate("models", "gc", "--keep", "2").output
    for words in (["--keep", "1"], ["--keep", "1", "--dry-run"]):
        error = refused(orchestrate("models", "gc", *words), UsageError)
        assert error.message == "the history knows of no deploy, but the inventory has hosts"
        assert "--without-history" in error.hint
    assert len(list((project / "artifacts" / "store" / "sha256").glob("??/*"))) == 3
    result = orchestrate("models", "gc", "--keep", "1", "--without-history")
    assert "1 file removed" in result.output
    assert "--without-history" in orchestrate("models", "gc", "--help").output


def test_gc_without_hosts_needs_no_history(orchestrate, net, project):
    (project / "inventory" / "hosts.yml").write_text("all: {hosts: {}}\n")
    orchestrate("models", "add", "kata@v2", str(net))
    assert "1 file removed" in orchestrate("models", "gc", "--keep", "0").output


def test_gc_refuses_when_the_history_cannot_be_read(orchestrate, net, project):
    orchestrate("models", "add", "kata@v2", str(net))
    (project / ".orchestrate").mkdir(exist_ok=True)
    (project / ".orchestrate" / "history.db").write_text("this is no database " * 100)
    result = orchestrate("models", "gc", "--keep", "0")
    assert "not known what hosts use" in refused(result, UsageError).hint
    assert len(list((project / "artifacts" / "store" / "sha256").glob("??/*"))) == 1


@pytest.mark.parametrize("option", ["--requires", "--set"])
def test_a_pair_without_a_value_names_its_option(orchestrate, net, tmp_path, option):
    words = {
        "--requires": ("add", "kata@v1", str(net), option, "tensorrt"),
        "--set": ("golden", str(net), str(tmp_path / "g.json"), "--katago", str(net), option, "x"),
    }[option]
    message = refused(orchestrate("models", *words), click.UsageError).message
    assert message == f"{option} '{words[-1]}' is not of the form NAME=VALUE"
