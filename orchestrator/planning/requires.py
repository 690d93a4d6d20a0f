"""Whether a host is the machine that an artifact was built for."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.models.manifest import Artifact


def unmet(artifact: Artifact, facts: Facts) -> str:
    """The first of the artifact's `requires` that the host does not meet; empty when it is fit.

    A TensorRT engine works only on the GPU architecture and the TensorRT release that built it
    (NVIDIA, "Engine Compatibility" in the TensorRT documentation), so one that does not say
    which those were fits nowhere.
    """
    if artifact.format == "tensorrt" and not artifact.requires:
        return "does not say which GPU and TensorRT it was built for"
    for name, wanted in artifact.requires.items():
        reason = _check(name, wanted, facts)
        if reason:
            return reason
    return ""


def _check(name: str, wanted: Any, facts: Facts) -> str:
    match name:
        case "hardware_class":
            has = facts.hardware_class
            return "" if has == wanted else f"built for {wanted}, this is {has or 'unknown'}"
        case "compute_capability":
            return _compute_capability(str(wanted), facts)
        case "tensorrt":
            has = facts.tensorrt
            if _same_release(has, str(wanted)):
                return ""
            return f"built with TensorRT {wanted}, the host has {has or 'none'}"
        case "katago":
            return ""  # the engine compares versions
        case _:
            return f"requires {name}: {wanted}, which no fact tells"


def _compute_capability(wanted: str, facts: Facts) -> str:
    if any(f"{gpu.compute_capability:g}" == wanted.removesuffix(".0") for gpu in facts.gpus):
        return ""
    has = ", ".join(f"{g.name} ({g.compute_capability})" for g in facts.gpus)
    return f"built for GPUs of compute capability {wanted}, the host has {has or 'no GPU'}"


def _same_release(has: str, wanted: str) -> bool:
    """Whether `has` is `wanted`, or a build of it: 8.6.2.3 is an 8.6.2."""
    parts = wanted.split(".")
    return has.split(".")[: len(parts)] == parts
