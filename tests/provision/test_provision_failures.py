"""What keeps hosts from being provisioned: a line each and exit 3, or 5 if one is away."""

from __future__ import annotations

import pytest

from tests.katago_engine import CACHE, ENGINE, WHEEL
from tests.provision.conftest import fleet_of, shown
from tests.provision.wheels import wheelhouse

pytestmark = [pytest.mark.xdist_group("bare-failures"), pytest.mark.timeout(600), pytest.mark.slow]

ALPINE = 'ID=alpine\nVERSION_ID=3.20\nPRETTY_NAME="Alpine Linux v3.20"\n'


@pytest.fixture(scope="module")
def sound(bench):
    """A host on which nothing fails."""
    return bench.add("sound", "x86_64")


@pytest.fixture(scope="module")
def project(bench, sound, tmp_path_factory):
    """Hosts that fail in one way each, and one that does not."""
    hosts = {
        sound: {"provision_engines": []},
        bench.add("no-package", "x86_64"): {"base_packages": ["no-such-package"]},
        bench.add("wrong-digest", "x86_64"): {
            "provision_engines": ["katago"],
            "katago_sha256": "0" * 64,
        },
        bench.add("full", "x86_64", space="96m"): {"provision_engines": ["onnxruntime"]},
        bench.add("alpine", "x86_64", files={"/usr/lib/os-release": ALPINE}): {},
    }
    project = fleet_of(
        tmp_path_factory.mktemp("project") / "fleet",
        hosts,
        "servers",
        onnxruntime_wheelhouse=str(wheelhouse("x86_64")),
        katago_source=f"wheel:{WHEEL}!{ENGINE}",
        katago_cache=str(CACHE / "fetched"),
    )
    profile = project.settings["profiles"]["cpu"]
    profile["artifacts"].append({"format": "katago"})
    project.write_settings()
    return project


def test_each_failure_is_one_line(project):
    said = project.run("provision", "--user", "root")

    assert (said.code, said.document["outcome"]) == (3, "failed"), shown(said)
    assert said.statuses() == {
        "sound": "provisioned",
        "no-package": "failed",
        "wrong-digest": "failed",
        "full": "failed",
        "alpine": "failed",
    }, shown(said)
    errors = {name: told["error"] for name, told in said.hosts.items() if told["error"]}
    for error in errors.values():
        assert "\n" not in error["message"]
        assert len(error["message"]) < 600
    assert "no-such-package" in errors["no-package"]["message"]
    assert "katago" in errors["wrong-digest"]["message"]
    assert "0" * 64 in errors["wrong-digest"]["message"]
    assert "space" in errors["full"]["message"]
    assert "Alpine Linux" in errors["alpine"]["message"]
    assert errors["alpine"]["hint"].startswith("Install a python3 with numpy")


def test_a_person_sees_a_line_for_each_host(project):
    said = project.text("provision", "--user", "root", "--limit", "no-package,alpine")

    assert said.returncode == 3
    shown = said.stdout + said.stderr
    (line,) = [line for line in shown.splitlines() if "no-such-package" in line]
    assert line.lstrip().startswith("no-package")
    assert "failed" in line
    (line,) = [line for line in shown.splitlines() if "Alpine Linux" in line]
    assert line.lstrip().startswith("alpine")
    assert "Traceback" not in shown


def test_a_host_that_is_away_ends_in_5_and_the_others_are_done(project, bench, sound):
    away = bench.hosts[1]
    with away.cut():
        limit = f"{sound.name},{away.name}"
        said = project.run("provision", "--user", "root", "--tags", "base", "--limit", limit)

    assert said.code == 5, shown(said)
    assert said.hosts["sound"]["status"] in {"provisioned", "unchanged"}, shown(said)
    assert said.hosts[away.name]["status"] == "unreachable"
    assert "\n" not in said.hosts[away.name]["error"]["message"]
