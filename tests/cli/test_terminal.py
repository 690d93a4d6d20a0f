"""Commands on a real terminal: questions, what stays on the screen, a terminal that goes."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys

import pytest

from orchestrator.fleet.project import Project
from orchestrator.history import open_history
from tests.controller import environment
from tests.rollout.file_project import file_project

# Makes the terminal on stdin the controlling one, so that its end is a SIGHUP, and becomes argv.
ON_A_TERMINAL = """
import fcntl, os, sys, termios
fcntl.ioctl(0, termios.TIOCSCTTY, 0)
os.execv(sys.argv[1], sys.argv[1:])
"""


class Terminal:
    """A command on a terminal of its own, with `typed` typed before it starts."""

    def __init__(self, project, *words, typed=b""):
        self.ours, theirs = pty.openpty()
        os.write(self.ours, typed)
        self.said = b""
        self.process = subprocess.Popen(
            [sys.executable, "-c", ON_A_TERMINAL, *project._argv(words)],
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            env=environment() | {"TERM": "xterm", "COLUMNS": "150"},
            start_new_session=True,
        )
        os.close(theirs)

    def until(self, wanted):
        """Read until that is said."""
        while wanted not in self.said:
            self._read() or pytest.fail(self.said.decode())

    def end(self):
        """The exit code, once everything is read."""
        while self._read():
            pass
        code = self.process.wait(timeout=60)
        os.close(self.ours)
        return code

    def hang_up(self):
        """Close the terminal; the exit code."""
        os.close(self.ours)
        return self.process.wait(timeout=60)

    def _read(self):
        try:
            piece = os.read(self.ours, 65536)
        except OSError:  # nobody has the other end any more
            return b""
        self.said += piece
        return piece


def screen(said):
    """The lines that are left on an endless screen: text, and going up to erase."""
    lines, row = [""], 0
    for piece in re.findall(r"\x1b\[[?0-9;]*[A-Za-z]|\n|[^\x1b\n]+", said):
        if piece == "\n":
            row += 1
            lines += [""] * (row == len(lines))
        elif piece == "\x1b[1A":
            row -= 1
        elif piece == "\x1b[2K":
            lines[row] = ""
        elif not piece.startswith("\x1b"):
            lines[row] += piece.strip("\r")
    return lines


@pytest.fixture
def on_terminal(project):
    """`on_terminal("deploy")`: the command on a terminal; ended with the test."""
    made = []

    def start(*words, typed=b""):
        made.append(Terminal(project, *words, typed=typed))
        return made[-1]

    yield start
    for terminal in made:
        terminal.process.kill()
        terminal.process.wait()


@pytest.fixture
def project(sshd_fleet, tmp_path):
    made = file_project(tmp_path, sshd_fleet(3))
    made.settings["rollout"] = {"canary": 1}
    made.write_settings()
    return made


def runs(project):
    """The runs that came to change something."""
    with open_history(Project(project.root).history_url, pytest.fail) as history:
        return history.runs(10)


def deployed(project):
    """The hosts on which something is active."""
    return [name for name, host in project.run("status").hosts.items() if host["release"]]


@pytest.mark.parametrize("answer", [b"\n", b"\x04"])
def test_keys_typed_before_a_question_do_not_answer_it(project, on_terminal, answer):
    terminal = on_terminal("deploy", typed=b"y\ny\n")
    terminal.until(b"Go ahead? [y/N]:")
    os.write(terminal.ours, answer)
    assert terminal.end() == 130
    assert b"Nothing was done.\r\n" in terminal.said
    assert b"error:" not in terminal.said
    assert deployed(project) == []


def test_what_is_said_while_the_table_is_drawn_stays(on_terminal):
    terminal = on_terminal("deploy", "--yes", "--pause", "0.3", "--batches", "1")
    assert terminal.end() == 0
    seen = screen(terminal.said.decode())
    assert "Waiting 0.3 s before batch 1 of 2 (1 host)." in seen
    assert "Waiting 0.3 s before batch 2 of 2 (1 host)." in seen, terminal.said.decode()
    assert not [line for line in seen if "hosts done" in line], "the table is gone"


@pytest.mark.parametrize("question", [b"Go ahead? [y/N]:", b"Begin batch 1 of 1 (2 hosts)? [y/N]:"])
def test_a_terminal_that_goes_at_a_question_ends_the_run(project, on_terminal, question):
    terminal = on_terminal("deploy", "--pause", "ask")
    terminal.until(b"Go ahead? [y/N]:")
    begun = question not in terminal.said
    if begun:
        os.write(terminal.ours, b"y\n")
        terminal.until(question)
    assert terminal.hang_up() == 130
    ended = [(run.outcome, run.exit_code) for run in runs(project)]
    assert ended == ([("interrupted", 130)] if begun else [])
    assert deployed(project) == (["host-1"] if begun else [])
