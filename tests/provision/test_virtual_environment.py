"""Whose virtual environment lies in ROOT/venv: what the role onnxruntime leaves alone."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

FILES = Path(__file__).parents[2] / "playbooks" / "roles" / "onnxruntime" / "files"


def remove(root: Path) -> str:
    script = (FILES / "remove.sh").read_text("utf-8")
    variables = {"root": str(root), "really": "yes", "PATH": "/usr/bin:/bin"}
    return subprocess.run(
        ["sh", "-c", script], env=variables, capture_output=True, text=True, check=True, timeout=30
    ).stdout


@pytest.mark.parametrize("names", [(), ("requirements.txt",)])
def test_a_virtual_environment_of_somebody_else_stays(tmp_path, names):
    venv = tmp_path / "venv"
    venv.mkdir()
    for name in names:
        (venv / name).write_text("numpy\n")
    assert remove(tmp_path) == "orchestrate:removed=\n"
    assert venv.is_dir()


def test_the_one_that_was_made_goes(tmp_path):
    venv = tmp_path / "venv"
    venv.mkdir()
    (venv / "orchestrate-requirements.txt").write_text("numpy==1.0\n")
    assert remove(tmp_path) == f"orchestrate:removed={venv}\n"
    assert not venv.exists()
