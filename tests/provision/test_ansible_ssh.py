"""Ansible reaches hosts as deploys do: jump hosts, known_hosts, keys, refused host keys."""

from __future__ import annotations

import pytest
import yaml

from orchestrator.fleet.host import Host
from orchestrator.provision import ansible, variables
from orchestrator.provision.ansible import Playbook
from orchestrator.provision.request import Request
from orchestrator.targets.connection import connection_spec
from tests.waiting import wait_until

RAW = [{"name": "Say something", "ansible.builtin.raw": "echo"}]


@pytest.fixture
def ask(tmp_path):
    """`ask(host, **variables)`: what Ansible told of an SSH host."""

    def ask(host, *, host_vars=None, request=None, **more):
        folder = tmp_path / "inventory"
        (folder / "host_vars").mkdir(parents=True)
        given = {**host.inventory_vars(), **more}
        (folder / "hosts.yml").write_text(yaml.safe_dump({"all": {"hosts": {host.name: given}}}))
        if host_vars:
            (folder / "host_vars" / f"{host.name}.yml").write_text(yaml.safe_dump(host_vars))
        fleet_host = Host(host.name, vars={**given, **(host_vars or {})})
        path = tmp_path / "play.yml"
        path.write_text(yaml.safe_dump([{"hosts": "all", "gather_facts": False, "tasks": RAW}]))
        ended = ansible.run(
            Playbook(
                path,
                folder,
                [host.name],
                variables={
                    host.name: variables.of_host(fleet_host, connection_spec(fleet_host), None)
                },
                extra=variables.overriding(request or Request()),
            ),
            run="run-1",
            kept=tmp_path / "kept",
            on_step=lambda _: None,
            stopped=lambda: False,
        )
        return ended.progress.hosts[host.name]

    return ask


def test_a_host_behind_two_jump_hosts_that_only_its_own_known_hosts_knows(
    sshd_fleet, ask, tmp_path, monkeypatch
):
    monkeypatch.setenv("HOME", str(tmp_path))  # no known_hosts, no keys
    first, second, host = sshd_fleet(3)
    user = host.inventory_vars()["ansible_user"]
    hops = ",".join(f"{user}@{jump.address}:{jump.port}" for jump in (first, second))
    known = f"-o UserKnownHostsFile={host.known_hosts}"
    told = ask(host, host_vars={"ansible_ssh_common_args": f"-J {hops} {known}"})
    assert told.unreachable is None
    assert told.done
    assert first.log.count("Accepted publickey") == 1
    assert second.log.count("Accepted publickey") == 1
    wait_until(lambda: not host.processes(), "nobody is logged in any more", seconds=10)


def test_a_host_key_that_is_not_known_is_refused_whatever_the_settings_say(
    sshd_fleet, ask, tmp_path, monkeypatch
):
    (host,) = sshd_fleet()
    config = tmp_path / "ansible.cfg"
    config.write_text("[defaults]\nhost_key_checking = False\n")
    monkeypatch.setenv("ANSIBLE_CONFIG", str(config))
    host.rotate_host_key()
    told = ask(host, ansible_ssh_extra_args="-o StrictHostKeyChecking=no")
    assert not told.changed
    assert "Host key verification failed" in str(told.unreachable)


def test_a_user_for_this_time_logs_in_instead_of_the_inventorys(sshd_fleet, ask):
    (host,) = sshd_fleet()
    own = host.inventory_vars()["ansible_user"]
    assert ask(host, ansible_user="nobody-there", request=Request(user=own)).done
