"""The project's own probe, over SSH, sees what the lab's hosts pretend to be."""

from __future__ import annotations

import os
import shlex
import socket
import sys

import pytest

from orchestrator.fleet import probe


def facts_of(lab, host):
    call = shlex.join(
        ["probe", str(lab.layout.host(host) / "home" / "orchestrate"), sys.executable]
    )
    done = lab.run(host, "sh -s", f"{probe.script()}\n{call}\n".encode())
    assert done.returncode == 0, done.stderr
    return probe.parse(done.stdout.decode())


@pytest.mark.parametrize(
    ("host", "hardware_class", "board", "arch", "cores", "distribution"),
    [
        ("lab-rpi-1", "rpi4", "raspberry-pi", "aarch64", 4, "debian 12"),
        ("lab-rpi-2", "rpi5", "raspberry-pi", "aarch64", 4, "debian 12"),
        ("lab-jetson-1", "jetson-orin", "jetson", "aarch64", 8, "ubuntu 22.04"),
        ("lab-jetson-2", "jetson-xavier-nx", "jetson", "aarch64", 6, "ubuntu 18.04"),
        ("lab-gpu-1", "rtx-30", "generic", "x86_64", 8, "ubuntu 22.04"),
        ("lab-gpu-2", "a100", "generic", "x86_64", 16, "ubuntu 22.04"),
        ("lab-cpu-1", "cpu-x86_64", "generic", "x86_64", 4, "ubuntu 22.04"),
    ],
)
def test_each_identity_is_recognised(lab, host, hardware_class, board, arch, cores, distribution):
    facts = facts_of(lab, host)
    assert facts.hardware_class == hardware_class
    assert facts.board.kind == board
    assert facts.arch == arch
    assert facts.cpu.cores == min(cores, os.cpu_count())
    assert f"{facts.distribution.id} {facts.distribution.version}" == distribution
    assert facts.memory.total_mb > facts.memory.available_mb > 1000
    assert facts.thermal.temperature_c == pytest.approx(45, abs=5)


def test_jetsons_tell_their_jetpack(lab):
    assert facts_of(lab, "lab-jetson-1").board.jetpack.startswith("6.")
    assert facts_of(lab, "lab-jetson-2").board.jetpack.startswith("4.6")


def test_gpus_are_those_of_the_identity(lab):
    gpu = facts_of(lab, "lab-gpu-1").gpus[0]
    assert (gpu.name, gpu.compute_capability, gpu.memory_mb) == (
        "NVIDIA GeForce RTX 3080",
        8.6,
        10240,
    )
    assert facts_of(lab, "lab-gpu-1").cuda.startswith("12.4")


@pytest.mark.parametrize("host", ["lab-rpi-1", "lab-cpu-1"])
def test_the_gpu_of_this_machine_is_not_seen(lab, host):
    facts = facts_of(lab, host)
    assert not facts.gpus
    assert not facts.cuda


def test_python_and_onnxruntime_are_real(lab):
    import onnxruntime

    assert facts_of(lab, "lab-rpi-1").python.onnxruntime == onnxruntime.__version__


def test_nvidia_smi_answers_in_its_formats(lab):
    def ask(arguments):
        return lab.run("lab-gpu-1", f"nvidia-smi {arguments}").stdout.decode().splitlines()

    query = "--query-gpu=name,memory.total"
    assert ask(f"{query} --format=csv") == [
        "name, memory.total [MiB]",
        "NVIDIA GeForce RTX 3080, 10240 MiB",
    ]
    assert ask(f"{query} --format=csv,noheader,nounits") == ["NVIDIA GeForce RTX 3080, 10240"]
    assert "not a valid field" in ask("--query-gpu=nonsense --format=csv")[0]


@pytest.mark.parametrize(
    ("arguments", "answer"),
    [
        ("-m", "aarch64"),
        ("-sr", "Linux 6.6.31+rpt-rpi-v8"),
        ("-s -r -m", "Linux 6.6.31+rpt-rpi-v8 aarch64"),
        ("-a", "Linux 6.6.31+rpt-rpi-v8 #1 SMP PREEMPT aarch64"),
        ("", "Linux"),
        ("-n", socket.gethostname()),
    ],
)
def test_uname_tells_the_board(lab, arguments, answer):
    assert lab.run("lab-rpi-1", f"uname {arguments}").stdout.decode().strip() == answer
