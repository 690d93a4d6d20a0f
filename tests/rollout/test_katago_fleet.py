"""A real KataGo as the engine of a host: verdict, speed measured there, a damaged net caught."""

from __future__ import annotations

import json
import os

import pytest

from orchestrator.engines.katago import golden
from tests.katago_engine import TUNER
from tests.project import FleetProject
from tests.rollout.conftest import tree

pytestmark = [pytest.mark.xdist_group("katago"), pytest.mark.timeout(400)]


@pytest.mark.parametrize("command", ["gtp", "analysis"])
def test_katago_is_deployed_judged_and_rolled_back(
    sshd_fleet, katago, tiny, tiny_scrambled, tmp_path, command
):
    path = f"{katago.parent}:{os.environ['PATH']}"
    (host,) = fleet = sshd_fleet(1, environment={"PATH": path})
    project = FleetProject(tmp_path / "project", fleet.inventory(orchestrate_model="kata@v1"))
    if command == "analysis":
        project.settings["profiles"]["cpu"] |= {
            "config": "analysis.cfg.j2",
            "engine": {"kind": "katago", "command": "analysis"},
        }
    profile = project.settings["profiles"]["cpu"]
    profile["vars"] = {"katago_opencl_tuner_file": str(TUNER)}
    profile["verify"] = {"visits": 20, "min_ratio": 0.05, "timeout": 120}
    project.write_settings()
    settings = {"openclTunerFile": str(TUNER)}
    answers = tmp_path / "golden.json"
    answers.write_text(json.dumps(golden.record(katago, tiny, settings=settings)))
    for version, net in (("v1", tiny), ("v2", tiny_scrambled)):
        project.add(f"kata@{version}", net, "--golden", str(answers))

    first = project.run("deploy", "--yes")
    assert first.code == 0, first.stderr + json.dumps(first.document)
    entry = first.hosts["host-1"]
    assert entry["artifact"]["format"] == "katago"
    assert entry["verify"]["verdict"] == "pass"
    assert entry["verify"]["metrics"]["visits_per_s"] > 0
    assert entry["verify"]["metrics"]["golden_max_error"] < 1e-3
    before = tree(host.root_here / "current")

    bad = project.run("deploy", "--yes", "--model", "kata@v2")
    assert bad.code == 3
    assert bad.statuses() == {"host-1": "rolled_back"}
    assert bad.hosts["host-1"]["verify"]["metrics"]["golden_max_error"] > 0.05
    assert tree(host.root_here / "current") == before

    run = host.root_here / "current" / "run"
    assert "katago" in run.read_text()
    assert command in run.read_text()
