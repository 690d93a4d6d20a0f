"""This machine as a host."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

from orchestrator.errors import CommandError
from orchestrator.targets import connect
from orchestrator.targets.connection import ConnectionSpec

SPEC = ConnectionSpec("here", kind="local")


def test_commands_run_and_their_lines_are_heard():
    lines = []
    with connect(SPEC) as target:
        done = target.run("cat; exit 4", stdin=b"a\nb\n", timeout=10, on_line=lines.append)
        assert (done.exit_status, done.stdout) == (4, "a\nb\n")
        assert lines == ["a", "b"]


def test_uploads_are_counted(tmp_path):
    sent = []
    with connect(SPEC) as target:
        done = target.upload(
            f"cat >{tmp_path}/f", [b"\0\n" * 500_000], timeout=10, on_sent=sent.append
        )
    assert done.exit_status == 0
    assert sum(sent) == (tmp_path / "f").stat().st_size == 1_000_000


def test_a_command_that_stops_reading_is_no_crash():
    with connect(SPEC) as target:
        done = target.upload("exit 3", [b"x" * 10**6] * 9, timeout=10, on_sent=lambda _: None)
    assert done.exit_status == 3


def test_a_command_that_does_not_end_is_killed(monkeypatch):
    with connect(SPEC) as target:
        assert target.run("sleep 100", timeout=1).exit_status == 124
        monkeypatch.setattr("orchestrator.targets.shell.GRACE", 0.0)
        monkeypatch.setattr("orchestrator.targets.shell.limited", lambda command, seconds: command)
        with pytest.raises(CommandError, match="no end after 1 s"):
            target.run("exec sleep 100", timeout=1)


def test_a_child_that_keeps_the_output_open_ends_with_the_time(monkeypatch, tmp_path):
    monkeypatch.setattr("orchestrator.targets.shell.GRACE", 0.0)
    with connect(SPEC) as target, pytest.raises(CommandError, match="no end after 1 s") as caught:
        target.run(f"sleep 100 & echo $! >{tmp_path}/pid; echo done", timeout=1)
    assert caught.value.as_dict()["code"] == "timeout"
    pid = (tmp_path / "pid").read_text().strip()
    state = Path(f"/proc/{pid}/stat")
    with contextlib.suppress(FileNotFoundError):
        while state.read_text().split()[2] != "Z":
            os.sched_yield()


def test_a_command_that_never_reads_ends_with_the_time(monkeypatch):
    monkeypatch.setattr("orchestrator.targets.shell.GRACE", 0.0)
    with connect(SPEC) as target, pytest.raises(CommandError, match="no end after 1 s"):
        target.upload("exec sleep 100", [b"x" * 10**6], timeout=1, on_sent=lambda _: None)


@pytest.mark.parametrize("stream", ["", ">&2"])
def test_a_flood_of_output_is_stopped(stream):
    with connect(SPEC) as target, pytest.raises(CommandError, match="8 MiB") as caught:
        target.run(f"yes {stream}", timeout=60)
    assert caught.value.as_dict()["code"] == "too_much_output"
    assert caught.value.hint
