"""A real KataGo as the engine of a host: verdict, speed measured there, a damaged net caught."""

from __future__ import annotations

import json
import os

import pytest

from orchestrator.engines.katago import golden
from tests import nets
from tests.katago_engine import TUNER
from tests.katago_net import scramble
from tests.project import FleetProject
from tests.rollout.conftest import tree

pytestmark = [pytest.mark.xdist_group("katago"), pytest.mark.timeout(400)]


@pytest.fixture
def play(sshd_fleet, katago, tmp_path):
    """`play(command, net, damaged, visits)`: deploy a net, then a damaged one over it."""

    def run(command, net, damaged, visits):
        path = f"{katago.parent}:{os.environ['PATH']}"
        (host,) = fleet = sshd_fleet(1, environment={"PATH": path})
        project = FleetProject(tmp_path / "project", fleet.inventory(orchestrate_model="kata@v1"))
        profile = project.settings["profiles"]["cpu"]
        if command == "analysis":
            profile |= {"config": "analysis.cfg.j2"}
        profile |= {
            "engine": {"kind": "katago", "command": command},
            "vars": {"katago_opencl_tuner_file": str(TUNER)},
            "verify": {"visits": visits, "min_ratio": 0.05, "timeout": 300},
        }
        project.write_settings()
        settings = {"openclTunerFile": str(TUNER)}
        answers = tmp_path / "golden.json"
        answers.write_text(json.dumps(golden.record(katago, net, settings=settings)))
        for version, file in (("v1", net), ("v2", damaged)):
            project.add(f"kata@{version}", file, "--golden", str(answers))

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
        script = (host.root_here / "current" / "run").read_text()
        assert "katago" in script
        assert command in script

    return run


@pytest.mark.parametrize("command", ["gtp", "analysis"])
def test_katago_is_deployed_judged_and_rolled_back(play, tiny, tiny_scrambled, command):
    play(command, tiny, tiny_scrambled, visits=20)


def test_a_real_net_is_deployed_and_a_damaged_one_caught(play, tmp_path):
    net = nets.real_net(nets.B6C96)
    play("gtp", net, scramble(net, tmp_path / "damaged.bin.gz"), visits=10)
