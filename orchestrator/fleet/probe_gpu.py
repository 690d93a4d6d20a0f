"""NVIDIA GPUs from the probe's output."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.fleet.facts import Gpu
from orchestrator.fleet.hardware import built_in_gpu, compute_capability

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.fleet.facts import Board
    from orchestrator.fleet.probe_output import ProbeOutput

# nvmlClocksThrottleReason* of nvml.h: the reasons that say "too hot" or "too little power".
_SLOWDOWNS = {
    0x08: "GPU hardware slowdown",
    0x20: "GPU thermal slowdown by the driver",
    0x40: "GPU thermal slowdown by the hardware",
    0x80: "GPU power brake",
}


@dataclass(frozen=True, slots=True)
class GpuState:
    """What nvidia-smi says of now; None where it does not say."""

    temperature_c: float | None
    slowdowns: tuple[str, ...] | None


def gpus(output: ProbeOutput, board: Board) -> tuple[Gpu, ...]:
    """From nvidia-smi; else the board's built-in GPU, else what the kernel driver lists."""
    found = tuple(_gpu(row) for row in _rows(output))
    built_in = built_in_gpu(board)
    if built_in:
        name, capability = built_in
        own = [gpu for gpu in found if re.search(rf"nvgpu|\b{re.escape(name)}$", gpu.name)]
        driver = own[0].driver if own else ""
        others = tuple(gpu for gpu in found if gpu not in own)
        return (Gpu(name, capability, 0, driver), *others)
    return found or _driver_lists(output)


def gpu_states(output: ProbeOutput) -> tuple[GpuState, ...]:
    """Temperature and slowdowns of every GPU that nvidia-smi lists."""
    return tuple(_state(row) for row in _rows(output))


def _rows(output: ProbeOutput) -> list[Mapping[str, str]]:
    """nvidia-smi's CSV by column name without unit; a query that it refuses prints no header."""
    columns: list[str] = []
    rows: list[Mapping[str, str]] = []
    for line in output.lines("nvidia_smi"):
        cells = [cell.strip() for cell in line.split(",")]
        if cells[0] == "name" and len(cells) > 1:
            columns = [cell.split(" [")[0] for cell in cells]
            rows = []
        elif columns and len(cells) == len(columns):
            rows.append(dict(zip(columns, cells, strict=True)))
    return rows


def _gpu(row: Mapping[str, str]) -> Gpu:
    name = row["name"]
    capability = row.get("compute_cap", "")
    memory = row.get("memory.total", "")
    return Gpu(
        name=name,
        compute_capability=float(capability)
        if re.fullmatch(r"\d{1,2}\.\d", capability)
        else compute_capability(name),
        memory_mb=int(memory) if re.fullmatch(r"\d{1,9}", memory) else 0,
        driver=row.get("driver_version", "").strip("[]").replace("N/A", ""),
    )


def _state(row: Mapping[str, str]) -> GpuState:
    temperature = row.get("temperature.gpu", "")
    mask = row.get("clocks_throttle_reasons.active") or row.get("clocks_event_reasons.active", "")
    return GpuState(
        float(temperature) if re.fullmatch(r"\d{1,3}", temperature) else None,
        tuple(text for bit, text in _SLOWDOWNS.items() if int(mask, 16) & bit)
        if re.fullmatch(r"0x[0-9a-fA-F]{1,16}", mask)
        else None,
    )


def _driver_lists(output: ProbeOutput) -> tuple[Gpu, ...]:
    version = re.search(
        r"Kernel Module\s+(?:for \S+\s+)?(\d[\d.]*)", output.file("/proc/driver/nvidia/version")
    )
    names = (
        re.search(r"^Model:\s*(\S.*?)\s*$", text, re.MULTILINE)
        for path, text in output.files.items()
        if path.startswith("/proc/driver/nvidia/gpus/")
    )
    return tuple(
        Gpu(name[1], compute_capability(name[1]), 0, version[1] if version else "")
        for name in names
        if name
    )
