"""The parser on noise, damage and whatever else a host may print."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from orchestrator.errors import CommandError
from orchestrator.fleet import probe
from orchestrator.fleet.facts import Board, Cpu, Facts, Gpu, Load, Memory, Python, Thermal

WHOLE = """\
@orchestrate-probe 1
==> /proc/cpuinfo <==
processor\t: 0
model name\t: Some CPU
flags\t\t: avx avx2

==> /proc/meminfo <==
MemTotal:        2048000 kB
MemAvailable:    1024000 kB

==> /sys/class/thermal/thermal_zone0/type <==
cpu

==> /sys/class/thermal/thermal_zone0/temp <==
45000

@values
sysroot=
clock=1700000000
uname=Linux 6.1 x86_64
writable=1
statfs=1024 4096 500 800
libc=glibc 2.36
nvidia_smi=name, memory.total [MiB], driver_version, temperature.gpu, compute_cap
nvidia_smi=NVIDIA L4, 23034, 550.90.07, 35, 8.9
package=onnxruntime-1.20.0.dist-info
katago=KataGo v1.16.4
katago=Using CUDA backend
@orchestrate-probe end
"""


def read(text):
    """Facts, or None for the one error that the parser may raise."""
    error = None
    try:
        return probe.parse(text)
    except CommandError as raised:
        error = raised
    assert error.message
    assert error.hint
    return None


def test_noise_around_and_windows_line_ends():
    noisy = "Welcome to pi!\nuname=Fake 1 mips\n" + WHOLE + "logout\n"
    assert probe.parse(noisy) == probe.parse(WHOLE)
    assert probe.parse(noisy.replace("\n", "\r\n")) == probe.parse(WHOLE)


@pytest.mark.parametrize(
    ("said", "free"), [("1 4096 500 800", 500), ("1 4096 0 800", 0), ("1 4096 0 0", None)]
)
def test_inodes_that_are_used_up_are_not_those_that_nobody_counts(said, free):
    facts = probe.parse(WHOLE.replace("1024 4096 500 800", said))
    assert facts.disk.free_inodes == free


@pytest.mark.parametrize("text", ["", "sh: probe: not found\n", "@orchestrate-probe 2\n"])
def test_foreign_text(text):
    with pytest.raises(CommandError, match="did not answer with the probe's output"):
        probe.parse(text)


@given(st.integers(min_value=0, max_value=len(WHOLE) - 2))
def test_cut_off_output_is_never_taken_for_facts(length):
    assert read(WHOLE[:length]) is None


@given(st.text())
def test_arbitrary_text(text):
    assert read(text) is None


@given(st.text(), st.integers(min_value=0, max_value=len(WHOLE)), st.integers(0, 40))
def test_damage_anywhere(damage, start, length):
    facts = read(WHOLE[:start] + damage + WHOLE[start + length :])
    assert facts is None or probe.from_dict(json.loads(json.dumps(probe.to_dict(facts)))) == facts


KEYS = (
    *sorted({line.partition("=")[0] for line in WHOLE.splitlines() if "=" in line}),
    *("status", "vcgencmd", "tegrastats", "dpkg", "trtexec", "provider", "df", "musl"),
    *("docker", "nvcc", "python_report", "trtexec_path", "loader", "unit"),
)
PATHS = (
    "/proc/cpuinfo",
    "/proc/loadavg",
    "/proc/meminfo",
    "/proc/self/status",
    "/proc/device-tree/model",
    "/proc/device-tree/compatible",
    "/etc/os-release",
    "/etc/nv_tegra_release",
    "/sys/fs/cgroup/cpu.max",
    "/sys/fs/cgroup/memory.max",
    "/sys/devices/system/cpu/online",
    "/sys/class/thermal/thermal_zone0/temp",
    "/sys/devices/platform/soc/soc:firmware/get_throttled",
    "/proc/driver/nvidia/gpus/0/information",
    "/usr/local/cuda/version.json",
)
odd = st.text(st.characters(exclude_characters="\n\r"), max_size=60) | st.from_regex(
    r"[0-9a-fx@.,:=\[\] -]{0,30}", fullmatch=True
)


@given(
    st.lists(st.tuples(st.sampled_from(KEYS), odd), max_size=12),
    st.lists(st.tuples(st.sampled_from(PATHS), st.lists(odd, max_size=4)), max_size=8),
)
def test_any_values_and_files(values, files):
    text = "@orchestrate-probe 1\n"
    text += "".join(f"==> {path} <==\n" + "\n".join(lines) + "\n" for path, lines in files)
    text += "@values\n" + "".join(f"{key}={value}\n" for key, value in values)
    read(text + "@orchestrate-probe end\n")


def with_value(line):
    return probe.parse(WHOLE.replace("writable=1\n", f"writable=1\n{line}\n"))


@pytest.mark.parametrize(
    ("banner", "version"),
    [
        ("[TensorRT v8001]", "8.0.1"),
        ("[TensorRT v8601]", "8.6.1"),
        ("[TensorRT v100900]", "10.9.0"),
        ("[TensorRT v101303]", "10.13.3"),
        ("[TensorRT v110300]", "11.3.0"),
        ("[TensorRT v11.1.0.106]", "11.1.0"),
        ("[TensorRT v]", ""),
    ],
)
def test_tensorrt_banner(banner, version):
    assert with_value(f"trtexec=&&&& RUNNING TensorRT.trtexec {banner} # x").tensorrt == version


@pytest.mark.parametrize(
    ("mask", "throttled", "detail"),
    [
        ("0x0", False, ""),
        (
            "0x50005",
            True,
            "under-voltage, throttled, under-voltage has occurred, throttling has occurred",
        ),
        ("0x50000", False, "under-voltage has occurred, throttling has occurred"),
        ("0x80008", True, "soft temperature limit, soft temperature limit has occurred"),
    ],
)
def test_raspberry_pi_throttling(mask, throttled, detail):
    thermal = with_value(f"vcgencmd=throttled={mask}").thermal
    assert (thermal.throttled, thermal.detail) == (throttled, detail)


@pytest.mark.parametrize(
    ("text", "average"),
    [
        ("0.44 0.17 0.49 1/124 8135", 0.44),
        ("1042.00 1000.10 998.00 1031/4000 12", 1042.0),
        ("", None),
        ("-0.1 0 0 1/1 1", None),
        ("nan nan nan", None),
    ],
)
def test_load_average(text, average):
    whole = WHOLE.replace("@values", f"==> /proc/loadavg <==\n{text}\n\n@values")
    assert probe.parse(whole).load == Load(average, cores=1)


@pytest.mark.parametrize(
    ("line", "backend"),
    [
        ("Using Eigen(CPU) backend", "eigen"),
        ("Using OpenCL backend", "opencl"),
        ("Using TensorRT backend", "tensorrt"),
        ("Using Metal backend", "metal"),
        ("Using ONNX Runtime backend", "onnx"),
    ],
)
def test_katago_backend(line, backend):
    found = probe.parse(WHOLE.replace("Using CUDA backend", line)).katago
    assert (found.version, found.backend) == ("1.16.4", backend)


def test_round_trip_through_json():
    facts = Facts(
        cpu=Cpu("x", 4, frozenset({"avx2", "fma"})),
        memory=Memory(10, 5),
        board=Board("jetson", "Orin", "36.4.3", "6.2", ("a", "b")),
        gpus=(Gpu("Orin", 8.7),),
        python=Python(execution_providers=("CPUExecutionProvider",)),
        units=("nets.service", "orchestrate.service"),
        thermal=Thermal(41.5, False),
        load=Load(0.25, 4),
        warnings=("w",),
    )
    assert probe.from_dict(json.loads(json.dumps(probe.to_dict(facts)))) == facts


def test_documents_of_other_releases_are_read():
    assert probe.from_dict({"arch": "x86_64", "later": 1, "cpu": {"cores": 2}}) == Facts(
        arch="x86_64", cpu=Cpu(cores=2)
    )
    with pytest.raises(TypeError):
        probe.from_dict({"cpu": 3})
