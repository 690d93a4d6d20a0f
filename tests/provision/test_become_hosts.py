"""Hosts where deploys become another user by sudo: made so, and taken back by that very login."""

from __future__ import annotations

import pytest

from tests.provision.conftest import DEPLOYER, fleet_of, shown

pytestmark = [pytest.mark.xdist_group("bare-become"), pytest.mark.timeout(600), pytest.mark.slow]

ROOT = "/srv/nets"
RULE = "/etc/sudoers.d/orchestrate"
VARIABLES = {"provision_engines": [], "orchestrate_root": ROOT, "ansible_become": True}


def test_the_owner_of_releases_is_made_and_goes_with_a_purge(bench, tmp_path):
    host = bench.add("owned", "x86_64", sudo="pi")
    project = fleet_of(
        tmp_path / "fleet", {host: {}}, "servers", ansible_become_user="nets", **VARIABLES
    )

    said = project.run("provision", "--user", "pi")
    assert (said.code, said.statuses()) == (0, {"owned": "provisioned"}), shown(said)
    assert host.here(ROOT).stat().st_uid == int(host.run("id", "-u", "nets"))
    again = project.run("provision", "--user", "pi")
    assert (again.code, again.statuses()) == (0, {"owned": "unchanged"}), shown(again)

    removed = project.run("provision", "--remove", "--purge", "--yes", "--user", "pi")
    assert (removed.code, removed.statuses()) == (0, {"owned": "removed"}), shown(removed)
    assert "nets" not in host.run("getent", "passwd")


def test_one_who_is_root_by_our_rule_takes_everything_back(bench, tmp_path):
    host = bench.add("by-rule", "x86_64", sudo="pi")
    project = fleet_of(tmp_path / "fleet", {host: {}}, "servers", **VARIABLES)
    made = project.run("provision", "--user", "pi")
    assert made.code == 0, shown(made)
    assert host.here("/var/lib/orchestrate/packages").exists()
    # As if nobody had needed it before: it is what this login lives on.
    with host.here("/var/lib/orchestrate/packages").open("a") as packages:
        packages.write("sudo\n")

    said = project.run("provision", "--remove")

    assert (said.code, said.statuses()) == (0, {"by-rule": "removed"}), shown(said)
    assert not host.here(RULE).exists()
    assert "python3-apt" not in host.here("/var/lib/orchestrate/packages").read_text()
    assert any("stay" in told and "sudo" in told for told in said.hosts["by-rule"]["advice"])
    host.run("getent", "passwd", DEPLOYER)

    # Root, whose password is locked as everywhere, needs no sudo.
    rest = project.run("provision", "--remove", "--user", "root")
    assert (rest.code, rest.statuses()) == (0, {"by-rule": "removed"}), shown(rest)
    assert not host.here("/usr/bin/sudo").exists()
