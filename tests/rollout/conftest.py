"""Small real nets for the fleets of these tests."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.project import FleetProject

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True)
class Nets:
    """ONNX nets with golden answers; `bad` is `v2` with its weights scrambled."""

    folder: Path

    def path(self, name: str) -> Path:
        return self.folder / f"{name}.onnx"

    def golden(self, name: str) -> Path:
        return self.folder / f"{name}.npz"


@pytest.fixture(scope="session")
def nets(tmp_path_factory) -> Nets:
    from tests import lab_nets as lab

    made = Nets(tmp_path_factory.mktemp("nets"))
    for seed, name in enumerate(["v1", "v2", "v3"]):
        lab.make_net(made.path(name), seed=seed, channels=8, blocks=1)
        lab.golden(made.path(name), made.golden(name))
    lab.scramble(made.path("v2"), made.path("bad"))
    return made


@pytest.fixture
def make_project(tmp_path, nets):
    """`make_project(fleet)`: a project over the fleet with net@v1, a damaged net@v2, net@v3."""

    def make(fleet, **variables) -> FleetProject:
        wanted = {"orchestrate_model": "net@v1", "orchestrate_python": sys.executable}
        project = FleetProject(tmp_path / "project", fleet.inventory(**wanted | variables))
        # These machines are noisy: only what is slower by far may count as slow.
        project.settings["profiles"]["cpu"]["verify"]["min_ratio"] = 0.05
        project.write_settings()
        for version, net, golden in (("v1", "v1", "v1"), ("v2", "bad", "v2"), ("v3", "v3", "v3")):
            options = ("--golden", str(nets.golden(golden)))
            project.add(f"net@{version}", nets.path(net), *options)
        return project

    return make


def tree(folder: Path) -> dict[str, bytes]:
    """Every file below a release, byte for byte."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file()
    }
