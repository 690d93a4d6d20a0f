"""Hosts put in and taken out; every other byte of the files stays."""

from __future__ import annotations

import stat
from textwrap import dedent

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InventoryError, UsageError
from orchestrator.fleet import inventory
from orchestrator.fleet.inventory import edit

FLEET = """\
# The fleet of the club.
---
all:
    vars:
        ansible_user:   'pi'   # everywhere
    children:
        jetsons:
            hosts:
                # the one in the window
                jetson-1:   {ansible_host: "192.0.2.1"}

                # the quiet one
                jetson-2:
                    ansible_host: 192.0.2.2 # by the door
                    nothing: ~
        pis:
            hosts:
                pi[01:12]:   # the shelf
            vars: {a: [1,2 , 3]}
        # nobody here yet
        gpu_servers:
        quoted:
            hosts: null
# the end
"""

ADDED = {
    "after_the_last": (
        "jetsons",
        {"ansible_host": "192.0.2.3", "ansible_port": 22},
        {},
        "                    nothing: ~\n",
        (
            "                    nothing: ~\n                jetson-9:\n"
            "                    ansible_host: 192.0.2.3\n                    ansible_port: 22\n"
        ),
    ),
    "no_variables": (
        "pis",
        {},
        {},
        "                pi[01:12]:   # the shelf\n",
        "                pi[01:12]:   # the shelf\n                jetson-9:\n",
    ),
    "into_an_empty_group": (
        "gpu_servers",
        {},
        {},
        "        gpu_servers:\n",
        "        gpu_servers:\n            hosts:\n                jetson-9:\n",
    ),
    "null_hosts": (
        "quoted",
        {},
        {},
        "            hosts: null\n",
        "            hosts:\n                jetson-9:\n",
    ),
    "new_group": (
        "berlin",
        {},
        {"create_groups": True},
        "            hosts: null\n",
        "            hosts: null\n        berlin:\n            hosts:\n                jetson-9:\n",
    ),
    "text_that_looks_like_a_number": (
        "jetsons",
        {"orchestrate_site": "017", "x": True},
        {},
        "                    nothing: ~\n",
        (
            "                    nothing: ~\n                jetson-9:\n"
            "                    orchestrate_site: '017'\n                    x: true\n"
        ),
    ),
}


@pytest.fixture
def fleet(tmp_path):
    path = tmp_path / "hosts.yml"
    path.write_text(FLEET)
    return path


@pytest.mark.parametrize("name", ADDED)
def test_add_changes_only_its_own_lines(name, fleet):
    group, variables, options, old, new = ADDED[name]
    assert edit.add_host(fleet, "jetson-9", [group], variables, **options) == [fleet]
    assert fleet.read_text() == FLEET.replace(old, new)
    host = inventory.load(fleet).hosts["jetson-9"]
    assert group in host.groups
    assert variables.items() <= host.vars.items()


@pytest.mark.parametrize("name", ADDED)
def test_remove_undoes_add(name, fleet):
    group, variables, options, _, _ = ADDED[name]
    before = inventory.load(fleet)
    edit.add_host(fleet, "jetson-9", [group], variables, **options)
    edit.remove_host(fleet, "jetson-9")
    after = inventory.load(fleet)
    assert after.hosts == before.hosts
    assert {k: v for k, v in after.groups.items() if k in before.groups} == before.groups


def test_remove_keeps_the_comments_of_others(fleet):
    edit.remove_host(fleet, "jetson-1")
    removed = '                jetson-1:   {ansible_host: "192.0.2.1"}\n'
    assert fleet.read_text() == FLEET.replace(removed, "")
    edit.remove_host(fleet, "jetson-2")
    assert "hosts:\n" in fleet.read_text()
    assert inventory.load(fleet).groups["jetsons"] == ()
    for comment in ("of the club", "everywhere", "the shelf", "nobody here yet", "the end"):
        assert comment in fleet.read_text()


def test_host_in_several_groups_and_files(tmp_path):
    (tmp_path / "a.yml").write_text("pis: {hosts: {pi-1: {x: 1}, pi-2: }}\n")
    (tmp_path / "b.yml").write_text("lab:\n  hosts:\n    pi-2:\n  # free\nempty:\n")
    assert edit.add_host(tmp_path, "pi-3", ["lab", "pis"], {"y": 2}) == [
        tmp_path / "b.yml",
        tmp_path / "a.yml",
    ]
    host = inventory.load(tmp_path).hosts["pi-3"]
    assert host.groups == ("lab", "pis")
    assert dict(host.vars) == {"y": 2}
    edit.remove_host(tmp_path, "pi-2")
    edit.remove_host(tmp_path, "pi-3")
    assert list(inventory.load(tmp_path).hosts) == ["pi-1"]
    assert (tmp_path / "b.yml").read_text() == "lab:\n  hosts:\n  # free\nempty:\n"


def test_into_an_empty_folder(tmp_path):
    edit.add_host(tmp_path, "pi-1", ["pis"], {"ansible_host": "192.0.2.1"}, create_groups=True)
    assert (tmp_path / "hosts.yml").read_text() == dedent("""\
        all:
          children:
            pis:
              hosts:
                pi-1:
                  ansible_host: 192.0.2.1
    """)


def test_without_a_group(fleet):
    edit.add_host(fleet, "loose", [])
    assert inventory.load(fleet).hosts["loose"].groups == ("ungrouped",)


def test_mode_and_folder_stay(fleet):
    fleet.chmod(0o640)
    edit.add_host(fleet, "jetson-9", ["jetsons"])
    assert stat.S_IMODE(fleet.stat().st_mode) == 0o640
    assert [path.name for path in fleet.parent.iterdir()] == ["hosts.yml"]


def test_a_link_stays_a_link(fleet):
    link = fleet.with_name("link.yml")
    link.symlink_to(fleet)
    edit.add_host(link, "jetson-9", ["jetsons"])
    assert link.is_symlink()
    assert "jetson-9" in fleet.read_text()


@pytest.mark.parametrize(
    ("call", "message", "hint"),
    [
        (lambda p: edit.add_host(p, "jetson-1", ["pis"]), "has the host 'jetson-1'", "Edit it"),
        (lambda p: edit.add_host(p, "pi03", ["jetsons"]), "has the host 'pi03' already", "Edit"),
        (lambda p: edit.add_host(p, "n", ["jetson"]), "no group 'jetson'", "'jetsons'? --create"),
        (lambda p: edit.add_host(p, "pis", ["pis"]), "is the name of a group", "another name"),
        (lambda p: edit.add_host(p, "n[1:3]", ["pis"]), "is no host name", "pi-3"),
        (lambda p: edit.add_host(p, "a b", ["pis"]), "is no host name", "pi-3"),
        (
            lambda p: edit.add_host(p, "n", ["pis"], {"orchestrate_modl": "x"}),
            "unknown variable 'orchestrate_modl'",
            "orchestrate_model",
        ),
        (lambda p: edit.remove_host(p, "jetson-3"), "has no host 'jetson-3'", "Did you mean"),
        (
            lambda p: edit.remove_host(p, "pi03"),
            ":18: 'pi03' comes from the range 'pi[01:12]'",
            "Change the range",
        ),
    ],
)
def test_refused_and_untouched(call, message, hint, fleet):
    with pytest.raises((UsageError, InventoryError)) as caught:
        call(fleet)
    assert message in caught.value.message
    assert hint in caught.value.hint
    assert fleet.read_text() == FLEET


def test_nothing_is_written_when_one_group_is_missing(fleet):
    with pytest.raises(UsageError):
        edit.add_host(fleet, "n", ["jetsons", "missing"])
    assert fleet.read_text() == FLEET


def test_only_yaml_is_edited(tmp_path):
    (tmp_path / "hosts").write_text("[pis]\npi-1\n")
    with pytest.raises(InventoryError, match="cannot be edited here"):
        edit.remove_host(tmp_path / "hosts", "pi-1")


@settings(max_examples=15, deadline=None)
@given(
    names=st.lists(st.sampled_from(["a", "b", "c", "d"]), unique=True, min_size=1),
    data=st.data(),
)
def test_any_sequence_of_edits_keeps_the_rest(names, data, tmp_path_factory):
    path = tmp_path_factory.mktemp("edits") / "hosts.yml"
    path.write_text(FLEET)
    before = inventory.load(path)
    for name in names:
        group = data.draw(st.sampled_from(["jetsons", "pis", "gpu_servers", "quoted"]))
        edit.add_host(path, name, [group], {"v": data.draw(st.text(max_size=8))})
    for name in data.draw(st.permutations(names)):
        edit.remove_host(path, name)
    after = inventory.load(path)
    assert after.hosts == before.hosts
    assert after.groups == before.groups
    kept = [line for line in FLEET.splitlines() if "null" not in line]
    lines = path.read_text().splitlines()
    assert [line for line in kept if line in lines] == kept
