"""Hardware classes and FP16 by name, board and compute capability."""

from __future__ import annotations

import pytest

from orchestrator.fleet.facts import Board, Facts, Gpu
from orchestrator.fleet.hardware import (
    HARDWARE,
    compute_capability,
    fast_fp16,
    hardware_class,
)

# Names as nvidia-smi prints them; compute capabilities from developer.nvidia.com/cuda-gpus.
GPUS = [
    ("NVIDIA GeForce GTX 980 Ti", "gtx-9", 5.2),
    ("NVIDIA GeForce GTX 1080 Ti", "gtx-10", 6.1),
    ("GeForce GT 1030", "gtx-10", 6.1),
    ("Quadro P2000", "gtx-10", 6.1),
    ("NVIDIA TITAN Xp", "gtx-10", 6.1),
    ("Tesla P40", "p40", 6.1),
    ("Tesla P100-PCIE-16GB", "p100", 6.0),
    ("Tesla V100-SXM2-32GB", "v100", 7.0),
    ("NVIDIA TITAN V", "v100", 7.0),
    ("NVIDIA GeForce GTX 1660 SUPER", "gtx-16", 7.5),
    ("NVIDIA T400 4GB", "gtx-16", 7.5),
    ("Tesla T4", "t4", 7.5),
    ("NVIDIA GeForce RTX 2080 Ti", "rtx-20", 7.5),
    ("Quadro RTX 5000", "rtx-20", 7.5),
    ("NVIDIA TITAN RTX", "rtx-20", 7.5),
    ("NVIDIA A100-SXM4-40GB", "a100", 8.0),
    ("NVIDIA A30", "a30", 8.0),
    ("NVIDIA A10G", "a10", 8.6),
    ("NVIDIA GeForce RTX 3090", "rtx-30", 8.6),
    ("NVIDIA GeForce RTX 3060 Laptop GPU", "rtx-30", 8.6),
    ("NVIDIA RTX A6000", "rtx-a", 8.6),
    ("NVIDIA GeForce RTX 4090", "rtx-40", 8.9),
    ("NVIDIA RTX 4000 SFF Ada Generation", "rtx-ada", 8.9),
    ("NVIDIA RTX 5000 Ada Generation", "rtx-ada", 8.9),
    ("NVIDIA L4", "l4", 8.9),
    ("NVIDIA L40S", "l40", 8.9),
    ("NVIDIA H100 80GB HBM3", "h100", 9.0),
    ("NVIDIA GH200 480GB", "h100", 9.0),
    ("NVIDIA H200", "h200", 9.0),
    ("NVIDIA B200", "b200", 10.0),
    ("NVIDIA GB10", "gb10", 12.1),
    ("NVIDIA GeForce RTX 5090", "rtx-50", 12.0),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", "rtx-pro-blackwell", 12.0),
]
BOARDS = [
    ("Raspberry Pi 3 Model B Plus Rev 1.3", "rpi3"),
    ("Raspberry Pi 4 Model B Rev 1.2", "rpi4"),
    ("Raspberry Pi 400 Rev 1.0", "rpi4"),
    ("Raspberry Pi Compute Module 4 Rev 1.1", "rpi4"),
    ("Raspberry Pi 5 Model B Rev 1.0", "rpi5"),
    ("Raspberry Pi 500 Rev 1.0", "rpi5"),
    ("Raspberry Pi Compute Module 5 Rev 1.0", "rpi5"),
    ("Raspberry Pi Zero 2 W Rev 1.0", "rpi-zero2"),
    ("Raspberry Pi Zero W Rev 1.1", "rpi1"),
    ("NVIDIA Jetson Nano Developer Kit", "jetson-nano"),
    ("NVIDIA Jetson TX2 NX Developer Kit", "jetson-tx2"),
    ("Jetson-AGX", "jetson-xavier"),
    ("NVIDIA Jetson AGX Xavier Developer Kit", "jetson-xavier"),
    ("NVIDIA Jetson Xavier NX Developer Kit", "jetson-xavier-nx"),
    ("Jetson AGX Orin Developer Kit", "jetson-orin"),
    ("NVIDIA Jetson AGX Orin Developer Kit", "jetson-orin"),
    ("NVIDIA Jetson Orin NX Engineering Reference Developer Kit Super", "jetson-orin-nx"),
    ("NVIDIA Jetson Orin Nano Developer Kit", "jetson-orin-nano"),
    ("NVIDIA Jetson AGX Thor Developer Kit", "jetson-thor"),
    ("Orange Pi 5", "cpu-aarch64"),
]
MODULES = [
    ("nvidia,p3768-0000+p3767-0000", "jetson-orin-nx"),
    ("nvidia,p3768-0000+p3767-0005-super", "jetson-orin-nano"),
    ("nvidia,p2597-0000+p3310-1000", "jetson-tx2"),
    ("nvidia,p3509-0000+p3668-0001", "jetson-xavier-nx"),
    ("nvidia,tegra234", "jetson-orin"),
]


@pytest.mark.parametrize(("name", "expected", "capability"), GPUS)
def test_gpu(name, expected, capability):
    assert hardware_class(Facts(arch="x86_64", gpus=(Gpu(name),))) == expected
    assert compute_capability(name) == capability


@pytest.mark.parametrize(("model", "expected"), BOARDS)
def test_board_by_model(model, expected):
    assert hardware_class(Facts(arch="aarch64", board=Board(model=model))) == expected


@pytest.mark.parametrize(("compatible", "expected"), MODULES)
def test_module_on_a_carrier_with_its_own_name(compatible, expected):
    board = Board(model="Acme Carrier", compatible=(compatible,))
    assert hardware_class(Facts(arch="aarch64", board=board)) == expected


@pytest.mark.parametrize(
    ("facts", "expected"),
    [
        (Facts(arch="x86_64"), "cpu-x86_64"),
        (Facts(arch="armv7l"), "cpu-armv7l"),
        (Facts(), "unknown"),
        (Facts(arch="x86_64", gpus=(Gpu("NVIDIA Next", 13.0),)), "nvidia-13.0"),
        (Facts(arch="x86_64", gpus=(Gpu("NVIDIA Next"),)), "nvidia"),
    ],
)
def test_what_no_line_knows(facts, expected):
    assert hardware_class(facts) == expected


def test_a_card_in_a_raspberry_pi_counts_for_more_than_the_board():
    board = Board(model="Raspberry Pi 5 Model B Rev 1.0")
    facts = Facts(arch="aarch64", board=board, gpus=(Gpu("NVIDIA GeForce RTX 3060"),))
    assert hardware_class(facts) == "rtx-30"


def test_names_of_classes_are_unique():
    names = [row.name for row in HARDWARE]
    assert len(names) == len(set(names))


@pytest.mark.parametrize("capability", [5.3, 6.0, 6.2, 7.0, 7.2, 7.5, 8.6, 9.0, 12.1])
def test_fast_fp16(capability):
    assert fast_fp16(Facts(gpus=(Gpu("x", capability),)))


@pytest.mark.parametrize("capability", [0.0, 3.5, 5.0, 5.2, 6.1])
def test_slow_fp16(capability):
    assert not fast_fp16(Facts(gpus=(Gpu("x", capability),)))


def test_one_slow_gpu_makes_fp16_slow():
    assert not fast_fp16(Facts(gpus=(Gpu("x", 8.6), Gpu("y", 6.1))))
    assert not fast_fp16(Facts())
