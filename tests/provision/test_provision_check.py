"""`provision --check` on bare hosts: it predicts, and leaves their disks as they were."""

from __future__ import annotations

import pytest

from tests.provision.conftest import disk, fleet_of
from tests.provision.wheels import wheelhouse

pytestmark = pytest.mark.timeout(900)


def test_check_predicts_and_changes_nothing(bench, tmp_path):
    hosts = {
        bench.add("with-python", "x86_64"): {},
        bench.add("without-python", "x86_64", python=False): {},
    }
    wheels = {"onnxruntime_wheelhouse": str(wheelhouse("x86_64"))}
    project = fleet_of(tmp_path / "project", hosts, "servers", **wheels)
    before = {host.name: disk(host) for host in hosts}

    said = project.run("provision", "--check", "--diff", "--user", "root")

    assert said.code == 0, said.stderr
    assert set(said.statuses().values()) == {"would_change"}
    assert said.document["outcome"] == "would_change"
    for host in hosts:
        assert disk(host) == before[host.name]
    changed = {
        name: {change["role"] for change in told["changed"]} for name, told in said.hosts.items()
    }
    assert {"base", "onnxruntime"} <= changed["with-python"]
    assert changed["without-python"] == {"host"}
    predicted = [change["task"] for change in said.hosts["without-python"]["changed"]]
    assert any("python3" in task for task in predicted)
