from __future__ import annotations

import contextlib
import subprocess
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from orchestrator.lab import fleet
from orchestrator.lab.layout import Layout
from tests.needs import needs_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

COUNTS = {"rpi": 2, "jetson": 2, "gpu": 2, "cpu": 1}


@dataclass(frozen=True)
class Lab:
    """A lab that is up, and OpenSSH's client to talk to it."""

    project: Path
    status: fleet.LabStatus

    @property
    def layout(self) -> Layout:
        return Layout(self.project)

    def port(self, name: str) -> int:
        return next(host.port for host in self.status.hosts if host.name == name)

    def ssh(self, name: str, command: str) -> list[str]:
        program = needs_program("ssh", "apt-get install openssh-client")
        options = [
            f"UserKnownHostsFile={self.layout.known_hosts}",
            "GlobalKnownHostsFile=none",
            "StrictHostKeyChecking=yes",
            "BatchMode=yes",
            "IdentitiesOnly=yes",
            "IdentityAgent=none",
        ]
        arguments = [argument for option in options for argument in ("-o", option)]
        key = ["-F", "none", "-i", str(self.layout.client_key), "-p", str(self.port(name))]
        return [str(program), *key, *arguments, "lab@127.0.0.1", command]

    def run(self, name: str, command: str, stdin: bytes = b"") -> subprocess.CompletedProcess:
        return subprocess.run(
            self.ssh(name, command), input=stdin, capture_output=True, timeout=60, check=False
        )


@contextlib.contextmanager
def running(project: Path, counts: dict[str, int] = COUNTS, **link: float) -> Iterator[Lab]:
    try:
        yield Lab(project, fleet.up(project, counts, **link))
    finally:
        fleet.down(project)


@pytest.fixture(scope="module")
def lab(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Lab]:
    with running(tmp_path_factory.mktemp("project")) as lab:
        yield lab
