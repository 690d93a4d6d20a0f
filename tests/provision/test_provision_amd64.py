"""A bare amd64 Debian, reached as `pi` who may use sudo: provisioned, deployed to, taken back.

The tests are one story, in this order. The inventory's user, who deploys, is made by provisioning.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.provision.conftest import DEPLOYER, fleet_of, shown, snapshot
from tests.provision.wheels import index, wheelhouse

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from tests.project import FleetProject
    from tests.provision.bare_hosts import BareHost

pytestmark = [pytest.mark.xdist_group("bare-amd64"), pytest.mark.timeout(600)]

ROOT = "/srv/nets"
PROVISION = ("provision", "--group", "servers", "--user", "pi")
KEPT = ("store", "releases", "audit.log", "current")


@dataclass(frozen=True)
class Server:
    """The host and the project that it belongs to."""

    host: BareHost
    project: FleetProject

    @property
    def root(self) -> Path:
        return self.host.here(ROOT)

    def packages(self) -> set[str]:
        """Those that are installed; of some that were removed, dpkg still knows settings."""
        asked = self.host.run("dpkg-query", "-W", "-f", "${db:Status-Status} ${Package}\n")
        return {line for line in asked.splitlines() if line.startswith("installed ")}

    def data(self) -> dict[str, tuple[object, ...]]:
        """All that deploys wrote, with inodes."""
        found = snapshot(self.root, inodes=True)
        return {name: told for name, told in found.items() if name.partition("/")[0] in KEPT}


@pytest.fixture(scope="module")
def server(bench, nets, tmp_path_factory) -> Iterator[Server]:
    host = bench.add("server-1", "x86_64", sudo="pi")
    wheels = wheelhouse("x86_64")
    with index(wheels, tmp_path_factory.mktemp("index"), host.controller) as url:
        host.here("/etc/pip.conf").write_text(f"[global]\ntrusted-host = {host.controller}\n")
        project = fleet_of(
            tmp_path_factory.mktemp("project") / "fleet",
            {host: {}},
            "servers",
            orchestrate_model="net@v1",
            orchestrate_root=ROOT,
            onnxruntime_index_url=url,
        )
        for version in ("v1", "v3"):
            golden = ("--golden", str(nets.golden(version)))
            project.add(f"net@{version}", nets.path(version), *golden)
        yield Server(host, project)


@pytest.fixture(scope="module")
def packages_before(server) -> set[str]:
    return server.packages()


def test_a_bare_server_becomes_ready(server, packages_before):
    said = server.project.run(*PROVISION)

    assert (said.code, said.document["outcome"]) == (0, "provisioned"), shown(said)
    told = said.hosts["server-1"]
    assert told["readiness"]["ready"], shown(said)
    assert server.root.stat().st_uid == int(server.host.run("id", "-u", DEPLOYER))
    assert server.root.joinpath("venv").stat().st_uid == 0
    assert server.packages() > packages_before


def test_the_second_time_nothing_changes(server):
    said = server.project.run(*PROVISION)

    assert (said.code, said.statuses()) == (0, {"server-1": "unchanged"}), shown(said)
    assert said.hosts["server-1"]["changed"] == []


def test_nets_are_deployed_and_go_back(server):
    first = server.project.run("deploy", "--yes")
    assert (first.code, first.document["outcome"]) == (0, "deployed"), shown(first)
    assert first.hosts["server-1"]["verify"]["verdict"] == "pass"
    assert f"{ROOT}/venv/bin/python3" in (server.root / "current" / "run").read_text()
    release = server.root.joinpath("current").readlink()

    second = server.project.run("deploy", "--yes", "--model", "net@v3")
    assert (second.code, second.hosts["server-1"]["active"]) == (0, "net@v3"), shown(second)

    back = server.project.run("rollback", "--yes")
    assert (back.code, back.hosts["server-1"]["active"]) == (0, "net@v1"), shown(back)
    assert server.root.joinpath("current").readlink() == release


def test_provisioning_again_leaves_releases_alone(server):
    before = server.data()
    assert {name.partition("/")[0] for name in before} == set(KEPT)

    said = server.project.run(*PROVISION)

    assert (said.code, said.statuses()) == (0, {"server-1": "unchanged"}), shown(said)
    assert server.data() == before


def test_remove_takes_back_what_was_installed_and_leaves_data(server, packages_before):
    before = server.data()

    predicted = server.project.run(*PROVISION, "--remove", "--check")
    assert (predicted.code, predicted.statuses()) == (0, {"server-1": "would_change"})
    assert server.root.joinpath("venv").exists()

    said = server.project.run(*PROVISION, "--remove")
    assert (said.code, said.statuses()) == (0, {"server-1": "removed"}), shown(said)
    assert server.data() == before
    assert {path.name for path in server.root.iterdir()} == set(KEPT)
    assert server.packages() == packages_before
    server.host.run("id", DEPLOYER)

    again = server.project.run(*PROVISION, "--remove")
    assert (again.code, again.statuses()) == (0, {"server-1": "unchanged"}), shown(again)


def test_purge_leaves_nothing(server, packages_before):
    said = server.project.run(*PROVISION, "--remove", "--purge", "--yes")

    assert (said.code, said.statuses()) == (0, {"server-1": "removed"}), shown(said)
    assert not server.root.exists()
    assert not server.host.here("/var/lib/orchestrate").exists()
    assert server.packages() == packages_before
    users = server.host.run("getent", "passwd")
    assert DEPLOYER not in users
    assert "pi:" in users
