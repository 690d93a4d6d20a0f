"""What the playbooks are told of each host."""

from __future__ import annotations

import pytest

from orchestrator.errors import InventoryError
from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile, ServiceSpec
from orchestrator.provision import variables
from orchestrator.provision.request import Request
from orchestrator.targets.connection import connection_spec


def profile(*formats, activate="", engine="katago"):
    return Profile(
        name="p",
        when="true",
        artifacts=tuple(ArtifactWish(each) for each in formats),
        config="cpu.cfg.j2",
        engine=EngineSpec(engine),
        service=ServiceSpec(activate=activate),
    )


def told(host_vars, of=None):
    host = Host("pi-1", vars=host_vars)
    return variables.of_host(host, connection_spec(host), of)


@pytest.mark.parametrize(
    ("host_vars", "login", "owner", "become"),
    [
        ({}, "", "", False),
        ({"ansible_user": "orchestrate"}, "orchestrate", "orchestrate", False),
        ({"ansible_user": "pi", "ansible_become": True}, "pi", "root", True),
        (
            {"ansible_user": "pi", "ansible_become": True, "ansible_become_user": "go"},
            "pi",
            "go",
            True,
        ),
        (
            {"ansible_user": "pi", "ansible_become": True, "ansible_become_password": "secret"},
            "pi",
            "root",
            False,
        ),
    ],
)
def test_who_logs_in_and_who_owns(host_vars, login, owner, become):
    found = told(host_vars)
    assert (found["host_login"], found["host_owner"], found["host_become"]) == (
        login,
        owner,
        become,
    )
    assert "secret" not in str(found)


@pytest.mark.parametrize(
    ("of", "engines"),
    [
        (None, []),
        (profile("katago", "onnx"), ["katago", "onnxruntime"]),
        (profile("onnx", "katago"), ["onnxruntime", "katago"]),
        (profile("onnx", engine="onnxruntime"), ["onnxruntime"]),
        (profile("tensorrt"), []),
    ],
)
def test_the_engines_that_the_profile_can_use(of, engines):
    assert told({}, of)["provision_engines"] == engines


@pytest.mark.parametrize(
    ("activate", "name", "enabled"),
    [
        ("", None, False),
        ("systemctl restart another.service", None, False),
        ("systemctl restart orchestrate-other", None, False),
        ("./orchestrate restart", None, False),
        ("sudo systemctl restart orchestrate.service", None, True),
        ("sudo systemctl restart orchestrate", None, True),
        ("sudo systemctl restart orchestrate", "nets", False),
        ("sudo systemctl restart nets && true", "nets", True),
        ("systemctl --user restart orchestrate", None, False),
        ("systemctl restart --user orchestrate.service; true", None, False),
        ("sudo --user root systemctl restart orchestrate", None, True),
        ("systemctl --user stop a; sudo systemctl restart orchestrate", None, True),
    ],
)
def test_the_service_that_the_profile_restarts(activate, name, enabled):
    named = {"service_name": name} if name else {}
    assert told(named, profile("onnx", activate=activate))["service_enabled"] is enabled


def test_what_the_inventory_says_wins():
    found = told({"provision_engines": ["katago"], "service_enabled": True, "host_owner": "me"})
    assert not {"provision_engines", "service_enabled", "host_owner"} & found.keys()


def test_host_keys_are_checked_whatever_the_inventory_says():
    assert "StrictHostKeyChecking=yes" in variables.overriding(Request())["ansible_ssh_args"]


def test_what_overrides_every_inventory():
    assert variables.overriding(Request(user="pi"))["ansible_user"] == "pi"
    assert "ansible_user" not in variables.overriding(Request())
    assert variables.overriding(Request(remove=True, purge=True))["remove_purge"] is True


def test_a_user_for_this_time_needs_one_for_later():
    hosts = [Host("pi-1", vars={"ansible_user": "orchestrate"}), Host("pi-2")]
    variables.check_users(hosts, None)
    with pytest.raises(InventoryError, match=r"^pi-2: --user pi is for this time"):
        variables.check_users(hosts, "pi")


def test_a_typed_password_that_ansible_would_not_take_is_refused():
    hosts = [Host("pi-1", vars={"ansible_become_pass": "of-deploys"}), Host("pi-2")]
    variables.check_passwords(hosts, Request(user="pi"))
    variables.check_passwords(hosts, Request(become_password="typed"))
    variables.check_passwords(hosts[1:], Request(user="pi", become_password="typed"))
    with pytest.raises(InventoryError, match=r"^pi-1: the inventory has a password for sudo"):
        variables.check_passwords(hosts, Request(user="pi", become_password="typed"))
