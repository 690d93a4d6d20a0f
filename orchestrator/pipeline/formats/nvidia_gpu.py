"""The NVIDIA GPU of this machine, as its driver tells."""

from __future__ import annotations

import ctypes
from dataclasses import dataclass

_NAME_BYTES = 256
# CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR and _MINOR of cuda.h.
_MAJOR, _MINOR = 75, 76


@dataclass(frozen=True, slots=True)
class NvidiaGpu:
    """`compute_capability` as `8.6`; `driver` as `575.57.08`, empty where NVML does not tell."""

    name: str
    compute_capability: str
    driver: str = ""


def find() -> NvidiaGpu | None:
    """The first GPU that CUDA counts, which is the one that TensorRT takes; None without one."""
    try:
        cuda = ctypes.CDLL("libcuda.so.1")
    except OSError:
        return None
    device = ctypes.c_int()
    if cuda.cuInit(0) or cuda.cuDeviceGet(ctypes.byref(device), 0):
        return None
    name = ctypes.create_string_buffer(_NAME_BYTES)
    major, minor = ctypes.c_int(), ctypes.c_int()
    failed = (
        cuda.cuDeviceGetName(name, _NAME_BYTES, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(major), _MAJOR, device)
        or cuda.cuDeviceGetAttribute(ctypes.byref(minor), _MINOR, device)
    )
    if failed:
        return None
    return NvidiaGpu(name.value.decode(), f"{major.value}.{minor.value}", _driver())


def _driver() -> str:
    try:
        nvml = ctypes.CDLL("libnvidia-ml.so.1")
    except OSError:
        return ""
    version = ctypes.create_string_buffer(_NAME_BYTES)
    if nvml.nvmlInit_v2() or nvml.nvmlSystemGetDriverVersion(version, _NAME_BYTES):
        return ""
    return version.value.decode()
