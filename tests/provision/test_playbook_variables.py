"""Mistyped variables of roles are found before anything is touched."""

from __future__ import annotations

import pytest

from orchestrator.errors import InventoryError
from orchestrator.fleet import skeleton
from orchestrator.fleet.host import Host
from orchestrator.provision import playbooks

PLAYBOOK = skeleton.shared("playbooks") / playbooks.PROVISION


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("katago_sha", "katago_sha256"),
        ("onnxruntime_wheelhous", "onnxruntime_wheelhouse"),
        ("base_package", "base_packages"),
    ],
)
def test_a_name_that_is_nearly_right(name, meant):
    with pytest.raises(InventoryError, match=f"^pi-1: no role has a variable {name}$") as caught:
        playbooks.check_variables(PLAYBOOK, [Host("pi-1", vars={name: "x"})])
    assert caught.value.hint.startswith(f"Did you mean '{meant}'?")


@pytest.mark.parametrize(
    "name", ["katago_sha256", "katago_opencl_tuner_file", "host_name", "service_port", "camera"]
)
def test_right_names_and_those_of_the_operators_own_pass(name):
    playbooks.check_variables(PLAYBOOK, [Host("pi-1", vars={name: "x"})])


def test_roles_that_do_not_say_what_they_take_are_passed_over(tmp_path):
    (tmp_path / "roles" / "own").mkdir(parents=True)
    playbooks.check_variables(tmp_path / "provision.yml", [Host("pi-1", vars={"own_x": 1})])
    playbooks.check_variables(tmp_path / "none" / "provision.yml", [Host("pi-1")])
