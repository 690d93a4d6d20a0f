"""A bare aarch64 Debian that poses as a Raspberry Pi 4: from an SSH key to a release and back.

Every program on the host is an aarch64 one, run by QEMU.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from tests.provision.conftest import DEPLOYER, fleet_of, shown, snapshot
from tests.provision.wheels import wheelhouse

if TYPE_CHECKING:
    from pathlib import Path

    from tests.project import FleetProject
    from tests.provision.bare_hosts import BareHost

pytestmark = [pytest.mark.timeout(900), pytest.mark.slow]

ROOT = f"/home/{DEPLOYER}/.local/share/orchestrate"
AARCH64 = 183  # e_machine of an ELF file


@dataclass(frozen=True)
class Pi:
    """The host and the project that it belongs to."""

    host: BareHost
    project: FleetProject

    @property
    def root(self) -> Path:
        return self.host.here(ROOT)


@pytest.fixture
def pi(bench, nets, tmp_path) -> Pi:
    host = bench.add("pi-1", "aarch64", board="raspberry-pi-4")
    project = fleet_of(
        tmp_path / "fleet",
        {host: {}},
        "pis",
        orchestrate_model="net@v1",
        onnxruntime_wheelhouse=str(wheelhouse("aarch64")),
    )
    for version in ("v1", "v3"):
        golden = ("--golden", str(nets.golden(version)))
        project.add(f"net@{version}", nets.path(version), *golden)
    return Pi(host, project)


def test_a_bare_pi_runs_nets_and_goes_back(pi):
    becomes_ready(pi)
    changes_nothing_the_second_time(pi)
    tells_an_aarch64_machine_that_is_ready(pi)
    has_a_net_verified_by_aarch64_programs(pi)
    takes_a_new_version_and_goes_back(pi)
    keeps_its_releases_when_provisioned_again(pi)


def becomes_ready(pi: Pi) -> None:
    said = pi.project.run("provision", "--group", "pis", "--user", "root")

    assert (said.code, said.document["outcome"]) == (0, "provisioned"), shown(said)
    told = said.hosts["pi-1"]
    assert told["readiness"]["profile"] == "raspberry-pi"
    assert told["readiness"]["ready"], told["readiness"]
    assert {"base", "onnxruntime"} <= {change["role"] for change in told["changed"]}


def changes_nothing_the_second_time(pi: Pi) -> None:
    before = snapshot(pi.root, inodes=True)

    said = pi.project.run("provision", "--group", "pis", "--user", "root")

    assert said.hosts["pi-1"]["changed"] == [], shown(said)
    assert (said.code, said.statuses()) == (0, {"pi-1": "unchanged"}), shown(said)
    assert snapshot(pi.root, inodes=True) == before


def tells_an_aarch64_machine_that_is_ready(pi: Pi) -> None:
    said = pi.project.run("facts", "--refresh")

    (told,) = said.hosts.values()
    assert told["arch"] == "aarch64"
    assert told["board"]["model"].startswith("Raspberry Pi 4")
    assert told["python"]["path"] == f"{ROOT}/venv/bin/python3"
    assert told["readiness"]["runs"] == ["onnx fp32"]


def has_a_net_verified_by_aarch64_programs(pi: Pi) -> None:
    said = pi.project.run("deploy", "--yes", "--group", "pis")

    assert (said.code, said.document["outcome"]) == (0, "deployed"), shown(said)
    verified = said.hosts["pi-1"]["verify"]
    assert verified["verdict"] == "pass"
    assert verified["metrics"]["golden_max_error"] < 1e-3
    assert f"{ROOT}/venv/bin/python3" in (pi.root / "current" / "run").read_text()
    (library,) = pi.root.glob("venv/lib/*/site-packages/onnxruntime/capi/*pybind11_state*.so")
    assert int.from_bytes(library.read_bytes()[18:20], "little") == AARCH64
    ask = "import onnxruntime, platform; print(platform.machine())"
    assert pi.host.run(f"{ROOT}/venv/bin/python3", "-c", ask) == "aarch64\n"


def takes_a_new_version_and_goes_back(pi: Pi) -> None:
    first = pi.root.joinpath("current").readlink()

    said = pi.project.run("deploy", "--yes", "--model", "net@v3")
    assert (said.code, said.hosts["pi-1"]["active"]) == (0, "net@v3"), shown(said)
    assert pi.root.joinpath("current").readlink() != first

    back = pi.project.run("rollback", "--yes")
    assert back.code == 0, shown(back)
    assert back.hosts["pi-1"]["active"] == "net@v1"
    assert pi.root.joinpath("current").readlink() == first


def keeps_its_releases_when_provisioned_again(pi: Pi) -> None:
    kept = ("store", "releases", "audit.log", "current")
    before = {
        name: told
        for name, told in snapshot(pi.root, inodes=True).items()
        if name.partition("/")[0] in kept
    }
    assert len({name.partition("/")[0] for name in before}) == len(kept)

    said = pi.project.run("provision", "--group", "pis", "--user", "root")

    assert (said.code, said.statuses()) == (0, {"pi-1": "unchanged"}), shown(said)
    after = snapshot(pi.root, inodes=True)
    assert {name: after.get(name) for name in before} == before
