"""The same hosts, groups and variables as the real `ansible-inventory`, and errors that help."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from orchestrator.errors import InventoryError
from orchestrator.fleet import inventory
from orchestrator.fleet.inventory import program
from tests.fleet.inventory import ansible_says
from tests.needs import needs_program

CASES = sorted(case.name for case in ansible_says.CASES.iterdir())
READ_BY_ANSIBLE = {"ini", "ini_without_extension", "folder_mixed", "script", "plugin"}


def variables(loaded) -> dict[str, dict]:
    """Variables of the hosts that have any, as JSON would carry them."""
    return json.loads(json.dumps({h.name: h.vars for h in loaded.hosts.values() if h.vars}))


@pytest.mark.parametrize("case", CASES)
def test_equals_ansible_inventory(case):
    path = ansible_says.inventory_of(case)
    expected = ansible_says.listing(path)
    loaded = inventory.load(path)
    assert variables(loaded) == ansible_says.hostvars(expected)
    members = ansible_says.members(expected)
    assert {name: set(hosts) for name, hosts in loaded.groups.items()} == members
    for host in loaded.hosts.values():
        names = {name for name, hosts in members.items() if host.name in hosts}
        assert host.groups == tuple(sorted(names - {"all"}))


def test_enough_cases():
    assert len(CASES) - len(READ_BY_ANSIBLE) >= 25


@pytest.mark.parametrize("case", sorted(set(CASES) - READ_BY_ANSIBLE))
def test_yaml_needs_no_ansible(case, monkeypatch):
    monkeypatch.setattr(program, "load", lambda path, reason: pytest.fail(f"asked for {reason}"))
    assert inventory.load(ansible_says.inventory_of(case)).hosts


@pytest.mark.parametrize("case", sorted(READ_BY_ANSIBLE))
def test_says_how_to_get_ansible(case, monkeypatch):
    monkeypatch.setattr(program.shutil, "which", lambda name, path=None: None)
    with pytest.raises(InventoryError, match="ansible-inventory is not installed") as caught:
        inventory.load(ansible_says.inventory_of(case))
    assert caught.value.hint == "pip install ansible-core"


def test_ansible_is_never_imported():
    code = (
        "import sys; from pathlib import Path; from orchestrator.fleet import inventory;"
        f"inventory.load(Path({str(ansible_says.inventory_of('ini'))!r}));"
        "print([m for m in sys.modules if m == 'ansible' or m.startswith('ansible.')])"
    )
    needs_program("ansible-inventory", ansible_says.HOW_TO_GET)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_ansible_leaves_no_files(tmp_path, monkeypatch):
    needs_program("ansible-inventory", ansible_says.HOW_TO_GET)
    scratch, project = tmp_path / "scratch", tmp_path / "project"
    scratch.mkdir()
    project.mkdir()
    (project / "hosts.ini").write_text("pi-1\n")
    monkeypatch.setattr(program.tempfile, "tempdir", str(scratch))
    assert list(inventory.load(project / "hosts.ini").hosts) == ["pi-1"]
    assert list(scratch.iterdir()) == []
    assert [path.name for path in project.iterdir()] == ["hosts.ini"]


@pytest.fixture
def vault(tmp_path):
    """A folder with a vault password that its ansible.cfg names, and a function that encrypts."""
    (tmp_path / "password").write_text("correct horse\n")
    program = needs_program("ansible-vault", ansible_says.HOW_TO_GET)

    def encrypted(text: str) -> str:
        return subprocess.run(
            [program, "encrypt", "--vault-password-file", tmp_path / "password"],
            input=text, capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    (tmp_path / "ansible.cfg").write_text("[defaults]\nvault_password_file = password\n")
    return encrypted


def test_encrypted_values_and_files(tmp_path, vault):
    secret = "".join(f"        {line}\n" for line in vault("s3cret").splitlines())
    hosts = "all:\n  hosts:\n    pi-1:\n      token: !vault |\n" + secret
    (tmp_path / "hosts.yml").write_text(hosts)
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(vault("whole: file\n"))
    loaded = inventory.load(tmp_path / "hosts.yml")
    assert loaded.hosts["pi-1"].vars == {"token": "s3cret", "whole": "file"}


def test_the_operators_log_gets_nothing_that_was_decrypted(tmp_path, vault):
    with (tmp_path / "ansible.cfg").open("a") as config:
        config.write(f"log_path = {tmp_path / 'ansible.log'}\n")
    (tmp_path / "hosts.yml").write_text("all: {hosts: {pi-1: }}\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(vault("token: s3cret\n"))
    assert inventory.load(tmp_path / "hosts.yml").hosts["pi-1"].vars["token"] == "s3cret"
    log = tmp_path / "ansible.log"
    assert not log.exists() or "s3cret" not in log.read_text()


def test_encrypted_without_password(tmp_path, vault):
    (tmp_path / "hosts.yml").write_text("all: {hosts: {pi-1: }}\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "pi-1.yml").write_text(vault("a: 1\n"))
    (tmp_path / "ansible.cfg").unlink()
    with pytest.raises(InventoryError, match="no vault password") as caught:
        inventory.load(tmp_path / "hosts.yml")
    assert "ANSIBLE_VAULT_PASSWORD_FILE" in caught.value.hint


def test_what_ansible_cannot_read_is_an_error(tmp_path):
    needs_program("ansible-inventory", ansible_says.HOW_TO_GET)
    (tmp_path / "hosts.ini").write_text("[pis\npi-1\n")
    with pytest.raises(InventoryError, match="ansible-inventory cannot read it"):
        inventory.load(tmp_path / "hosts.ini")


ERRORS = {
    "loop": (
        "a: {children: {b: }}\nb:\n  children:\n    c:\nc:\n  children:\n    a:\n",
        "hosts.yml:1: groups contain each other: a → b → c → a",
        "Take 'b' out of the children of 'a'.",
    ),
    "loop_of_one": (
        "a:\n  children:\n    a:\n",
        "hosts.yml:3: groups contain each other: a → a",
        "Take 'a' out of the children of 'a'.",
    ),
    "loop_through_all": (
        "a:\n  children:\n    all:\n",
        "hosts.yml:3: groups contain each other: all → a → all",
        "Take 'all' out of the children of 'a'.",
    ),
    "mistyped_section": (
        "pis:\n  host:\n    pi-1:\n",
        "hosts.yml:2: group 'pis' has the unknown key 'host'",
        "Did you mean 'hosts'?",
    ),
    "mistyped_variable": (
        "pis:\n  hosts:\n    pi-1:\n      orchestrate_modle: a@v1\n",
        "hosts.yml:4: unknown variable 'orchestrate_modle'",
        "Did you mean 'orchestrate_model'?",
    ),
    "mistyped_connection": (
        "pis:\n  vars: {ansible_usr: pi}\n  hosts: {pi-1: }\n",
        "hosts.yml:2: unknown variable 'ansible_usr'",
        "Did you mean 'ansible_user'?",
    ),
    "list_of_hosts": (
        "pis:\n  hosts:\n    - pi-1\n",
        "hosts.yml:2: 'hosts' of group 'pis' is a list, not a mapping",
        "Write 'name:' instead of '- name'.",
    ),
    "group_is_text": (
        "all:\n  children:\n    pis: pi-1\n",
        "hosts.yml:3: group 'pis' is a text, not a mapping",
        "Write 'pis:' and 'hosts:' indented under it.",
    ),
    "number_as_host": (
        "pis:\n  hosts:\n    17:\n",
        "hosts.yml:3: host name 17 is not text",
        "Put it in quotes.",
    ),
    "host_with_text": (
        "pis:\n  hosts:\n    pi-1: 192.0.2.1\n",
        "hosts.yml:3: the variables of host 'pi-1' are a text",
        "Write each as 'name: value', indented under it.",
    ),
    "bad_range": (
        "pis:\n  hosts:\n    pi[01:2]:\n",
        "hosts.yml:3: first and last of the padded range [01:2] differ in length",
        "Write it as in pi[01:12].",
    ),
    "priority_is_text": (
        "pis:\n  vars:\n    ansible_group_priority: high\n",
        "hosts.yml:3: ansible_group_priority is a text, not a whole number",
        "Write a number such as 10.",
    ),
    "tab": ("pis:\n\thosts:\n", "hosts.yml:2: not valid YAML: found character", "spaces, not tabs"),
    "list": (
        "- pi-1\n",
        "hosts.yml:1: an inventory is a mapping of groups, this is a list",
        "Start with 'all:'",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ERRORS)
def test_error_names_file_line_and_fix(name, tmp_path):
    text, message, hint = ERRORS[name]
    path = tmp_path / "hosts.yml"
    path.write_text(text)
    with pytest.raises(InventoryError) as caught:
        inventory.load(path)
    assert caught.value.message.removeprefix(f"{tmp_path}/").startswith(message)
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


def test_loop_between_files(tmp_path):
    (tmp_path / "a.yml").write_text("x:\n  children:\n    y:\n")
    (tmp_path / "b.yml").write_text("y:\n  children:\n    x:\n")
    with pytest.raises(InventoryError, match=r"a\.yml:3: groups contain each other: x → y → x"):
        inventory.load(tmp_path)


def test_mistyped_variable_of_an_ini_file_has_a_line(tmp_path):
    needs_program("ansible-inventory", ansible_says.HOW_TO_GET)
    (tmp_path / "hosts.ini").write_text("[pis]\npi-1\n\n[pis:vars]\norchestrate_rot=/srv\n")
    with pytest.raises(InventoryError, match=r"hosts\.ini:5: unknown variable") as caught:
        inventory.load(tmp_path / "hosts.ini")
    assert caught.value.hint == "Did you mean 'orchestrate_root'?"


def test_missing_inventory(tmp_path):
    with pytest.raises(InventoryError, match="no such inventory"):
        inventory.load(tmp_path / "none.yml")


def test_bad_file_of_variables(tmp_path):
    (tmp_path / "hosts.yml").write_text("all: {hosts: {pi-1: }}\n")
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "host_vars" / "pi-1.yml").write_text("- not\n- a mapping\n")
    with pytest.raises(InventoryError, match=r"host_vars/pi-1\.yml:1: .* is a list"):
        inventory.load(tmp_path / "hosts.yml")


GROUPS = [f"g{number}" for number in range(6)]
HOSTS = [f"h{number}" for number in range(3)]
VARIABLES = ["x", "y"]


@st.composite
def forests(draw) -> dict:
    """Inventories whose groups have children with higher numbers only: no loops, many diamonds."""
    forest = {}
    for number, name in enumerate(GROUPS):
        children = draw(st.sets(st.sampled_from(GROUPS[number + 1 :] or [None]), max_size=3))
        hosts = draw(st.sets(st.sampled_from(HOSTS)))
        holds = {
            key: f"{name}.{key}" for key in draw(st.sets(st.sampled_from(VARIABLES), min_size=1))
        }
        if draw(st.booleans()):
            holds["ansible_group_priority"] = draw(st.integers(-1, 2))
        forest[name] = {
            "children": dict.fromkeys(sorted(children - {None})),
            "hosts": {
                host: {"x": f"{name}/{host}"} if draw(st.booleans()) else None
                for host in sorted(hosts)
            },
            "vars": holds,
        }
    return forest


def prefixed(forest: dict, prefix: str) -> dict:
    """The forest with other names, so that many fit into one inventory."""
    return yaml.safe_load(
        yaml.safe_dump(
            {
                f"{prefix}{name}": {
                    "children": {f"{prefix}{child}": None for child in body["children"]},
                    "hosts": {f"{prefix}{host}": v for host, v in body["hosts"].items()},
                    "vars": body["vars"],
                }
                for name, body in forest.items()
            }
        )
    )


def paths_up(forest: dict, group: str) -> list[list[str]]:
    """Every way from the group up to a root, the group first."""
    parents = [name for name, body in forest.items() if group in body["children"]]
    ways = [[group, *way] for parent in parents for way in paths_up(forest, parent)]
    return ways or [[group]]


def wanted_variables(forest: dict, host: str) -> dict:
    """By the definition: all ways up, the deepest group wins, then priority, then name."""
    direct = [name for name, body in forest.items() if host in body["hosts"]]
    above = {group for name in direct for way in paths_up(forest, name) for group in way}
    ordered = sorted(
        above,
        key=lambda name: (
            max(map(len, paths_up(forest, name))),
            forest[name]["vars"].get("ansible_group_priority", 1),
            name,
        ),
    )
    found: dict = {}
    for name in ordered:
        found |= {k: v for k, v in forest[name]["vars"].items() if k in VARIABLES}
    for name in forest:
        found |= forest[name]["hosts"].get(host) or {}
    return found


@settings(max_examples=100, deadline=None)
@given(forest=forests())
def test_random_inventories_follow_the_definition(forest, tmp_path_factory):
    path = tmp_path_factory.mktemp("random") / "hosts.yml"
    path.write_text(yaml.safe_dump(forest, sort_keys=False))
    loaded = inventory.load(path)
    used = {host for body in forest.values() for host in body["hosts"]}
    assert set(loaded.hosts) == used
    assert set(loaded.groups["all"]) == used
    for host in used:
        assert dict(loaded.hosts[host].vars) == wanted_variables(forest, host)
    for name in GROUPS:
        inside = {h for h in used if name in loaded.hosts[h].groups}
        assert set(loaded.groups[name]) == inside
        assert len(loaded.groups[name]) == len(inside)
        for child in forest[name]["children"]:
            assert set(loaded.groups[child]) <= inside


def test_random_inventories_equal_ansible_inventory(tmp_path):
    """Forty random inventories side by side in one file: one run of the real program."""
    collected: list[dict] = []

    @settings(max_examples=40, deadline=None, database=None, derandomize=True)
    @given(forest=forests())
    def collect(forest):
        collected.append(forest)

    collect()
    everything = {}
    for number, forest in enumerate(collected):
        everything |= prefixed(forest, f"t{number}_")
    path = tmp_path / "hosts.yml"
    path.write_text(yaml.safe_dump(everything, sort_keys=False))
    expected = ansible_says.listing(path)
    loaded = inventory.load(path)
    assert variables(loaded) == ansible_says.hostvars(expected)
    assert {n: set(hosts) for n, hosts in loaded.groups.items()} == ansible_says.members(expected)


def test_order_of_hosts_is_ansibles(tmp_path):
    path = Path(tmp_path) / "hosts.yml"
    path.write_text(
        "zoo: {hosts: {z-1: , z-2: }, children: {cage: {hosts: {c-1: , z-1: }}}}\n"
        "ape: {hosts: {a-1: , z-2: }}\n"
        "all: {hosts: {loose: }}\n"
    )
    loaded = inventory.load(path)
    assert loaded.groups["all"] == ("loose", "z-1", "z-2", "a-1", "c-1")
    assert loaded.groups["zoo"] == ("z-1", "z-2", "c-1")
    assert list(loaded.hosts) == ["z-1", "z-2", "c-1", "a-1", "loose"]
