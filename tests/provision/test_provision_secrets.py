"""Passwords of sudo, and secrets of the environment: used, never shown, never written down."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from tests.controller import environment
from tests.project import ORCHESTRATE
from tests.provision.conftest import fleet_of

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = [pytest.mark.xdist_group("bare-secrets"), pytest.mark.timeout(600), pytest.mark.slow]

TYPED, WRITTEN, WRONG, TOKEN = "typed-5f0e", "written-91b3", "wrong-77d2", "token-c4a8"


@pytest.fixture(scope="module")
def project(bench, tmp_path_factory):
    """Two hosts where sudo wants a password: one that is typed, one that the inventory has."""
    hosts = {
        bench.add("typed", "x86_64", sudo="pi", password=TYPED): {},
        bench.add("written", "x86_64", sudo="pi", password=WRITTEN): {
            "ansible_become": True,
            "ansible_become_password": WRITTEN,
        },
    }
    folder = tmp_path_factory.mktemp("project") / "fleet"
    return fleet_of(folder, hosts, "servers", ansible_user="pi")


def provision(project, *words: str, typed: str = "") -> subprocess.CompletedProcess[str]:
    """The command with --diff, given what is typed, in an environment that holds a secret."""
    options = ["--diff", "--tags", "base"]
    return subprocess.run(
        [ORCHESTRATE, "--project", project.root, "provision", *options, *words],
        input=f"{typed}\n",
        capture_output=True,
        text=True,
        check=False,
        env=environment() | {"FLEET_TOKEN": TOKEN},
    )


def files_with(secret: str, folder: Path) -> list[Path]:
    """The files below a folder that hold the secret."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    assert files
    return [path for path in files if secret.encode() in path.read_bytes()]


@pytest.mark.parametrize(
    ("host", "words", "typed"),
    [("typed", ["-K"], TYPED), ("written", [], "")],
    ids=["typed", "in the inventory"],
)
def test_a_password_is_used_and_never_told(project, host, words, typed):
    said = provision(project, "--limit", host, *words, typed=typed)

    told = said.stdout + said.stderr
    assert said.returncode == 0, told
    assert "provisioned" in told
    for secret in (TYPED, WRITTEN, TOKEN):
        assert secret not in told
        assert files_with(secret, project.root / ".orchestrate") == []


def test_a_wrong_password_is_told_as_such_and_not_shown(project):
    said = provision(project, "--limit", "typed", "-K", typed=WRONG)

    told = said.stdout + said.stderr
    assert said.returncode == 3, told
    assert "Incorrect sudo password" in told
    assert WRONG not in told
    assert files_with(WRONG, project.root / ".orchestrate") == []
