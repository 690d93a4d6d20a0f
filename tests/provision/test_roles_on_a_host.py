"""What single roles do on a bare host that is not as they left it."""

from __future__ import annotations

import json

import pytest

from tests.provision.conftest import DEPLOYER, fleet_of, shown

pytestmark = [pytest.mark.xdist_group("bare-roles"), pytest.mark.timeout(600), pytest.mark.slow]


def test_root_does_not_follow_links_of_the_one_who_deploys(bench, tmp_path):
    host = bench.add("linked", "x86_64")
    project = fleet_of(tmp_path / "fleet", {host: {}}, "servers", provision_engines=[])
    made = project.run("provision", "--user", "root")
    assert made.code == 0, shown(made)
    keys = host.here(f"/home/{DEPLOYER}/.ssh")
    told = keys.joinpath("authorized_keys").read_text()
    assert oct(keys.stat().st_mode)[-3:] == "700"

    host.run("rm", "-r", f"/home/{DEPLOYER}/.ssh")
    host.run("ln", "-s", "/etc/ssl", f"/home/{DEPLOYER}/.ssh")
    linked = project.run("provision", "--user", "root")
    assert host.here("/etc/ssl").stat().st_uid == 0
    assert not host.here("/etc/ssl/authorized_keys").exists()
    assert (linked.code, linked.statuses()) == (3, {"linked": "failed"}), shown(linked)
    assert "Permission denied" in linked.hosts["linked"]["error"]["message"]

    host.run("rm", f"/home/{DEPLOYER}/.ssh")
    mended = project.run("provision", "--user", "root")
    assert mended.code == 0, shown(mended)
    assert host.here(f"/home/{DEPLOYER}/.ssh/authorized_keys").read_text() == told


def test_docker_forgets_the_gpu_that_was_taken_out(bench, tmp_path):
    host = bench.add("cardless", "x86_64")
    project = fleet_of(tmp_path / "fleet", {host: {}}, "servers")
    own = {"log-driver": "journald"}
    host.here("/etc/docker").mkdir()
    settings = host.here("/etc/docker/daemon.json")
    runtimes = {"nvidia": {"path": "nvidia-container-runtime"}}
    settings.write_text(json.dumps(own | {"runtimes": runtimes}))
    settings.chmod(0o644)
    host.here("/var/lib/orchestrate").mkdir()
    host.here("/var/lib/orchestrate/docker_runtime").write_text("added\n")

    said = project.run("provision", "--remove", "--user", "root")

    assert (said.code, said.statuses()) == (0, {"cardless": "removed"}), shown(said)
    assert json.loads(settings.read_text()) == own
    assert oct(settings.stat().st_mode)[-3:] == "644"
    again = project.run("provision", "--remove", "--user", "root")
    assert (again.code, again.statuses()) == (0, {"cardless": "unchanged"}), shown(again)
