"""Hosts and versions to plan for, and the shipped profiles."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator.fleet import hardware, probe
from orchestrator.fleet.settings import parse
from orchestrator.models.manifest import Artifact, Golden, ModelVersion

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.profile import Profile

ROOT = Path(__file__).parents[2]
TEMPLATES = frozenset(
    {"analysis.cfg.j2", "jetson.cfg.j2", "rpi.cfg.j2", "cpu.cfg.j2", "docker-compose.yml.j2"}
)

PYTHON = {
    "path": "/usr/bin/python3",
    "version": "3.11.2",
    "numpy": "1.26.4",
    "onnxruntime": "1.18.0",
    "execution_providers": ["CPUExecutionProvider"],
}
CUDA_PYTHON = PYTHON | {
    "execution_providers": ["CUDAExecutionProvider", "CPUExecutionProvider"],
}
MACHINES = {
    "pi4": {
        "arch": "aarch64",
        "system": "Linux",
        "board": {"kind": "raspberry-pi", "model": "Raspberry Pi 4 Model B Rev 1.4"},
        "cpu": {"model": "Cortex-A72", "cores": 4},
        "memory": {"total_mb": 3792, "available_mb": 3200},
        "disk": {"free_mb": 20000},
    },
    "orin": {
        "arch": "aarch64",
        "system": "Linux",
        "board": {"kind": "jetson", "model": "NVIDIA Jetson AGX Orin Developer Kit"},
        "cpu": {"model": "Cortex-A78AE", "cores": 12},
        "memory": {"total_mb": 30697, "available_mb": 28000},
        "disk": {"free_mb": 40000},
        "gpus": [{"name": "Orin", "compute_capability": 8.7}],
        "tensorrt": "8.6.2.3",
        "cuda": "12.2",
    },
    "rtx": {
        "arch": "x86_64",
        "system": "Linux",
        "cpu": {"model": "AMD EPYC 7302", "cores": 16},
        "memory": {"total_mb": 64000, "available_mb": 60000},
        "disk": {"free_mb": 500000},
        "gpus": [{"name": "NVIDIA GeForce RTX 3090", "compute_capability": 8.6}],
        "tensorrt": "10.3.0",
        "cuda": "12.6",
    },
    "gtx": {
        "arch": "x86_64",
        "system": "Linux",
        "cpu": {"model": "Intel Core i7-7700", "cores": 8},
        "memory": {"total_mb": 32000, "available_mb": 30000},
        "disk": {"free_mb": 100000},
        "gpus": [{"name": "NVIDIA GeForce GTX 1080", "compute_capability": 6.1}],
    },
    "pc": {
        "arch": "x86_64",
        "system": "Linux",
        "cpu": {"model": "Intel Xeon", "cores": 2},
        "memory": {"total_mb": 4000, "available_mb": 3000},
        "disk": {"free_mb": 8000},
    },
}


def facts(machine: str = "pc", **changes: object) -> Facts:
    """A machine's facts; a mapping in `changes` is laid over the machine's."""
    document: dict[str, object] = dict(MACHINES[machine])
    for key, value in changes.items():
        old = document.get(key)
        document[key] = old | value if isinstance(old, dict) and isinstance(value, dict) else value
    found = probe.from_dict(document)
    return probe.from_dict(
        {
            **document,
            "hardware_class": document.get("hardware_class", hardware.hardware_class(found)),
        }
    )


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def artifact(kind: str = "onnx fp32", **changes: object) -> Artifact:
    """`onnx fp16` and what differs from an artifact of 10 MB."""
    artifact_format, precision = kind.split()
    suffix = {"katago": "bin.gz", "tensorrt": "engine"}.get(artifact_format, artifact_format)
    values: dict[str, object] = {
        "filename": f"net-{precision}.{suffix}",
        "sha256": digest(kind),
        "size": 10_000_000,
    }
    return Artifact(artifact_format, precision, **(values | changes))  # type: ignore[arg-type]


def version(*artifacts: Artifact, yanked: str | None = None) -> ModelVersion:
    return ModelVersion("kata", "v1", artifacts or (artifact(),), yanked)


GOLDEN = Golden("answers.npz", digest("golden"), 4096)


@cache
def profiles() -> tuple[Profile, ...]:
    """The profiles of the repository's own orchestrate.yml."""
    text = (ROOT / "orchestrate.yml").read_text(encoding="utf-8")
    return parse(text, templates=TEMPLATES).profiles


def profile(name: str) -> Profile:
    return next(p for p in profiles() if p.name == name)
