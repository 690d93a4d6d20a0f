"""`inventory --check`: every mistake with its file, its line and what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from orchestrator.fleet.inventory import load, names
from orchestrator.fleet.inventory.check import check
from orchestrator.fleet.inventory.problems import FileError
from tests.fleet.inventory import ansible_says
from tests.needs import needs_program

MODELS = ["kata-b18@v1", "kata-b18@v2"]
PROFILES = ["jetson", "raspberry-pi"]

ONE = "pis:\n  hosts:\n    pi-1:\n"
DOCKER = (
    ONE + "      ansible_connection: docker\n      orchestrate_image: a:b\n"
    "      orchestrate_docker_host: "
)
MISTAKES = {
    "syntax": ("pis:\n  hosts: [\n", 3, "not valid YAML", "this line and the one above"),
    "colon_in_value": ("pis:\n  vars:\n    a: b: c\n", 3, "not valid YAML", "quote values"),
    "unknown_key": ("pis:\n  host:\n    pi-1:\n", 2, "unknown key 'host'", "Did you mean 'hosts'?"),
    "odd_key": (ONE + "  about: {}\n", 4, "unknown key 'about'", "hosts, children and vars"),
    "list": ("pis:\n  hosts:\n    - pi-1\n", 2, "is a list", "Write 'name:' instead of '- name'."),
    "text_group": ("all:\n  children:\n    pis: x\n", 3, "group 'pis' is a text", "Write 'pis:'"),
    "typo_of_ours": (ONE + "      orchestrate_rot: /srv\n", 4, "'orchestrate_rot'", "_root'?"),
    "typo_of_prefix": (ONE + "      orchestrator_model: a@b\n", 4, "r_model'", "orchestrate_model"),
    "typo_of_ansible": (ONE + "      ansible_hots: a\n", 4, "'ansible_hots'", "'ansible_host'?"),
    "model_form": (ONE + "      orchestrate_model: kata-b18\n", 4, "name@version", "kata-b18@v1"),
    "model_unknown": (
        ONE + "      orchestrate_model: kata-b18@v3\n",
        4,
        "no model",
        "Did you mean",
    ),
    "profile": (ONE + "      orchestrate_profile: jetso\n", 4, "no profile 'jetso'", "'jetson'?"),
    "twice": (
        "pis:\n  hosts:\n    a:\n    b:\n    a:\n",
        5,
        "host 'a' is written twice",
        "Keep one",
    ),
    "key_twice": (ONE + "      x: 1\n      x: 2\n", 5, "variable 'x' is written twice", "line 4"),
    "nested_twice": (ONE + "      x:\n        - 1\n      y: {a: 1, a: 2}\n", 6, "key 'a'", "Keep"),
    "group_twice": ("a:\n  hosts: {h: }\nb:\na:\n", 4, "group 'a' is written twice", "first on"),
    "both_names": ("pis:\n  hosts:\n    jetsons:\njetsons:\n", 3, "host and of a group", "Rename"),
    "loop": ("a:\n  children:\n    b:\nb:\n  children:\n    a:\n", 3, "a → b → a", "Take 'b' out"),
    "loop_inside": ("a:\n  children:\n    a:\n", 3, "a → a", "Take 'a' out"),
    "range": ("pis:\n  hosts:\n    pi[01:2]:\n", 3, "differ in length", "pi[01:12]"),
    "range_backwards": ("pis:\n  hosts:\n    pi[9:1]:\n", 3, "means no host", "lower bound first"),
    "port_text": (ONE + "      ansible_port: ssh\n", 4, "'ssh', not a port number", "such as"),
    "port_big": (ONE + "      ansible_port: 70000\n", 4, "'70000'", "1 to 65535"),
    "number_for_text": (ONE + "      ansible_user: 17\n", 4, "is a number, not text", 'r: "17"'),
    "number_as_host": ("pis:\n  hosts:\n    17:\n", 3, "host name 17 is not text", '"17":'),
    "window": (
        ONE + "      orchestrate_window: 02:00-05:00 Berlin\n",
        4,
        "'Berlin'",
        "Europe/Berl",
    ),
    "window_in_list": (
        ONE + "      orchestrate_window: [02:00-05:00 UTC, 5:00-26:00 UTC]\n",
        4,
        "26:00 is no time of day",
        "00:00 to 24:00",
    ),
    "window_number": (ONE + "      orchestrate_window: 2\n", 4, "is a number", "Europe/Berlin"),
    "window_empty": (ONE + "      orchestrate_window: []\n", 4, "is a list", "Europe/Berlin"),
    "docker_no_engine": (
        ONE + "      ansible_connection: docker\n      orchestrate_image: a:b\n",
        3,
        "Docker host 'pi-1' has no orchestrate_docker_host",
        "unix:///",
    ),
    "docker_no_image": (
        ONE + "      ansible_connection: docker\n      orchestrate_docker_host: box\n",
        3,
        "Docker host 'pi-1' has no orchestrate_image",
        "NAME@sha256:DIGEST",
    ),
    "docker_plain": (DOCKER + "tcp://box:2375\n", 6, "plain TCP", "docs/docker-certificates.md"),
    "docker_password": (
        DOCKER + "tcp://me:hunter2@box:2375\n",
        6,
        "'tcp://me:***@box:2375'",
        "ssh:",
    ),
    "docker_http": (DOCKER + "http://box:2376\n", 6, "plain TCP", "docs/docker-certificates.md"),
    "docker_way": (DOCKER + "npipe://x\n", 6, "'npipe' is no way", "unix:///"),
    "docker_image": (
        DOCKER.replace("a:b", "a@b") + "ssh://box\n",
        5,
        "orchestrate_image is 'a@b'",
        "NAME@sha256:DIGEST",
    ),
    "docker_on_another": (
        ONE + "      x: 1\n      orchestrate_docker_host: ssh://box\n    pi-2:\n",
        5,
        "'orchestrate_docker_host' has no effect on pi-1:",
        "ansible_connection: docker",
    ),
    "priority": ("a:\n  vars:\n    ansible_group_priority: x\n", 3, "not a whole number", "10"),
}


def found(path: Path, problems) -> list[str]:
    return [f"{p.file.relative_to(path)}:{p.line} {p.message} | {p.hint}" for p in problems]


@pytest.mark.parametrize("name", MISTAKES)
def test_mistake_is_found(name, tmp_path):
    text, line, message, hint = MISTAKES[name]
    (tmp_path / "hosts.yml").write_text(text)
    problems = check(tmp_path / "hosts.yml", known_models=MODELS, known_profiles=PROFILES)
    assert len(problems) == 1, found(tmp_path, problems)
    only = problems[0]
    assert (only.file, only.line, only.level) == (tmp_path / "hosts.yml", line, "error")
    assert message in only.message
    assert hint in f"{only.message} {only.hint}"


def test_plain_text_password_is_a_warning(tmp_path):
    (tmp_path / "hosts.yml").write_text(ONE + "      ansible_password: hunter2\n")
    (problem,) = check(tmp_path / "hosts.yml")
    assert (problem.line, problem.level) == (4, "warning")
    assert "hunter2" not in problem.message + problem.hint
    assert "ansible-vault" in problem.hint


def test_nothing_wrong(tmp_path):
    (tmp_path / "hosts.yml").write_text(
        "all:\n"
        "  children:\n"
        "    pis: &pis\n"
        "      hosts: {'pi[01:03]': }\n"
        "      vars:\n"
        "        orchestrate_model: '{{ wanted }}'\n"
        "        ansible_port: '2222'\n"
        '        ansible_password: \'{{ lookup("env", "PASSWORD") }}\'\n'
        "        ansible_hostname_of_mine: x\n"
        "        anything: {a: [1, {b: 2}]}\n"
        "    more: {<<: *pis}\n"
    )
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text("orchestrate_model: kata-b18@v1\n")
    (tmp_path / "host_vars" / "pi01").mkdir(parents=True)
    (tmp_path / "host_vars" / "pi01" / "x.yml").write_text("orchestrate_profile: jetson\n")
    assert check(tmp_path / "hosts.yml", known_models=MODELS, known_profiles=PROFILES) == []


def test_files_of_variables(tmp_path):
    (tmp_path / "hosts.yml").write_text(ONE)
    for name, text in {
        "group_vars/pi.yml": "x: 1\n",
        "group_vars/pis.yml": "a: 1\norchestrate_modl: b@v1\n",
        "group_vars/pis.yaml": "never: read\n",
        "host_vars/pi-2.yml": "x: 1\n",
        "host_vars/pi-1/a.yml": "x: {y: 1, y: 2}\n",
        "host_vars/pi-1/b.yml": "\tx: 1\n",
        "host_vars/.hidden": "",
    }.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text)
    assert found(tmp_path, check(tmp_path)) == [
        (
            "group_vars/pi.yml:1 there is no group 'pi' for these variables"
            " | Did you mean 'pis'? Rename the file or delete it."
        ),
        (
            "group_vars/pis.yaml:1 this file is not read, pis.yml is read for 'pis'"
            " | Move its variables there and delete it."
        ),
        (
            "group_vars/pis.yml:2 unknown variable 'orchestrate_modl'"
            " | Did you mean 'orchestrate_model'?"
        ),
        (
            "host_vars/pi-1/a.yml:1 the key 'y' is written twice here, first on line 1"
            " | Keep one of the two; only the last would count."
        ),
        (
            "host_vars/pi-1/b.yml:1 not valid YAML: found character that cannot start any token"
            " | Indent with spaces, not tabs."
        ),
        (
            "host_vars/pi-2.yml:1 there is no host 'pi-2' for these variables"
            " | Did you mean 'pi-1'? Rename the file or delete it."
        ),
    ]


def test_several_mistakes_in_order(tmp_path):
    (tmp_path / "b.yml").write_text("pis:\n  host:\n    x:\n  vars:\n    orchestrate_x: 1\n")
    (tmp_path / "a.yml").write_text("all:\n  hosts:\n    h[1:]:\n")
    assert [(p.file.name, p.line) for p in check(tmp_path)] == [
        ("a.yml", 3),
        ("b.yml", 2),
        ("b.yml", 5),
    ]


def test_ini_is_checked_through_ansible(tmp_path):
    needs_program("ansible-inventory", ansible_says.HOW_TO_GET)
    (tmp_path / "hosts.ini").write_text(
        "[pis]\npi-1 ansible_port=ssh\npi-2 ansible_usr=pi\n[pis:vars]\norchestrate_model=kata\n"
    )
    problems = check(tmp_path / "hosts.ini", known_models=MODELS)
    assert [(p.line, p.message) for p in problems] == [
        (2, "'ansible_port' is 'ssh', not a port number"),
        (3, "unknown variable 'ansible_usr'"),
        (5, "orchestrate_model is 'kata', not of the form name@version"),
    ]


def test_only_typos_that_reach_a_host_stop_a_command(tmp_path):
    (tmp_path / "hosts.yml").write_text(
        "pis:\n  hosts: {pi-1: {ansible_port: ssh, orchestrate_sit: berlin}}\n"
        "  vars:\n    orchestrate_model: nothing\n"
    )
    with pytest.raises(FileError) as stopped:
        load(tmp_path / "hosts.yml")
    problem = stopped.value.problem
    assert (problem.line, problem.message) == (2, "unknown variable 'orchestrate_sit'")
    (tmp_path / "hosts.yml").write_text(ONE)
    assert load(tmp_path / "hosts.yml").hosts


def test_the_example_fleet_is_well():
    example = Path(__file__).parents[3] / "inventory"
    mine = [problem for problem in check(example) if problem.file.name != "lab.yml"]
    assert mine == []


def test_the_reference_is_well_and_names_every_variable_of_ours():
    reference = Path(__file__).parents[3] / "docs" / "reference" / "inventory.yml"
    assert check(reference) == []
    text = reference.read_text()
    assert [name for name in names.OURS if f"    {name}: " not in text] == []


def test_what_docker_hosts_share_with_others_is_no_mistake(tmp_path):
    (tmp_path / "hosts.yml").write_text(
        "all:\n  vars:\n    orchestrate_image: a:b\n  hosts:\n    pi-1:\n    box-1:\n"
        "      ansible_connection: docker\n      orchestrate_docker_host: tcp://box:2376\n"
        "    box-2:\n      ansible_connection: docker\n"
        "      orchestrate_docker_host: '{{ inventory_hostname }}'\n"
        "    box-3:\n      ansible_connection: '{{ x }}'\n      orchestrate_docker_tls: /t\n"
    )
    assert check(tmp_path / "hosts.yml") == []


def test_a_mistake_of_a_docker_host_is_found_where_it_is_written(tmp_path):
    (tmp_path / "hosts.yml").write_text("all:\n  hosts:\n    box-[1:3]:\n")
    (tmp_path / "group_vars").mkdir()
    (tmp_path / "host_vars").mkdir()
    (tmp_path / "group_vars" / "all.yml").write_text(
        "# orchestrate_docker_host: tcp://old:2375\norchestrate_docker_host: ssh://box\n"
        "orchestrate_image: a:b\n"
    )
    (tmp_path / "host_vars" / "box-2.yml").write_text(
        "ansible_connection: docker\norchestrate_docker_host: 'tcp://old:2375'\n"
    )
    idle, plain = found(tmp_path, check(tmp_path / "hosts.yml"))
    assert idle.startswith(
        "group_vars/all.yml:2 'orchestrate_docker_host' has no effect on box-1, box-3: "
    )
    assert plain.startswith(
        "host_vars/box-2.yml:2 orchestrate_docker_host is 'tcp://old:2375', plain TCP"
    )


def test_two_hosts_that_are_one_container(tmp_path):
    host = "      ansible_connection: docker\n      orchestrate_docker_host: ssh://box\n"
    image = f"      orchestrate_image: sha256:{'0' * 64}\n"
    (tmp_path / "hosts.yml").write_text(
        f"all:\n  hosts:\n    a:\n{host}{image}    b:\n{host}{image}"
        f"    c:\n{host}{image}      orchestrate_container: other\n"
    )
    [finding] = check(tmp_path)
    assert "it is container 'orchestrate' of the same Docker Engine as a" in str(finding)
