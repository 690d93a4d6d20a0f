"""The machine itself from the probe's output: processor, memory, disk, board, temperature, load."""

from __future__ import annotations

import math
import re
import shlex
from typing import TYPE_CHECKING

from orchestrator.fleet.facts import Board, Cpu, Disk, Distribution, Libc, Load, Memory, Thermal
from orchestrator.fleet.hardware import built_in_gpu
from orchestrator.fleet.jetpack import jetpack
from orchestrator.fleet.probe_gpu import gpu_states

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.fleet.probe_output import ProbeOutput

# (CPU implementer, CPU part) of /proc/cpuinfo, as in util-linux sys-utils/lscpu-arm.c.
_ARM_CORES = {
    ("0x41", "0xb76"): "ARM1176",
    ("0x41", "0xc07"): "Cortex-A7",
    ("0x41", "0xd03"): "Cortex-A53",
    ("0x41", "0xd07"): "Cortex-A57",
    ("0x41", "0xd08"): "Cortex-A72",
    ("0x41", "0xd0b"): "Cortex-A76",
    ("0x41", "0xd0c"): "Neoverse-N1",
    ("0x41", "0xd40"): "Neoverse-V1",
    ("0x41", "0xd42"): "Cortex-A78AE",
    ("0x41", "0xd4f"): "Neoverse-V2",
    ("0x41", "0xd83"): "Neoverse-V3AE",
    ("0x4e", "0x003"): "Denver 2",
    ("0x4e", "0x004"): "Carmel",
}
_MIB = 1 << 20
# https://www.raspberrypi.com/documentation/computers/os.html#get_throttled
_PI_THROTTLED_NOW = 0b1110
_PI_CONDITIONS = {
    0: "under-voltage",
    1: "CPU frequency capped",
    2: "throttled",
    3: "soft temperature limit",
    16: "under-voltage has occurred",
    17: "CPU frequency capping has occurred",
    18: "throttling has occurred",
    19: "soft temperature limit has occurred",
}
# The power chip of Jetsons always tells 100 °C, and a sensor that is off tells -256 °C.
_NO_TEMPERATURE = re.compile(r"pmic|iwlwifi", re.IGNORECASE)
_PLAUSIBLE_C = range(-50, 131)


def integer(text: str) -> int:
    """The number that the text is; 0 when it is none."""
    return int(text) if re.fullmatch(r"[0-9]{1,18}", text.strip()) else 0


def find(pattern: str, text: str) -> str:
    """The pattern's first group where it first occurs in the text; empty when it does not."""
    match = re.search(pattern, text)
    return match[1] if match else ""


def kernel(output: ProbeOutput) -> tuple[str, str, str]:
    """System, release and machine, from the files of Linux 6.1 and later or `uname -s -r -m`."""
    system, release, machine = output.words("uname", 3)
    folder = "/proc/sys/kernel"
    return (
        output.file(f"{folder}/ostype").strip() or system,
        output.file(f"{folder}/osrelease").strip() or release,
        output.file(f"{folder}/arch").strip() or machine,
    )


def architecture(output: ProbeOutput, machine: str) -> str:
    """What programs must be built for: a 32-bit userland on a 64-bit ARM kernel is armv7l."""
    loaders = output.lines("loader")
    if machine == "aarch64" and "ld-linux-armhf.so.3" in loaders:
        return machine if "ld-linux-aarch64.so.1" in loaders else "armv7l"
    return machine


def distribution(output: ProbeOutput) -> Distribution:
    """From os-release(5)."""
    text = output.file("/etc/os-release") or output.file("/usr/lib/os-release")
    values: dict[str, str] = {}
    for line in text.splitlines():
        name, found, value = line.partition("=")
        if found:
            values[name.strip()] = _unquoted(value)
    return Distribution(
        id=values.get("ID", ""),
        version=values.get("VERSION_ID", ""),
        name=values.get("PRETTY_NAME", ""),
    )


def libc(output: ProbeOutput) -> Libc:
    """From `getconf GNU_LIBC_VERSION`, or what musl's loader says of itself."""
    glibc = find(r"^glibc ([\d.]+)", output.first("libc"))
    if glibc:
        return Libc("glibc", glibc)
    musl = output.lines("musl")
    if any(line.startswith("musl libc") for line in musl):
        return Libc("musl", find(r"Version ([\d.]+)", "\n".join(musl)))
    return Libc()


def cpu(output: ProbeOutput) -> Cpu:
    """Model and flags of the first processor, and how many a process may use."""
    text = output.file("/proc/cpuinfo")
    first = _fields(text)
    model = first.get("model name", "")
    if not model or re.match(r"ARMv\d Processor", model):
        core = (first.get("CPU implementer", ""), first.get("CPU part", ""))
        model = _ARM_CORES.get(core, "") or model or _tree(output, "model")
    flags = first.get("flags") or first.get("Features", "")
    return Cpu(model=model, cores=_cores(output, text), flags=frozenset(flags.split()))


def memory(output: ProbeOutput) -> Memory:
    """From /proc/meminfo, within the limit of the control group."""
    info = _fields(output.file("/proc/meminfo"))
    total = _kib(info, "MemTotal") // 1024
    available = _kib(info, "MemAvailable") or _kib(info, "MemFree") + _kib(info, "Cached")
    limits = (
        integer(output.file("/sys/fs/cgroup/memory.max")),
        integer(output.file("/sys/fs/cgroup/memory/memory.limit_in_bytes")),
    )
    limit = min((limit // _MIB for limit in limits if limit), default=total)
    return Memory(total_mb=min(total, limit), available_mb=min(available // 1024, limit))


def disk(output: ProbeOutput) -> Disk:
    """From `stat -f -c '%a %S %d %c'`, or `df -Pk` where stat has no -f."""
    writable = output.first("writable") == "1"
    blocks, size, inodes, of = output.words("statfs", 4)
    if blocks:
        free = integer(blocks) * integer(size) // _MIB
        counted = integer(inodes) if integer(of) else None
        return Disk(free_mb=free, writable=writable, free_inodes=counted)
    available = find(r"\s(\d+)\s+\d+%", " ".join(output.lines("df")[-1:]))
    return Disk(free_mb=integer(available) // 1024, writable=writable)


def board(output: ProbeOutput) -> Board:
    """From the device tree, else DMI; L4T from nv_tegra_release or its core package."""
    model = _tree(output, "model")
    compatible = tuple(filter(None, output.file("/proc/device-tree/compatible").split("\0")))
    compatible = tuple(name.strip() for name in compatible if name.strip())
    tree = Board(model=model, compatible=compatible)
    l4t = _l4t(output)
    if l4t or built_in_gpu(tree):
        package = find(r"installed nvidia-jetpack ([\d.]+)", "\n".join(output.lines("dpkg")))
        return Board("jetson", model, l4t, package or jetpack(l4t), compatible)
    if "raspberry pi" in model.lower() or any(c.startswith("raspberrypi,") for c in compatible):
        return Board("raspberry-pi", model, compatible=compatible)
    dmi = "/sys/devices/virtual/dmi/id"
    made = (output.file(f"{dmi}/sys_vendor").strip(), output.file(f"{dmi}/product_name").strip())
    return Board("generic", model or " ".join(filter(None, made)), compatible=compatible)


def thermal(output: ProbeOutput) -> Thermal:
    """The hottest sensor, and whether the board or a GPU says that it is throttled now."""
    sensors = [*_zones(output), *_told(output)]
    plausible = [
        celsius
        for name, celsius in sensors
        if not _NO_TEMPERATURE.search(name) and int(celsius) in _PLAUSIBLE_C
    ]
    now: list[bool] = []
    reasons: list[str] = []
    mask = _pi_throttled(output)
    if mask is not None:
        now.append(bool(mask & _PI_THROTTLED_NOW))
        reasons += [text for bit, text in _PI_CONDITIONS.items() if mask >> bit & 1]
    for state in gpu_states(output):
        if state.temperature_c is not None:
            plausible.append(state.temperature_c)
        if state.slowdowns is not None:
            now.append(bool(state.slowdowns))
            reasons += state.slowdowns
    return Thermal(
        temperature_c=max(plausible, default=None),
        throttled=any(now) if now else None,
        detail=", ".join(reasons),
    )


def load(output: ProbeOutput) -> Load:
    """From /proc/loadavg, as in proc(5)."""
    average = find(r"^(\d{1,6}\.\d{1,3}) ", output.file("/proc/loadavg").lstrip("\n"))
    cores = _online(output, output.file("/proc/cpuinfo")) or 1
    return Load(float(average) if average else None, cores)


def _fields(text: str) -> dict[str, str]:
    """`name : value` lines up to the first empty one."""
    fields: dict[str, str] = {}
    for line in text.lstrip("\n").split("\n"):
        name, found, value = line.partition(":")
        if found:
            fields.setdefault(name.strip(), value.strip())
        elif not line.strip() and fields:
            break
    return fields


def _unquoted(value: str) -> str:
    try:
        return " ".join(shlex.split(value))
    except ValueError:
        return value.strip("\"' ")


def _tree(output: ProbeOutput, name: str) -> str:
    return output.file(f"/proc/device-tree/{name}").replace("\0", " ").strip()


def _kib(info: Mapping[str, str], name: str) -> int:
    return integer(info.get(name, "").removesuffix("kB"))


def _cores(output: ProbeOutput, cpuinfo: str) -> int:
    allowed = find(r"Cpus_allowed_list:\s*([\d,-]+)", output.file("/proc/self/status"))
    cores = _count(allowed) or _online(output, cpuinfo) or 1
    return max(1, min(cores, _quota(output) or cores))


def _online(output: ProbeOutput, cpuinfo: str) -> int:
    listed = len(re.findall(r"^processor\s*:", cpuinfo, re.MULTILINE))
    return _count(output.file("/sys/devices/system/cpu/online")) or listed


def _count(ranges: str) -> int:
    """How many CPUs a kernel list such as `0-3,8` names."""
    total = 0
    for part in ranges.strip().split(","):
        bounds = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", part)
        if bounds:
            total += max(0, int(bounds[2] or bounds[1]) - int(bounds[1]) + 1)
    return total


def _quota(output: ProbeOutput) -> int:
    """Whole CPUs that the control group's bandwidth limit is worth; 0 without a limit."""
    words = output.file("/sys/fs/cgroup/cpu.max").split()
    folder = "/sys/fs/cgroup/cpu"
    quota, period = (integer(word) for word in (*words, "", "")[:2])
    quota = quota or integer(output.file(f"{folder}/cpu.cfs_quota_us"))
    period = period or integer(output.file(f"{folder}/cpu.cfs_period_us"))
    return math.ceil(quota / period) if quota and period else 0


def _l4t(output: ProbeOutput) -> str:
    release = re.search(
        r"R(\d+) \(release\), REVISION: (\d+)(?:\.(\d+))?", output.file("/etc/nv_tegra_release")
    )
    if release:
        return f"{release[1]}.{release[2]}.{release[3] or 0}"
    return find(r"installed nvidia-l4t-core (\d+\.\d+\.\d+)", "\n".join(output.lines("dpkg")))


def _zones(output: ProbeOutput) -> Iterable[tuple[str, float]]:
    for path, text in output.files.items():
        zone = re.fullmatch(r"(/sys/class/thermal/thermal_zone\d+)/temp", path)
        if zone and re.fullmatch(r"-?\d{1,9}", text.strip()):
            yield output.file(f"{zone[1]}/type").strip(), int(text) / 1000


def _told(output: ProbeOutput) -> Iterable[tuple[str, float]]:
    for line in output.lines("vcgencmd"):
        celsius = re.fullmatch(r"temp=(\d{1,3}(?:\.\d+)?)'C", line)
        if celsius:
            yield "vcgencmd", float(celsius[1])
    for name, celsius in re.findall(r"(\w+)@(-?\d{1,3}(?:\.\d+)?)C\b", output.first("tegrastats")):
        yield name, float(celsius)


def _pi_throttled(output: ProbeOutput) -> int | None:
    """`throttled=0x50005` from vcgencmd, or `50005` from the firmware's file."""
    told = [find(r"^throttled=0x([0-9a-fA-F]{1,8})$", line) for line in output.lines("vcgencmd")]
    files = [text for path, text in output.files.items() if path.endswith("/get_throttled")]
    for text in (*told, *files):
        if re.fullmatch(r"[0-9a-fA-F]{1,8}", text.strip()):
            return int(text, 16)
    return None
