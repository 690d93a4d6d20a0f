"""What the roles of boards decide and advise, on simulated hardware of published samples.

They run for real, by Ansible on this machine, in a check: what is seen comes from a sample's files
and programs, what would be changed is predicted. In place of ssh is a script that runs the command
here, with nothing but the board's programs on its PATH.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import yaml

from orchestrator.provision import ansible
from orchestrator.provision.ansible import Playbook
from tests.needs import needs_program

ROOT = Path(__file__).parents[2]
ROLES = ROOT / "playbooks" / "roles"
SAMPLES = ROOT / "tests" / "fleet" / "samples"
SHELLS = {"dash": ("dash",), "busybox": ("busybox", "sh"), "bash": ("bash", "--posix")}
TOOLS = ("cat", "chmod", "grep", "id", "mkdir", "readlink", "rm", "sha256sum", "sleep", "timeout")
TOOLS += ("sh", "tr", "uname")

CPUFREQ = "sys/devices/system/cpu/cpu{}/cpufreq/{}"
GOVERNORS = {CPUFREQ.format(cpu, "scaling_governor"): "ondemand\n" for cpu in range(4)} | {
    CPUFREQ.format(0, "scaling_available_governors"): "ondemand powersave performance schedutil\n"
}
FIRMWARE = "sys/devices/platform/soc/soc:firmware/get_throttled"
CARD = {
    "sys/bus/pci/devices/0000:65:00.0/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:65:00.0/class": "0x030000\n",
    "sys/bus/pci/devices/0000:65:00.0/device": "0x2204\n",
    # Its loudspeaker is no card.
    "sys/bus/pci/devices/0000:65:00.1/vendor": "0x10de\n",
    "sys/bus/pci/devices/0000:65:00.1/class": "0x040300\n",
    "sys/bus/pci/devices/0000:65:00.1/device": "0x1aef\n",
}
DRIVER = (
    "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  {}  Release Build  (dvs-builder)\n"
    "GCC version:  gcc version 12.2.0 (Debian 12.2.0-14)\n"
)
pytestmark = pytest.mark.xdist_group("board roles")  # all see what one run of Ansible told

ZRAM = "Filename\tType\tSize\tUsed\tPriority\n/dev/zram0 partition\t942000\t0\t100\n"
DISK = "Filename\tType\tSize\tUsed\tPriority\n/swapfile file\t4194300\t0\t-2\n"
NVPMODEL_CONF = """\
< PARAM TYPE=FILE NAME=CPU_ONLINE >
CORE_0 /sys/devices/system/cpu/cpu0/online
< POWER_MODEL ID=0 NAME=15W >
CPU_ONLINE CORE_0 1
< POWER_MODEL ID=1 NAME=25W >
< POWER_MODEL ID=2 NAME=MAXN_SUPER >
< PM_CONFIG DEFAULT=1 >
"""
# As nvpmodel of an Orin answers where a mode needs a restart; what it is answered is written down.
NVPMODEL = """\
#!/bin/sh
case $1 in
  -q) printf 'NV Fan Mode:quiet\\nNV Power Mode: 25W\\n1\\n' ;;
  -m)
    echo "NVPM WARN: Reboot required for changing to this power mode: $2"
    echo 'NVPM WARN: DO YOU WANT TO REBOOT NOW? enter YES/yes to confirm:'
    read -r answer
    echo "$2 $answer" >>"${0%/*}/answers"
    echo 'NVPM ERROR: optMask is 1, no request for power mode'
    exit 255
    ;;
esac
"""
NO_PACKAGES = {"dpkg-query": "#!/bin/sh\nexit 1\n"}
SSH = """\
#!/bin/sh
for command; do :; done
PATH=%s exec /bin/sh -c "$command"
"""
TRTEXEC = {"usr/src/tensorrt/bin/trtexec": "#!/bin/sh\n"}


@dataclass(frozen=True)
class Case:
    """A board, what is set for it, and what must come of it: a part of each advice and change.

    A program without text is one that the board does not have.
    """

    sample: str
    files: dict[str, str] = field(default_factory=dict)
    programs: dict[str, str] = field(default_factory=dict)
    variables: dict[str, object] = field(default_factory=dict)
    advice: tuple[str, ...] = ()
    changes: tuple[str, ...] = ()
    failure: str = ""

    @property
    def role(self):
        kind = self.sample.partition("-")[0]
        return {"raspberry": "raspberry_pi", "jetson": "jetson"}.get(kind, "gpu_server")


UNIT = "Set the CPU governor after each start too"
NO_GOVERNOR = "no writable scaling_governor"
WEAK = "Under-voltage now, which slows the board down"
LITTLE_MEMORY = "compressed swap in memory is recommended"
NO_TOOLKIT = {"gpu_server_toolkit": False, "gpu_server_docker": False}

CASES = {
    "pi-4": Case(
        "raspberry-pi-4",
        GOVERNORS,
        advice=(WEAK, LITTLE_MEMORY),
        changes=("from ondemand to performance", UNIT),
    ),
    "pi-4-set-already": Case(
        "raspberry-pi-4",
        GOVERNORS | {name: "schedutil\n" for name in GOVERNORS if name.endswith("governor")},
        variables={"raspberry_pi_governor": "schedutil"},
        advice=(WEAK, LITTLE_MEMORY),
        changes=(UNIT,),
    ),
    "pi-4-left-alone": Case(
        "raspberry-pi-4",
        GOVERNORS | {"proc/swaps": ZRAM},
        variables={"raspberry_pi_governor": ""},
        advice=(WEAK,),
    ),
    "pi-4-without-the-governor": Case(
        "raspberry-pi-4",
        GOVERNORS | {"proc/swaps": ZRAM},
        variables={"raspberry_pi_governor": "conservative"},
        advice=("does not offer conservative, only ondemand powersave performance schedutil", WEAK),
    ),
    "pi-5-warm": Case(
        "raspberry-pi-5",
        {FIRMWARE: "60006\n"},
        advice=(NO_GOVERNOR, "51 °C now, and slowed down by heat now"),
    ),
    "pi-3-32-bit": Case(
        "raspberry-pi-3-32-bit",
        GOVERNORS,
        variables={"host_arch": "armv7l"},
        advice=(
            "runs 32-bit programs (armhf) on a 64-bit kernel",
            "Too warm: 82 °C now. ",
            "neither the kernel nor vcgencmd tells",
            LITTLE_MEMORY,
        ),
        changes=("from ondemand to performance", UNIT),
    ),
    "orin-ready": Case("jetson-orin-nano", TRTEXEC, changes=("Put trtexec on the PATH",)),
    "orin-no-trtexec": Case(
        "jetson-orin-nano",
        advice=("trtexec is missing (JetPack 6.2.1+b38): engines",),
    ),
    "orin-bare": Case(
        "jetson-orin-nano",
        programs=NO_PACKAGES,
        advice=(
            "sudo apt update && sudo apt install nvidia-jetpack, or set jetson_tensorrt: true",
        ),
    ),
    "orin-to-have-tensorrt": Case(
        "jetson-orin-nano",
        programs=NO_PACKAGES,
        variables={"jetson_tensorrt": True},
        changes=("would be installed: nvidia-jetpack", "Put trtexec on the PATH"),
    ),
    "orin-other-mode": Case(
        "jetson-orin-nano",
        {"etc/nvpmodel.conf": NVPMODEL_CONF},
        {"nvpmodel": NVPMODEL},
        {"jetson_power_mode": "maxn_super"},
        advice=("trtexec is missing",),
        changes=("from 25W to maxn_super (number 2)",),
    ),
    "orin-same-mode": Case(
        "jetson-orin-nano",
        {"etc/nvpmodel.conf": NVPMODEL_CONF},
        {"nvpmodel": NVPMODEL},
        {"jetson_power_mode": 1},
        advice=("trtexec is missing",),
    ),
    "orin-unknown-mode": Case(
        "jetson-orin-nano",
        {"etc/nvpmodel.conf": NVPMODEL_CONF},
        {"nvpmodel": NVPMODEL},
        {"jetson_power_mode": "30W"},
        failure="30W is none of the modes in /etc/nvpmodel.conf: 0 is 15W, 1 is 25W, 2 is MAXN",
    ),
    "nano": Case(
        "jetson-nano",
        {"proc/swaps": ZRAM},
        advice=("3964 MiB of memory that CPU and GPU share, and no swap on a drive",),
        changes=("Put trtexec on the PATH",),
    ),
    "server-without-driver": Case(
        "rtx-server",
        CARD | {"sys/module/nouveau/refcnt": "1\n"},
        variables={"gpu_server_docker": False},
        advice=(
            "10de:2204 at 0000:65:00.0; nouveau, which cannot compute, has it now. Drivers are",
        ),
    ),
    "debian-without-driver": Case(
        "rtx-server",
        CARD,
        variables={"host_distribution": "debian", "host_version": "12", **NO_TOOLKIT},
        advice=(
            "apt install linux-headers-amd64 nvidia-driver nvidia-smi libcuda1 (with non-free",
        ),
    ),
    "server-with-an-old-driver": Case(
        "rtx-server",
        CARD | {"proc/driver/nvidia/version": DRIVER.format("390.157")},
        variables={"gpu_server_docker": False},
        advice=("driver 390.157 is older than 418.81.07",),
    ),
    "server-without-a-card": Case(
        "rtx-server", variables=NO_TOOLKIT, advice=("No NVIDIA card is on the PCI bus",)
    ),
    "server-without-nvidia-smi": Case(
        "x86-container",
        CARD | {"proc/driver/nvidia/version": DRIVER.format("535.183.01")},
        {"nvidia-smi": ""},
        NO_TOOLKIT,
        advice=("535.183.01 runs, but there is no nvidia-smi",),
    ),
    "server": Case(
        "rtx-server",
        CARD | {"proc/driver/nvidia/version": DRIVER.format("580.126.09")},
        {"dockerd": "#!/bin/sh\n"},
        changes=(
            "Write NVIDIA's repository",
            "would be installed: nvidia-container-toolkit",
            "Docker would learn of the runtime nvidia",
        ),
    ),
}


class Boards:
    """Simulated boards on this machine: their files, their programs, and Ansible on them."""

    def __init__(self, folder):
        self.folder = folder
        self.tools = folder / "tools"
        self.tools.mkdir()
        for name in TOOLS:
            program = needs_program(name, "apt-get install coreutils")
            (self.tools / name).symlink_to(program)
        (folder / "roles").symlink_to(ROLES)

    def make(self, name, case):
        """The variables of a host like `case`."""
        board = self.folder / name
        shutil.copytree(SAMPLES / case.sample / "sysroot", board / "sysroot")
        shutil.copytree(SAMPLES / case.sample / "bin", board / "bin")
        for path, text in case.files.items():
            write(board / "sysroot" / path, text, mode=0o755 if "/bin/" in path else 0o644)
        for program, text in case.programs.items():
            if text:
                write(board / "bin" / program, text, mode=0o755)
            else:
                (board / "bin" / program).unlink()
        write(board / "ssh", SSH % f"{board}/bin:{self.tools}", mode=0o755)
        return {
            "ansible_host": name,
            "ansible_ssh_executable": str(board / "ssh"),
            "ansible_python_interpreter": sys.executable,
            "role_here": case.role,
            "host_sysroot": str(board / "sysroot"),
            "host_model": "board",
            "host_arch": "x86_64" if case.role == "gpu_server" else "aarch64",
            "host_distribution": "ubuntu",
            "host_version": "24.04",
            "host_login": "nobody",
            "host_systemd": False,
            "jetson_trtexec": str(board / "sysroot/usr/src/tensorrt/bin/trtexec"),
            **case.variables,
        }

    def run(self, cases, *, check):
        """What Ansible told of each of `cases`."""
        hosts = {name: self.make(name, case) for name, case in cases.items()}
        inventory = self.folder / "hosts.yml"
        inventory.write_text(yaml.safe_dump({"all": {"hosts": hosts}}))
        play = {
            "hosts": "all",
            "gather_facts": False,
            "strategy": "free",
            "tasks": [
                {
                    "name": "Set up the board",
                    "ansible.builtin.include_role": {"name": "{{ role_here }}"},
                }
            ],
        }
        book = self.folder / "play.yml"
        book.write_text(yaml.safe_dump([play]))
        ended = ansible.run(
            Playbook(book, inventory, tuple(hosts), check=check, forks=2),
            run="run-1",
            kept=self.folder / "kept",
            on_step=lambda step: None,
            stopped=lambda: False,
        )
        return ended.progress.hosts


def write(path, text, mode):
    path.unlink(missing_ok=True)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """What Ansible told of every case, in one check of all of them."""
    return Boards(tmp_path_factory.mktemp("boards")).run(CASES, check=True)


@pytest.mark.parametrize("name", CASES)
def test_decisions_on_a_board(name, told):
    case, found = CASES[name], told[name]
    failure = str(found.failure or "")
    changes = [change.task for change in found.changed]
    assert case.failure in failure if case.failure else not failure, failure
    assert len(found.advice) == len(case.advice), found.advice
    for part, advice in zip(case.advice, found.advice, strict=True):
        assert part in advice
    assert len(changes) == len(case.changes), changes
    for part, change in zip(case.changes, changes, strict=True):
        assert part in change


def test_advice_is_a_sentence_without_loose_ends(told):
    everything = [advice for found in told.values() for advice in found.advice]
    assert len(everything) > 15
    for advice in everything:
        assert advice.endswith((".", "?")), advice
        assert not any(loose in advice for loose in ("  ", " .", " ,", "..", "None", "{{")), advice


def test_no_board_is_restarted_for_its_power_mode(tmp_path):
    case = Case(
        "jetson-orin-nano",
        {"etc/nvpmodel.conf": NVPMODEL_CONF},
        {"nvpmodel": NVPMODEL},
        {"jetson_power_mode": "MAXN_SUPER"},
    )
    found = Boards(tmp_path).run({"orin": case}, check=False)["orin"]
    assert (tmp_path / "orin/bin/answers").read_text() == "2 no\n"
    assert (found.changed, found.failure) == ([], None)
    assert found.advice[0] == (
        "The power mode stays 25W: MAXN_SUPER needs a restart of the board. "
        "At a quiet time: sudo nvpmodel -m 2, and answer YES; it restarts at once."
    )


@pytest.mark.parametrize("role", ["raspberry_pi", "jetson", "gpu_server"])
def test_looks_are_the_same_in_every_shell(role, tmp_path):
    boards = Boards(tmp_path)
    script = (ROLES / role / "files" / "look.sh").read_text()
    for name, case in CASES.items():
        if case.role == role:
            boards.make(name, case)
            answers = {
                shell: look(argv, script, tmp_path / name, boards.tools)
                for shell, argv in SHELLS.items()
            }
            assert answers["dash"].count("\n") > 2
            assert answers["busybox"] == answers["bash"] == answers["dash"]


LOOK_AT = "login=nobody keyring=/none source=/none trtexec=/none"


def look(shell, script, board, tools):
    program = needs_program(shell[0], "apt-get install dash busybox bash")
    finished = subprocess.run(
        [program, *shell[1:], "-s"],
        input=f"sys={board}/sysroot {LOOK_AT}\n{script}",
        env={"PATH": f"{board}/bin:{tools}"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (finished.returncode, finished.stderr) == (0, "")
    return finished.stdout


# Bits of the firmware's word: www.raspberrypi.com/documentation/computers/os.html#get_throttled
THROTTLED = {
    "0": [],
    "1": ["low_voltage=now"],
    "50005": ["low_voltage=now", "slowed=now"],
    "50000": ["low_voltage=since the start", "slowed=since the start"],
    "60006": ["slowed=now", "heat=now"],
    "80008": ["heat=now"],
    "80000": ["heat=since the start"],
    "d0000": ["low_voltage=since the start", "slowed=since the start", "heat=since the start"],
    "e0008": ["slowed=since the start", "heat=now"],
    "busy": ["throttled=unknown"],
}


@pytest.mark.parametrize("word", THROTTLED)
def test_the_word_of_the_firmware(word, tmp_path):
    boards = Boards(tmp_path)
    boards.make("pi", Case("raspberry-pi-5", {FIRMWARE: f"{word}\n"}))
    script = (ROLES / "raspberry_pi/files/look.sh").read_text()
    seen = look(SHELLS["dash"], script, tmp_path / "pi", boards.tools).splitlines()
    keys = ("low_voltage=", "slowed=", "heat=", "throttled=")
    assert [line for line in seen if line.startswith(keys)] == THROTTLED[word]


@pytest.mark.parametrize("governor", ["performance", "schedutil"])
def test_systemd_accepts_the_governor_unit(governor, tmp_path):
    template = (ROLES / "raspberry_pi/templates/orchestrate-governor.service.j2").read_text()
    unit = tmp_path / "orchestrate-governor.service"
    unit.write_text(template.replace("{{ raspberry_pi_governor }}", governor))
    assert "{{" not in unit.read_text()
    program = needs_program("systemd-analyze", "apt-get install systemd")
    finished = subprocess.run(
        [program, "verify", unit],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"PATH": os.environ["PATH"]},
    )
    assert (finished.returncode, finished.stderr) == (0, "")
