"""How errors end a command: the exit code, and one JSON document where JSON was asked for."""

from __future__ import annotations

import io
import json
import subprocess
import sys

import pytest

from orchestrator import cli
from tests.project import ORCHESTRATE


def outcome(monkeypatch, capsys, *words):
    """Exit code, stdout and stderr of `orchestrate WORDS`."""
    monkeypatch.setattr(sys, "argv", ["orchestrate", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr()
    return end.value.code, said.out, said.err


@pytest.mark.parametrize(
    "words",
    [
        (),
        ("-q",),
        ("nope",),
        ("models",),
        ("models", "nope"),
        ("models", "--nope"),
        ("lab",),
        ("deploy", "--limit"),
        ("explain",),
        ("plan",),
        ("plan", "extra"),
        ("reconcile", "--interval", "nan"),
        ("reconcile", "--interval", "inf"),
        ("trust", "--", "--json"),
    ],
)
def test_each_way_to_be_wrong_is_one_document_and_one_line(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    code, out, err = outcome(monkeypatch, capsys, "--json", *words)
    document = json.loads(out)
    assert (code, document["exit_code"], document["error"]["code"]) == (2, 2, "usage")
    assert "\n" not in document["error"]["message"]
    assert err.startswith(f"error: {document['error']['message']}\n")


def test_a_group_without_a_command_shows_its_help(monkeypatch, capsys):
    code, out, err = outcome(monkeypatch, capsys, "models")
    assert (code, out) == (2, "")
    assert err.startswith("Usage: orchestrate models ")
    assert "error: missing command\n" in err


def test_json_after_the_dashes_is_no_option(monkeypatch, capsys):
    code, out, _ = outcome(monkeypatch, capsys, "trust", "--", "a", "--json")
    assert (code, out) == (2, "")


@pytest.mark.parametrize("words", [("--json", "-v"), ("--json",)])
def test_a_defect_is_a_document_too(tmp_path, monkeypatch, capsys, words):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("orchestrator.fleet.project.find", lambda explicit: 1 // 0)
    code, out, err = outcome(monkeypatch, capsys, *words, "plan")
    assert (code, json.loads(out)["error"]["code"]) == (4, "internal")
    assert ("Traceback" in err) == ("-v" in words)


def test_a_full_disk_under_stdout_is_said_on_stderr():
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [ORCHESTRATE, "--json", "nope"],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.stderr.startswith("error: no such command 'nope'\n")
    assert "Traceback" not in done.stderr


def test_what_an_encoding_lacks_is_printed_as_a_question_mark(tmp_path, monkeypatch):
    stdout = io.TextIOWrapper(io.BytesIO(), "latin-1")
    monkeypatch.setattr(sys, "stdout", stdout)
    monkeypatch.setattr(sys, "argv", ["orchestrate", "init", str(tmp_path / "9→9")])
    with pytest.raises(SystemExit) as end:
        cli.main()
    stdout.flush()
    assert end.value.code == 0
    assert b"9?9" in stdout.buffer.getvalue()
