"""Whether a host is the machine that an artifact was built for."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.models.requirements import BUILT_FOR

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from orchestrator.fleet.facts import Facts
    from orchestrator.models.manifest import Artifact


def unmet(artifact: Artifact, facts: Facts) -> str:
    """The first of the artifact's `requires` that the host does not meet; empty when it is fit.

    A TensorRT engine works only on the GPU architecture and the TensorRT release that built it,
    and so does a TensorRT-RTX engine that was built for one compute capability (NVIDIA, "Engine
    Compatibility" in the documentation of both), so one that does not say which those were fits
    nowhere. The two cannot read each other's engines.
    """
    if artifact.format == "tensorrt" and not set(BUILT_FOR) & set(artifact.requires):
        return "does not say which GPU and TensorRT it was built for"
    for name, wanted in artifact.requires.items():
        check = _CHECKS.get(name)
        if check is None:
            return f"requires {name}: {wanted}, which no fact tells"
        reason = check(str(wanted), facts)
        if reason:
            return reason
    return ""


def _hardware_class(wanted: str, facts: Facts) -> str:
    has = facts.hardware_class
    return "" if has == wanted else f"built for {wanted}, this is {has or 'unknown'}"


def _arch(wanted: str, facts: Facts) -> str:
    has = facts.arch
    return "" if has == wanted else f"built for {wanted}, the host is {has or 'unknown'}"


def _compute_capability(wanted: str, facts: Facts) -> str:
    if any(f"{gpu.compute_capability:g}" == wanted.removesuffix(".0") for gpu in facts.gpus):
        return ""
    has = ", ".join(f"{g.name} ({g.compute_capability})" for g in facts.gpus)
    return f"built for GPUs of compute capability {wanted}, the host has {has or 'no GPU'}"


def _tensorrt(wanted: str, facts: Facts) -> str:
    return _built_with("TensorRT", wanted, facts.tensorrt)


def _tensorrt_rtx(wanted: str, facts: Facts) -> str:
    return _built_with("TensorRT-RTX", wanted, facts.tensorrt_rtx)


def _engine_compares(_wanted: str, _facts: Facts) -> str:
    return ""


def _built_with(library: str, wanted: str, has: str) -> str:
    if _same_release(has, wanted):
        return ""
    return f"built with {library} {wanted}, the host has {has or 'none'}"


def _driver(wanted: str, facts: Facts) -> str:
    """`wanted` is the oldest NVIDIA driver that runs the engine."""
    has = {gpu.driver for gpu in facts.gpus if gpu.driver}
    if any(_numbers(driver) >= _numbers(wanted) for driver in has):
        return ""
    return f"needs the NVIDIA driver {wanted}, the host has {', '.join(sorted(has)) or 'none'}"


def _numbers(version: str) -> tuple[int, ...]:
    """(575, 57, 8) for `575.57.08`."""
    return tuple(int(part) for part in re.findall(r"\d+", version))


def _same_release(has: str, wanted: str) -> bool:
    """Whether `has` is `wanted`, or a build of it: 8.6.2.3 is an 8.6.2."""
    parts = wanted.split(".")
    return has.split(".")[: len(parts)] == parts


_CHECKS: Mapping[str, Callable[[str, Facts], str]] = {
    "hardware_class": _hardware_class,
    "arch": _arch,
    "compute_capability": _compute_capability,
    "tensorrt": _tensorrt,
    "tensorrt_rtx": _tensorrt_rtx,
    "driver": _driver,
    "katago": _engine_compares,
}
