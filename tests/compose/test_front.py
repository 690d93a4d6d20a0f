"""Which release's container the front sends a connection to."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

import orchestrator.compose

SCRIPT = Path(orchestrator.compose.__file__).with_name("front.sh").read_text(encoding="utf-8")
ANSWER = SCRIPT.partition("<<'END'\n")[2].partition("\nEND\n")[0]
OLD, NEW = "net-v1-000000000001", "net-v2-000000000002"


@pytest.fixture
def root(tmp_path):
    """A root in which NEW is active, and a socat that tells where it was to connect to."""
    socat = tmp_path / "bin" / "socat"
    socat.parent.mkdir()
    socat.write_text('#!/bin/sh\nfor last; do :; done\necho "$last"\n')
    socat.chmod(0o755)
    root = tmp_path / "root"
    (root / "lock").mkdir(parents=True)
    (root / "current").symlink_to(f"releases/{NEW}")
    return root


def answers(root):
    """The container that a connection to port 8080 goes to; empty when to none."""
    path = f"{root.parent / 'bin'}:/usr/bin:/bin"
    done = subprocess.run(
        ["sh", "-c", ANSWER, "answer", "8080"],
        cwd=root, env={"PATH": path}, capture_output=True, text=True, timeout=20, check=False,
    )  # fmt: skip
    return done.stdout.strip()


def switch(root, name, text=f"{NEW} {OLD} 60\n", *marks):
    folder = root / "lock" / name
    folder.mkdir()
    (folder / "switch").write_text(text)
    for mark in marks:
        (folder / mark).touch()


@pytest.mark.parametrize(
    ("name", "marks", "answering"),
    [
        ("kept-run", [], "000000000002"),
        ("armed-run", [], "000000000001"),
        ("armed-run", ["serving"], "000000000002"),
        ("fired-run", ["serving"], "000000000001"),
    ],
)
def test_a_connection_goes_to_the_release_that_answers(root, name, marks, answering):
    switch(root, name, f"{NEW} {OLD} 60\n", *marks)
    assert answers(root) == f"TCP:r-{answering}:8080"


def test_before_the_first_release_was_verified_nobody_answers(root):
    switch(root, "armed-run", f"{NEW} - 60\n")
    assert answers(root) == ""


def test_a_switch_that_cannot_be_read_does_not_keep_a_connection_waiting(root):
    switch(root, "armed-run", "")
    assert answers(root) == "TCP:r-000000000002:8080"
