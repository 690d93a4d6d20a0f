"""A bare amd64 Debian gets KataGo itself, out of a wheel, and PoCL to run it on: it plays."""

from __future__ import annotations

import json

import pytest

from orchestrator.engines.katago import golden
from tests.katago_engine import CACHE, ENGINE, TUNER, VERSION, WHEEL
from tests.provision.conftest import fleet_of, shown

pytestmark = [pytest.mark.timeout(600), pytest.mark.slow]

SHA256 = "f9029dcaa28608e9efa4e1d404940e651bd067bdd11528222e068f3b34450fd7"
TUNED = "/etc/katago-opencl-tuning.txt"


def test_katago_comes_out_of_a_wheel_and_plays(bench, katago, tiny, tmp_path):
    host = bench.add("go-1", "x86_64", files={TUNED: TUNER.read_text()})
    engine = {
        "katago_source": f"wheel:{WHEEL}!{ENGINE}",
        "katago_sha256": SHA256,
        "katago_cache": str(CACHE / "fetched"),
    }
    project = fleet_of(tmp_path / "fleet", {host: engine}, "servers", orchestrate_model="kata@v1")
    profile = project.settings["profiles"]["cpu"]
    profile["artifacts"] = [{"format": "katago"}]
    profile["vars"] = {"katago_opencl_tuner_file": TUNED}
    profile["verify"] |= {"visits": 20, "timeout": 300}
    project.write_settings()

    ready = project.run("provision", "--user", "root")
    assert (ready.code, ready.statuses()) == (0, {"go-1": "provisioned"}), shown(ready)
    assert ready.hosts["go-1"]["readiness"]["runs"] == ["katago"]

    (told,) = project.run("facts").hosts.values()
    assert (told["katago"]["version"], told["katago"]["backend"]) == (VERSION, "opencl")

    again = project.run("provision", "--user", "root")
    assert (again.code, again.statuses()) == (0, {"go-1": "unchanged"}), shown(again)

    recorded = golden.record(katago, tiny, settings={"openclTunerFile": str(TUNER)})
    answers = tmp_path / "golden.json"
    answers.write_text(json.dumps(recorded))
    project.add("kata@v1", tiny, "--golden", str(answers))
    deployed = project.run("deploy", "--yes")
    assert (deployed.code, deployed.document["outcome"]) == (0, "deployed"), shown(deployed)
    verified = deployed.hosts["go-1"]["verify"]
    assert verified["verdict"] == "pass"
    assert verified["metrics"]["visits_per_s"] > 0
    assert verified["metrics"]["golden_max_error"] < 1e-3
