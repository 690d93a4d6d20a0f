"""The playbooks and roles are what Ansible's own linters, and the shell, expect."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.needs import needs_program

ROOT = Path(__file__).parents[2]
PLAYBOOKS = ROOT / "playbooks"
ROLES = sorted(path for path in (PLAYBOOKS / "roles").iterdir() if path.is_dir())
SCRIPTS = sorted(PLAYBOOKS.rglob("*.sh"))


def lint(*command):
    program = needs_program(command[0], "make setup")
    finished = subprocess.run(
        [program, *command[1:]],
        cwd=ROOT,
        env=os.environ | {"PATH": f"{program.parent}:{os.environ['PATH']}", "NO_COLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=280,
    )
    assert finished.returncode == 0, finished.stdout + finished.stderr


def test_ansible_lint_finds_nothing():
    lint("ansible-lint", "--offline", "--strict", "--profile", "production", "playbooks")


def test_yamllint_finds_nothing():
    lint("yamllint", "--strict", "playbooks")


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_default_is_explained_and_declared(role):
    """What can be set has a comment in its paragraph and a type in the role's argument specs."""
    text = (role / "defaults" / "main.yml").read_text("utf-8")
    declared = yaml.safe_load((role / "meta" / "argument_specs.yml").read_text("utf-8"))
    options = declared["argument_specs"]["main"].get("options", {})
    for name in yaml.safe_load(text) or {}:
        assert name.startswith(f"{role.name}_"), name
        assert options[name]["type"], name
        before = text[: text.index(f"\n{name}:")].rpartition("\n\n")[2]
        assert "#" in before, f"{role.name}: {name} has no comment"


@pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)
def test_every_role_but_the_look_can_be_taken_back(role):
    assert role.name == "host" or (role / "tasks" / "remove.yml").is_file()


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: f"{path.parts[-3]}-{path.name}")
@pytest.mark.parametrize("shell", [("dash",), ("busybox", "sh"), ("bash", "--posix")], ids=" ".join)
def test_scripts_parse_in_every_shell(script, shell):
    program = needs_program(shell[0], "apt-get install dash busybox bash")
    finished = subprocess.run(
        [program, *shell[1:], "-n", script], capture_output=True, text=True, check=False, timeout=30
    )
    assert (finished.returncode, finished.stderr) == (0, "")
