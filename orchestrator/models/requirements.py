"""What an engine built for one machine may insist on."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Mapping

REQUIREMENTS = (
    "hardware_class",
    "arch",
    "compute_capability",
    "tensorrt",
    "tensorrt_rtx",
    "driver",
    "katago",
)
# Of these a TensorRT engine has at least one: the rest of them fit many machines that it does not.
BUILT_FOR = ("hardware_class", "compute_capability", "tensorrt", "tensorrt_rtx")
_VERSIONS = ("tensorrt", "tensorrt_rtx", "driver")


def check_requires(requires: Mapping[str, str], format_name: str) -> dict[str, str]:
    """`requires`, which name facts that a host can have; raises ModelError for others.

    A TensorRT engine must have some: it works only on the GPU architecture and the TensorRT
    release that built it (NVIDIA, "Engine Compatibility" in the TensorRT documentation).
    """
    for name, value in requires.items():
        if name not in REQUIREMENTS:
            near = did_you_mean(name, REQUIREMENTS)
            known = f"Known are {', '.join(REQUIREMENTS)}."
            raise ModelError(f"an artifact cannot require {name!r}", hint=near or known)
        if not value or (name == "compute_capability" and not _is_number(value)):
            raise ModelError(
                f"an artifact cannot require {name}={value}", hint="Write a number, such as 8.7."
            )
        if name in _VERSIONS and not _is_version(value):
            raise ModelError(
                f"an artifact cannot require {name}={value}", hint="Write a version, such as 10.3."
            )
    if format_name == "tensorrt" and not set(BUILT_FOR) & set(requires):
        raise ModelError(
            "a TensorRT engine runs only on the GPU and TensorRT that built it",
            hint="Say which: --requires compute_capability=8.7 --requires tensorrt=10.3",
        )
    return dict(requires)


def _is_version(text: str) -> bool:
    return all(part.isdecimal() and part.isascii() for part in text.split("."))


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
