"""A bare amd64 Debian, reached as `pi` who may use sudo: provisioned, deployed to, taken back.

The inventory's user, who deploys, is made by provisioning.
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

pytestmark = pytest.mark.timeout(600)

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


@pytest.fixture
def server(bench, nets, tmp_path) -> Iterator[Server]:
    host = bench.add("server-1", "x86_64", sudo="pi")
    wheels = wheelhouse("x86_64")
    with index(wheels, tmp_path / "index", host.controller) as url:
        host.here("/etc/pip.conf").write_text(f"[global]\ntrusted-host = {host.controller}\n")
        project = fleet_of(
            tmp_path / "fleet",
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


def test_a_bare_server_runs_nets_goes_back_and_is_taken_back(server):
    packages = server.packages()
    becomes_ready(server)
    assert server.packages() > packages
    changes_nothing_the_second_time(server)
    takes_nets_and_goes_back(server)
    keeps_its_releases_when_provisioned_again(server)
    gives_back_all_but_data(server, packages)
    keeps_nothing_when_purged(server, packages)


def becomes_ready(server: Server) -> None:
    said = server.project.run(*PROVISION)

    assert (said.code, said.document["outcome"]) == (0, "provisioned"), shown(said)
    told = said.hosts["server-1"]
    assert told["readiness"]["ready"], shown(said)
    everything = [server.root, *server.root.rglob("*")]
    owner = int(server.host.run("id", "-u", DEPLOYER))
    assert {path.lstat().st_uid for path in everything} == {owner}


def changes_nothing_the_second_time(server: Server) -> None:
    said = server.project.run(*PROVISION)

    assert (said.code, said.statuses()) == (0, {"server-1": "unchanged"}), shown(said)
    assert said.hosts["server-1"]["changed"] == []


def takes_nets_and_goes_back(server: Server) -> None:
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


def keeps_its_releases_when_provisioned_again(server: Server) -> None:
    before = server.data()
    assert {name.partition("/")[0] for name in before} == set(KEPT)

    said = server.project.run(*PROVISION)

    assert (said.code, said.statuses()) == (0, {"server-1": "unchanged"}), shown(said)
    assert server.data() == before


def gives_back_all_but_data(server: Server, packages: set[str]) -> None:
    before = server.data()

    predicted = server.project.run(*PROVISION, "--remove", "--check")
    assert (predicted.code, predicted.statuses()) == (0, {"server-1": "would_change"})
    assert server.root.joinpath("venv").exists()

    said = server.project.run(*PROVISION, "--remove")
    assert (said.code, said.statuses()) == (0, {"server-1": "removed"}), shown(said)
    assert server.data() == before
    assert {path.name for path in server.root.iterdir()} == set(KEPT)
    assert server.packages() == packages
    server.host.run("id", DEPLOYER)

    again = server.project.run(*PROVISION, "--remove")
    assert (again.code, again.statuses()) == (0, {"server-1": "unchanged"}), shown(again)


def keeps_nothing_when_purged(server: Server, packages: set[str]) -> None:
    said = server.project.run(*PROVISION, "--remove", "--purge", "--yes")

    assert (said.code, said.statuses()) == (0, {"server-1": "removed"}), shown(said)
    assert not server.root.exists()
    assert not server.host.here("/var/lib/orchestrate").exists()
    assert server.packages() == packages
    users = server.host.run("getent", "passwd")
    assert DEPLOYER not in users
    assert "pi:" in users
