"""Hardware classes: hosts that perform alike, so that baselines and built engines are shared.

To add a class, add one line to HARDWARE above the line that would win otherwise.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Board, Facts


class Hardware(NamedTuple):
    """One class: what its board or GPU is called, and the compute capability of its GPU.

    `board` is searched in the board's model and the device tree's `compatible`, `gpu` in the
    first GPU's name, both without regard to case. `soc_gpu` is the name CUDA gives the GPU of a
    board that has one built in.
    """

    name: str
    board: str = ""
    gpu: str = ""
    compute_capability: float = 0.0
    soc_gpu: str = ""


def _jetson(name: str, board: str, compute_capability: float, soc_gpu: str) -> Hardware:
    return Hardware(name, board=board, compute_capability=compute_capability, soc_gpu=soc_gpu)


def _gpu(name: str, gpu: str, compute_capability: float) -> Hardware:
    return Hardware(name, gpu=gpu, compute_capability=compute_capability)


def _board(name: str, board: str) -> Hardware:
    return Hardware(name, board=board)


# Compute capabilities: https://developer.nvidia.com/cuda-gpus (and .../cuda-legacy-gpus).
# Module numbers (p3767 ...): Jetson Linux Developer Guide, "Quick Start", table of modules.
HARDWARE = (
    _jetson("jetson-thor", r"jetson.*thor|p3834|tegra264", 11.0, "NVIDIA Thor"),
    _jetson("jetson-orin-nano", r"orin nano|p3767-000[345]", 8.7, "Orin"),
    _jetson("jetson-orin-nx", r"orin nx|p3767", 8.7, "Orin"),
    _jetson("jetson-orin", r"jetson.*orin|p3701|tegra234", 8.7, "Orin"),
    _jetson("jetson-xavier-nx", r"xavier nx|p3668", 7.2, "Xavier"),
    _jetson("jetson-xavier", r"jetson.*xavier|jetson-agx|p2888|tegra194", 7.2, "Xavier"),
    _jetson("jetson-tx2", r"jetson.*tx2|p3310|p3489|p3636|tegra186", 6.2, "NVIDIA Tegra X2"),
    _jetson("jetson-nano", r"jetson[ -]nano|p3448", 5.3, "NVIDIA Tegra X1"),
    _jetson("jetson-tx1", r"jetson.*tx1|p2180|tegra210", 5.3, "NVIDIA Tegra X1"),
    _gpu("gb10", r"\bGB10\b", 12.1),
    _gpu("b300", r"\bG?B300\b", 10.3),
    _gpu("b200", r"\bG?B200\b", 10.0),
    _gpu("h200", r"\bH200\b", 9.0),
    _gpu("h100", r"\bG?H[12]00\b|\bH800\b", 9.0),
    _gpu("l40", r"\bL40S?\b", 8.9),
    _gpu("l4", r"\bL4\b", 8.9),
    _gpu("a100", r"\bA[18]00\b", 8.0),
    _gpu("a30", r"\bA30\b", 8.0),
    _gpu("a10", r"\bA(2|10|16|40)G?\b", 8.6),
    _gpu("t4", r"\bT4G?\b", 7.5),
    _gpu("v100", r"\bV100|TITAN V\b|Quadro GV100", 7.0),
    _gpu("p100", r"\bP100\b|Quadro GP100", 6.0),
    _gpu("p40", r"\bP(4|40)\b", 6.1),
    _gpu("rtx-pro-blackwell", r"RTX PRO.*Blackwell", 12.0),
    _gpu("rtx-50", r"RTX 50[5-9]\d", 12.0),
    _gpu("rtx-ada", r"RTX \d000 .*Ada", 8.9),
    _gpu("rtx-40", r"RTX 40[5-9]\d", 8.9),
    _gpu("rtx-a", r"RTX A\d+", 8.6),
    _gpu("rtx-30", r"RTX (30[5-9]\d|2050)", 8.6),
    _gpu("rtx-20", r"RTX 20[6-8]\d|Quadro RTX|TITAN RTX", 7.5),
    _gpu("gtx-16", r"GTX 16\d\d|\bT(400|500|600|1000|1200)\b", 7.5),
    _gpu("gtx-10", r"GTX? 10\d\d|Quadro P\d+|TITAN X[Pp]|TITAN X \(Pascal\)|MX[123]50", 6.1),
    _gpu("gtx-9", r"GTX? 9\d\d|GTX TITAN X|Quadro M\d+|\bM(4|40|60)\b", 5.2),
    _board("rpi5", r"raspberry pi (5|500|compute module 5)\b|bcm2712"),
    _board("rpi4", r"raspberry pi (4|400|compute module 4S?)\b|bcm2711"),
    _board("rpi-zero2", r"raspberry pi zero 2"),
    _board("rpi3", r"raspberry pi (3|compute module 3)\b|bcm2837"),
    _board("rpi2", r"raspberry pi 2\b|bcm2836"),
    _board("rpi1", r"raspberry pi|bcm2835"),
)
_VOLTA = 7.0


def hardware_class(facts: Facts) -> str:
    """The name of the first class that fits, as `jetson-orin`, `rtx-30` or `cpu-x86_64`.

    A GPU that no line knows gives `nvidia-` and its compute capability, as `nvidia-13.0`.
    """
    board = board_text(facts.board)
    gpu = facts.gpus[0] if facts.gpus else None
    for row in HARDWARE:
        if row.board and re.search(row.board, board, re.IGNORECASE):
            return row.name
        if row.gpu and gpu and re.search(row.gpu, gpu.name, re.IGNORECASE):
            return row.name
    if gpu:
        return f"nvidia-{gpu.compute_capability}" if gpu.compute_capability else "nvidia"
    return f"cpu-{facts.arch}" if facts.arch else "unknown"


def board_text(board: Board) -> str:
    """What the table's `board` patterns are searched in."""
    return " ".join((board.model, *board.compatible))


def built_in_gpu(board: Board) -> tuple[str, float] | None:
    """Name and compute capability of the NVIDIA GPU in the board's own chip, if it has one."""
    text = board_text(board)
    for row in HARDWARE:
        if row.soc_gpu and re.search(row.board, text, re.IGNORECASE):
            return row.soc_gpu, row.compute_capability
    return None


def compute_capability(gpu_name: str) -> float:
    """The compute capability of a GPU by its name, for drivers that do not tell; 0.0 unknown."""
    for row in HARDWARE:
        if row.gpu and re.search(row.gpu, gpu_name, re.IGNORECASE):
            return row.compute_capability
        if row.soc_gpu and row.soc_gpu == gpu_name:
            return row.compute_capability
    return 0.0


def fast_fp16(facts: Facts) -> bool:
    """Whether every GPU computes in FP16 at least as fast as in FP32; False without a GPU.

    FP16 results per clock and multiprocessor, CUDA C++ Programming Guide, "Throughput of Native
    Arithmetic Instructions": none up to 5.2, 256 on 5.3, 128 on 6.0, 2 on 6.1, 256 on 6.2, and
    128 or more from 7.0 on. An unknown compute capability counts as slow.
    """
    return bool(facts.gpus) and all(_fast(gpu.compute_capability) for gpu in facts.gpus)


def _fast(capability: float) -> bool:
    return capability in {5.3, 6.0, 6.2} or capability >= _VOLTA
