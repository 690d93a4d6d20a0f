"""What the roles host, base and service see and write, as far as no host is needed for that."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.needs import needs_program

ROLES = Path(__file__).parents[2] / "playbooks" / "roles"
SAMPLES = Path(__file__).parents[1] / "fleet" / "samples"
BOARDS = sorted(path.parent.name for path in SAMPLES.glob("*/expected.json"))
SHELLS = {"dash": ("dash",), "busybox": ("busybox", "sh"), "bash": ("bash", "--posix")}


def look(shell=("dash",), *, sysroot="", **inventory):
    """What the role `host` learns on this machine, with hardware from elsewhere."""
    script = (ROLES / "host" / "files" / "look.sh").read_text("utf-8")
    finished = subprocess.run(
        [needs_program(shell[0], "apt-get install dash busybox bash"), *shell[1:], "-c", script],
        env={"PATH": os.environ["PATH"], "ORCHESTRATE_SYSROOT": str(sysroot), **inventory},
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert finished.stderr == ""
    return dict(
        line.removeprefix("orchestrate:").split("=", 1) for line in finished.stdout.splitlines()
    )


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
@pytest.mark.parametrize("board", BOARDS)
def test_the_look_and_the_probe_know_the_same_boards(board, shell):
    expected = json.loads((SAMPLES / board / "expected.json").read_text("utf-8"))["board"]
    found = look(shell, sysroot=SAMPLES / board / "sysroot")
    assert found["board"] == expected["kind"]
    assert found["model"] == expected["model"]


@pytest.mark.parametrize(
    ("vendor", "device_class", "nvidia"),
    [
        ("0x10de", "0x030000", "yes"),  # a display
        ("0x10de", "0x030200", "yes"),  # a GPU without one
        ("0x10de", "0x040300", "no"),  # the sound of a graphics card
        ("0x8086", "0x030000", "no"),
    ],
)
def test_a_gpu_of_nvidia_is_seen_without_its_driver(tmp_path, vendor, device_class, nvidia):
    device = tmp_path / "sys/bus/pci/devices/0000:01:00.0"
    device.mkdir(parents=True)
    (device / "vendor").write_text(f"{vendor}\n")
    (device / "class").write_text(f"{device_class}\n")
    assert look(sysroot=tmp_path)["nvidia"] == nvidia


def test_names_and_root_are_resolved():
    me = look()["user"]
    found = look(login="nobody-yet")
    assert (found["user"], found["login"], found["owner"]) == (me, "nobody-yet", "nobody-yet")
    assert found["root"] == "/home/nobody-yet/.local/share/orchestrate"
    assert found["home"] == ""
    assert look(owner="root")["root"] == "/opt/orchestrate"
    assert look(owner="root", root="~/nets")["root"] == "/root/nets"
    assert look(owner="root", root="~")["root"] == "/root"
    assert look(owner="root", root="/srv/nets/")["root"] == "/srv/nets"
    assert look(owner="root")["home"] == "/root"


def playbook(folder, tasks, **variables):
    """Run tasks on this machine, by the real Ansible; returns the finished process."""
    play = [
        {
            "hosts": "localhost",
            "connection": "local",
            "gather_facts": False,
            "vars": variables | {"ansible_python_interpreter": sys.executable},
            "tasks": tasks,
        }
    ]
    (folder / "play.yml").write_text(json.dumps(play), "utf-8")
    return subprocess.run(
        [needs_program("ansible-playbook", "make setup"), "-i", "localhost,", folder / "play.yml"],
        env=os.environ | {"ANSIBLE_ROLES_PATH": str(ROLES), "ANSIBLE_NOCOLOR": "1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"host_login": "Pi"}, "The login user 'Pi' is no name for a user"),
        ({"host_owner": "go;reboot"}, "The owner 'go;reboot' is no name for a user"),
        ({"host_root": "/srv/../etc"}, "The root folder '/srv/../etc' is none"),
        ({"host_root": "/srv/my nets"}, "The root folder '/srv/my nets' is none"),
        ({"host_root": "/opt"}, "The root folder '/opt' is the system's own"),
        ({"host_root": "/usr/local/bin/"}, "The root folder '/usr/local/bin' is the system's own"),
        ({"host_root": "/var/lib"}, "The root folder '/var/lib' is the system's own"),
    ],
)
def test_names_that_do_harm_are_refused_in_one_sentence(tmp_path, variables, said):
    tasks = [{"include_role": {"name": "host"}}]
    finished = playbook(tmp_path, tasks, host_bootstrap=False, **variables)
    assert finished.returncode == 2
    (fatal,) = [line for line in finished.stdout.splitlines() if line.startswith("fatal:")]
    assert said in fatal
    assert "\\n" not in fatal


def test_what_start_files_of_a_shell_print_does_not_matter(tmp_path, monkeypatch):
    printing = tmp_path / "printing"
    printing.write_text("#!/bin/sh\nprintf '\\033[31mWelcome: '\nexec /bin/sh \"$@\"\n")
    printing.chmod(0o755)
    tasks = [
        {"include_role": {"name": "host"}},
        {"assert": {"that": ["host_uid | int >= 0"]}},
    ]
    monkeypatch.setenv("ANSIBLE_EXECUTABLE", str(printing))
    finished = playbook(tmp_path, tasks, host_bootstrap=False, host_root="/srv/nets")
    assert finished.returncode == 0, finished.stdout


def evaluated(folder, role, expressions, *cases):
    """For each case, which is variables, the expressions as Ansible evaluates them in a role."""
    (folder / "templates").symlink_to(ROLES / role / "templates")
    result = folder / "result.json"
    pairs = ", ".join(f"'{name}': {text}" for name, text in expressions.items())
    tasks = [
        {"include_vars": {"file": str(ROLES / role / "vars" / "main.yml")}},
        *(
            {"set_fact": {"found": f"{{{{ found | default([]) + [{{{pairs}}}] }}}}"}, "vars": case}
            for case in cases
        ),
        {"copy": {"dest": str(result), "content": "{{ found | to_json }}"}},
    ]
    finished = playbook(folder, tasks)
    assert finished.returncode == 0, finished.stdout
    return json.loads(result.read_text("utf-8"))


DPKG_QUERY = """\
#!/bin/sh
cat <<'END'
installed zlib1g-dev, libz-dev (= 1:1.2.13), zlib-dev
installed mawk, awk
installed htop,\x20
config-files nano, editor
END
"""


@pytest.mark.parametrize("shell", SHELLS.values(), ids=SHELLS)
def test_a_package_is_there_when_another_provides_it(tmp_path, shell):
    program = tmp_path / "dpkg-query"
    program.write_text(DPKG_QUERY)
    program.chmod(0o755)
    script = (ROLES / "packages" / "files" / "look.sh").read_text("utf-8")
    finished = subprocess.run(
        [needs_program(shell[0], "apt-get install dash busybox bash"), *shell[1:], "-c", script],
        env={
            "PATH": f"{tmp_path}:{os.environ['PATH']}",
            "names": "awk ht htop zlib-dev nano editor",
        },
        capture_output=True,
        text=True,
        check=True,
        timeout=30,
    )
    assert finished.stdout.split() == ["awk", "htop", "zlib-dev"]


def test_what_dpkg_installs_is_recorded_and_what_it_upgrades_is_not(tmp_path):
    """The lines are those of dpkg's --status-logger."""
    record = (ROLES / "packages" / "files" / "record.sh").read_text("utf-8")
    assert "," not in record  # the module apt separates dpkg's options so
    said = [
        "processing: install: libnl-3-200:amd64",
        "status: libnl-3-200:amd64: half-installed",
        "processing: upgrade: bash",
        "processing: configure: libnl-3-200:amd64",
        "processing: install: htop",
    ]
    list_ = tmp_path / "packages"
    list_.write_text("sudo\n")
    subprocess.run(
        ["sh", "-c", record.replace("/var/lib/orchestrate/packages", str(list_))],
        input="".join(f"{line}\n" for line in said),
        text=True,
        check=True,
        timeout=30,
    )
    assert list_.read_text().split() == ["sudo", "libnl-3-200:amd64", "htop"]


@pytest.fixture(scope="module")
def services(tmp_path_factory):
    """By owner: the unit and the sudo rule of a service, and the folder with its root, nets/."""
    folder = tmp_path_factory.mktemp("service")
    run = folder / "nets" / "current" / "run"
    run.parent.mkdir(parents=True)
    run.write_text("#!/bin/sh\n")
    run.chmod(0o755)
    said = ["service:groups=video", "service:home=/home/somebody", "service:unit="]
    owners = ("root", "daemon")
    cases = [
        {
            "host_owner": owner,
            "host_root": str(folder / "nets"),
            "service_name": "orchestrate",
            "service_look": {"stdout_lines": said},
        }
        for owner in owners
    ]
    expressions = {"unit": "service_unit", "rule": "service_rule", "root": "host_root"}
    return dict(zip(owners, evaluated(folder, "service", expressions, *cases), strict=True))


@pytest.mark.parametrize("owner", ["root", "daemon"])
def test_systemd_takes_the_unit(tmp_path, services, owner):
    analyze = needs_program("systemd-analyze", "apt-get install systemd")
    unit = tmp_path / "orchestrate.service"
    unit.write_text(services[owner]["unit"])
    finished = subprocess.run(
        [analyze, "verify", "--man=no", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    of_the_unit = [line for line in finished.stderr.splitlines() if "orchestrate.service" in line]
    assert (finished.returncode, of_the_unit) == (0, [])


def test_the_unit_leaves_gpus_and_compilers_alone(services):
    """Each of these hides device files or forbids memory that is written and then run."""
    unit = services["daemon"]["unit"]
    settings = dict(line.split("=", 1) for line in unit.splitlines() if "=" in line)
    assert not {"PrivateDevices", "DevicePolicy", "DeviceAllow", "ProtectClock"} & set(settings)
    assert "MemoryDenyWriteExecute" not in settings
    assert settings["ReadWritePaths"].split()[0] == services["daemon"]["root"]
    assert settings["User"] == "daemon"


def accepted_by_sudo(folder, rule):
    visudo = needs_program("visudo", "apt-get install sudo")
    file = folder / "rule"
    file.write_text(rule)
    file.chmod(0o440)
    finished = subprocess.run(
        [visudo, "-cf", file], capture_output=True, text=True, check=False, timeout=30
    )
    return finished.returncode == 0


def test_the_owner_may_restart_the_service_and_nothing_else(tmp_path, services):
    rule = services["daemon"]["rule"]
    assert accepted_by_sudo(tmp_path, rule)
    who, _, commands = rule.splitlines()[-1].partition(" NOPASSWD: ")
    assert who == "daemon ALL=(root)"
    assert {command.partition(" ")[2] for command in commands.split(", ")} == {
        f"{verb} {unit}"
        for verb in ("restart", "start", "stop")
        for unit in ("orchestrate", "orchestrate.service")
    }


def test_root_needs_no_rule_for_the_service(services):
    assert services["root"]["rule"] == ""


def test_deploys_get_a_rule_only_where_they_become_somebody(tmp_path):
    rules = {
        ("pi", "nets", "false"): "",  # as -e gives it
        ("pi", "nets", True): "pi ALL=(nets) NOPASSWD: /bin/sh, /usr/bin/sh",
        ("pi", "nets", False): "",
        ("pi", "pi", True): "",
        ("root", "nets", True): "",
    }
    names = ("host_login", "host_owner", "host_become")
    cases = [dict(zip(names, case, strict=True)) for case in rules]
    found = [each["rule"] for each in evaluated(tmp_path, "base", {"rule": "base_rule"}, *cases)]
    assert found == list(rules.values())
    assert all(accepted_by_sudo(tmp_path, f"{rule}\n") for rule in found if rule)


def test_a_clock_is_wrong_only_by_more_than_the_asking_took(tmp_path):
    """A case is when the host was asked, what it answered, and by how much it is off."""
    cases = {
        (-300, 0): 0,  # the answer was five minutes on its way
        (-300, -300): 0,  # or waited here
        (-3, 3600): 3600,
        (-3, -3603): -3600,
    }
    at = "{{{{ now().timestamp() | int + {} }}}}"
    looks = [
        {"stdout_lines": [f"base:asked={at.format(asked)}", f"base:clock={at.format(clock)}"]}
        for asked, clock in cases
    ]
    variables = [{"base_look": look} for look in looks]
    found = evaluated(tmp_path, "base", {"off": "base_clock_off"}, *variables)
    for each, off in zip(found, cases.values(), strict=True):
        assert abs(int(each["off"]) - off) <= 2
