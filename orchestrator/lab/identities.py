"""What the lab's hosts pretend to be: the files and programs by which hardware is recognised.

To add a machine, write an `Identity` and name it in `KINDS`. Files go below the host's sysroot,
which commands find in ORCHESTRATE_SYSROOT; programs go into a folder that is first in PATH.
Anything not named here is the real thing; so a host offers no more cores than this machine has,
since that is where its net runs.
"""

from __future__ import annotations

import os
import shlex
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class Identity:
    """One simulated machine: `files` by absolute path, `programs` by name (their sh text)."""

    name: str
    files: Mapping[str, str]
    programs: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Kind:
    """What `--hosts KIND:N` makes: hosts of these identities in turn, all in `group`."""

    group: str
    identities: tuple[Identity, ...]


@dataclass(frozen=True, slots=True)
class _Gpu:
    """An NVIDIA GPU as `nvidia-smi` reports it; memory in MiB, power in watts."""

    name: str
    compute_cap: str
    memory_mb: int
    power: int
    driver: str = "550.90.07"
    cuda: str = "12.4"


@dataclass(frozen=True, slots=True)
class _ArmCore:
    """One core's identification in /proc/cpuinfo of an arm64 kernel."""

    implementer: str
    part: str
    variant: str
    revision: int
    bogomips: str
    features: str


_A72 = _ArmCore("0x41", "0xd08", "0x0", 3, "108.00", "fp asimd evtstrm crc32 cpuid")
_A76 = _ArmCore(
    "0x41",
    "0xd0b",
    "0x4",
    1,
    "108.00",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp",
)
_A78AE = _ArmCore(
    "0x41",
    "0xd42",
    "0x0",
    1,
    "62.50",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop "
    "asimddp uscat ilrcpc flagm",
)
_CARMEL = _ArmCore(
    "0x4e",
    "0x004",
    "0x0",
    0,
    "62.50",
    "fp asimd evtstrm aes pmull sha1 sha2 crc32 atomics fphp asimdhp cpuid asimdrdm dcpop",
)

_DEBIAN_12 = """\
PRETTY_NAME="Debian GNU/Linux 12 (bookworm)"
NAME="Debian GNU/Linux"
VERSION_ID="12"
VERSION="12 (bookworm)"
VERSION_CODENAME=bookworm
ID=debian
HOME_URL="https://www.debian.org/"
SUPPORT_URL="https://www.debian.org/support"
BUG_REPORT_URL="https://bugs.debian.org/"
"""


def _ubuntu(version: str, point: str, codename: str) -> str:
    short = codename.partition(" ")[0].lower()
    return f"""\
PRETTY_NAME="Ubuntu {version}.{point} LTS"
NAME="Ubuntu"
VERSION_ID="{version}"
VERSION="{version}.{point} LTS ({codename})"
VERSION_CODENAME={short}
ID=ubuntu
ID_LIKE=debian
UBUNTU_CODENAME={short}
"""


def _meminfo(total_mb: int) -> str:
    """/proc/meminfo (proc_meminfo(5)) of a machine that has most of its RAM free."""
    total = total_mb * 1024
    return f"""\
MemTotal:       {total:8d} kB
MemFree:        {total * 7 // 10:8d} kB
MemAvailable:   {total * 8 // 10:8d} kB
Buffers:        {total // 100:8d} kB
Cached:         {total // 10:8d} kB
SwapTotal:             0 kB
SwapFree:              0 kB
"""


def _arm_cpuinfo(core: _ArmCore, cores: int, tail: str = "") -> str:
    """/proc/cpuinfo as arch/arm64/kernel/cpuinfo.c of Linux prints it."""
    return (
        "".join(
            f"processor\t: {number}\n"
            f"BogoMIPS\t: {core.bogomips}\n"
            f"Features\t: {core.features}\n"
            f"CPU implementer\t: {core.implementer}\n"
            "CPU architecture: 8\n"
            f"CPU variant\t: {core.variant}\n"
            f"CPU part\t: {core.part}\n"
            f"CPU revision\t: {core.revision}\n\n"
            for number in range(cores)
        )
        + tail
    )


def _x86_cpuinfo(model: str, mhz: float, cores: int, flags: str) -> str:
    """/proc/cpuinfo as arch/x86/kernel/cpu/proc.c of Linux prints it, its main lines."""
    return "".join(
        f"processor\t: {number}\n"
        "vendor_id\t: GenuineIntel\n"
        f"model name\t: {model}\n"
        f"cpu MHz\t\t: {mhz:.3f}\n"
        f"siblings\t: {cores}\n"
        f"core id\t\t: {number}\n"
        f"cpu cores\t: {cores}\n"
        f"flags\t\t: {flags}\n\n"
        for number in range(cores)
    )


def _uname(machine: str, kernel: str) -> str:
    """`uname` that tells another machine and kernel release; what it does not know is the truth."""
    return f"""\
flags=$*
case $flags in
    -a) flags=-srvm ;;
    '' | --* | *[!-\\ srvm]*) PATH=$ORCHESTRATE_LAB_PATH exec uname "$@" ;;
esac
set --
case $flags in *s*) set -- "$@" Linux ;; esac
case $flags in *r*) set -- "$@" {kernel} ;; esac
case $flags in *v*) set -- "$@" '#1 SMP PREEMPT' ;; esac
case $flags in *m*) set -- "$@" {machine} ;; esac
echo "$@"
"""


def _usable(cores: int) -> int:
    return min(cores, os.cpu_count() or 1)


def _nproc(cores: int) -> str:
    return f"echo {_usable(cores)}\n"


def _nvidia_smi(gpu: _Gpu) -> str:
    """`nvidia-smi` with --query-gpu and csv formats as nvidia-smi(1) describes them."""
    return f"""\
query= format=
for argument; do
    case $argument in
        --query-gpu=*) query=${{argument#*=}} ;;
        --format=*) format=${{argument#*=}} ;;
    esac
done
if [ -z "$query" ]; then
    echo "| NVIDIA-SMI {gpu.driver}   Driver Version: {gpu.driver}   CUDA Version: {gpu.cuda} |"
    exit 0
fi
header= row=
for field in $(echo "$query" | tr , ' '); do
    unit=
    case $field in
        index) value=0 ;;
        count) value=1 ;;
        name) value={shlex.quote(gpu.name)} ;;
        compute_cap) value={gpu.compute_cap} ;;
        driver_version) value={gpu.driver} ;;
        memory.total) value={gpu.memory_mb} unit=MiB ;;
        memory.free) value={gpu.memory_mb - 450} unit=MiB ;;
        memory.used) value=450 unit=MiB ;;
        temperature.gpu) value=41 ;;
        utilization.gpu) value=0 unit=% ;;
        power.limit) value={gpu.power}.00 unit=W ;;
        clocks_throttle_reasons.active | clocks_event_reasons.active) value=0x0000000000000001 ;;
        clocks_throttle_reasons.*slowdown | clocks_event_reasons.*slowdown) value='Not Active' ;;
        *)
            echo "Field \\"$field\\" is not a valid field to query."
            exit 2
            ;;
    esac
    header="$header, $field${{unit:+ [$unit]}}"
    case $format in
        *nounits*) row="$row, $value" ;;
        *) row="$row, $value${{unit:+ $unit}}" ;;
    esac
done
case $format in *noheader*) ;; *) echo "${{header#, }}" ;; esac
echo "${{row#, }}"
"""


def _nvidia(gpu: _Gpu) -> Mapping[str, str]:
    release = f"Cuda compilation tools, release {gpu.cuda}, V{gpu.cuda}.131"
    return {"nvidia-smi": _nvidia_smi(gpu), "nvcc": f"echo '{release}'\n"}


_NO_NVIDIA_DRIVER = """\
echo "NVIDIA-SMI has failed because it couldn't communicate with the NVIDIA driver." \\
    "Make sure that the latest NVIDIA driver is installed and running."
echo
exit 9
"""

_NOT_FOUND = "exit 127\n"

_VCGENCMD = """\
case $1 in
    measure_temp) echo "temp=48.3'C" ;;
    get_throttled) echo throttled=0x0 ;;
    measure_clock) echo 'frequency(0)=1800404352' ;;
    *) echo 'error=1 error_msg="Command not registered"' ;;
esac
"""


def _raspberry_pi(
    model: str,
    *,
    compatible: tuple[str, ...],
    revision: str,
    core: _ArmCore,
    memory_mb: int,
    kernel: str,
) -> Identity:
    tail = f"Revision\t: {revision}\nSerial\t\t: 10000000abcdef01\nModel\t\t: {model}\n"
    return Identity(
        model,
        files={
            "/proc/device-tree/model": f"{model}\0",
            "/proc/device-tree/compatible": "".join(f"{name}\0" for name in compatible),
            "/proc/cpuinfo": _arm_cpuinfo(core, 4, tail),
            "/proc/meminfo": _meminfo(memory_mb),
            "/sys/devices/system/cpu/online": f"0-{_usable(4) - 1}\n",
            "/etc/os-release": _DEBIAN_12,
            "/sys/class/thermal/thermal_zone0/type": "cpu-thermal\n",
            "/sys/class/thermal/thermal_zone0/temp": "48312\n",
        },
        programs={
            "uname": _uname("aarch64", kernel),
            "nproc": _nproc(4),
            "vcgencmd": _VCGENCMD,
            "nvidia-smi": _NO_NVIDIA_DRIVER,
            "nvcc": _NOT_FOUND,
        },
    )


def _jetson(
    model: str,
    *,
    compatible: tuple[str, ...],
    release: str,
    cuda: tuple[str, str],
    os_release: str,
    core: _ArmCore,
    cores: int,
    memory_mb: int,
    kernel: str,
) -> Identity:
    return Identity(
        model,
        files={
            "/proc/device-tree/model": f"{model}\0",
            "/proc/device-tree/compatible": "".join(f"{name}\0" for name in compatible),
            "/proc/cpuinfo": _arm_cpuinfo(core, cores),
            "/proc/meminfo": _meminfo(memory_mb),
            "/sys/devices/system/cpu/online": f"0-{_usable(cores) - 1}\n",
            "/etc/nv_tegra_release": release,
            f"/usr/local/cuda/{cuda[0]}": cuda[1],
            "/etc/os-release": os_release,
            "/sys/class/thermal/thermal_zone0/type": "CPU-therm\n",
            "/sys/class/thermal/thermal_zone0/temp": "44500\n",
        },
        programs={
            "uname": _uname("aarch64", kernel),
            "nproc": _nproc(cores),
            "nvidia-smi": _NO_NVIDIA_DRIVER,
            "nvcc": _NOT_FOUND,
        },
    )


def _x86(
    name: str,
    *,
    cpu: str,
    mhz: float,
    cores: int,
    memory_mb: int,
    programs: Mapping[str, str],
) -> Identity:
    flags = "fpu sse sse2 ssse3 fma sse4_1 sse4_2 avx f16c avx2 bmi2"
    kernel = "5.15.0-113-generic"
    return Identity(
        name,
        files={
            "/proc/cpuinfo": _x86_cpuinfo(cpu, mhz, cores, flags),
            "/proc/meminfo": _meminfo(memory_mb),
            "/sys/devices/system/cpu/online": f"0-{_usable(cores) - 1}\n",
            "/etc/os-release": _ubuntu("22.04", "4", "Jammy Jellyfish"),
            "/sys/class/thermal/thermal_zone0/type": "x86_pkg_temp\n",
            "/sys/class/thermal/thermal_zone0/temp": "46000\n",
        },
        programs={"uname": _uname("x86_64", kernel), "nproc": _nproc(cores), **programs},
    )


RASPBERRY_PI_4 = _raspberry_pi(
    "Raspberry Pi 4 Model B Rev 1.4",
    compatible=("raspberrypi,4-model-b", "brcm,bcm2711"),
    revision="d03114",
    core=_A72,
    memory_mb=7811,
    kernel="6.6.31+rpt-rpi-v8",
)
RASPBERRY_PI_5 = _raspberry_pi(
    "Raspberry Pi 5 Model B Rev 1.0",
    compatible=("raspberrypi,5-model-b", "brcm,bcm2712"),
    revision="d04170",
    core=_A76,
    memory_mb=8063,
    kernel="6.6.31+rpt-rpi-2712",
)
JETSON_ORIN = _jetson(
    "NVIDIA Jetson AGX Orin Developer Kit",
    compatible=("nvidia,p3737-0000+p3701-0004", "nvidia,p3701-0004", "nvidia,tegra234"),
    release=(
        "# R36 (release), REVISION: 3.0, GCID: 36923193, BOARD: generic, EABI: aarch64, "
        "DATE: Fri Jul 19 23:24:25 UTC 2024\n"
    ),
    cuda=("version.json", '{"cuda": {"name": "CUDA SDK", "version": "12.2.1"}}\n'),
    os_release=_ubuntu("22.04", "4", "Jammy Jellyfish"),
    core=_A78AE,
    cores=8,
    memory_mb=30697,
    kernel="5.15.136-tegra",
)
JETSON_XAVIER = _jetson(
    "NVIDIA Jetson Xavier NX Developer Kit",
    compatible=("nvidia,p3449-0000+p3668-0000", "nvidia,tegra194"),
    release=(
        "# R32 (release), REVISION: 7.1, GCID: 29818004, BOARD: t186ref, EABI: aarch64, "
        "DATE: Sat Feb 19 17:07:00 UTC 2022\n"
    ),
    cuda=("version.txt", "CUDA Version 10.2.300\n"),
    os_release=_ubuntu("18.04", "6", "Bionic Beaver"),
    core=_CARMEL,
    cores=6,
    memory_mb=7773,
    kernel="4.9.253-tegra",
)
RTX_3080_SERVER = _x86(
    "Server with NVIDIA GeForce RTX 3080",
    cpu="Intel(R) Core(TM) i7-10700 CPU @ 2.90GHz",
    mhz=2900.0,
    cores=8,
    memory_mb=31999,
    programs=_nvidia(_Gpu("NVIDIA GeForce RTX 3080", "8.6", 10240, 320)),
)
A100_SERVER = _x86(
    "Server with NVIDIA A100",
    cpu="Intel(R) Xeon(R) Gold 6326 CPU @ 2.90GHz",
    mhz=2900.0,
    cores=16,
    memory_mb=128_700,
    programs=_nvidia(_Gpu("NVIDIA A100-SXM4-40GB", "8.0", 40960, 400)),
)
CPU_SERVER = _x86(
    "Server without a GPU",
    cpu="Intel(R) Xeon(R) CPU E5-2670 v3 @ 2.30GHz",
    mhz=2300.0,
    cores=4,
    memory_mb=15_900,
    programs={"nvidia-smi": _NO_NVIDIA_DRIVER, "nvcc": _NOT_FOUND},
)

KINDS: Mapping[str, Kind] = {
    "rpi": Kind("lab_pis", (RASPBERRY_PI_4, RASPBERRY_PI_5)),
    "jetson": Kind("lab_jetsons", (JETSON_ORIN, JETSON_XAVIER)),
    "gpu": Kind("lab_gpu_servers", (RTX_3080_SERVER, A100_SERVER)),
    "cpu": Kind("lab_cpu_servers", (CPU_SERVER,)),
}
