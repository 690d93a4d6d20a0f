"""Runtimes and engines from the probe's output."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from orchestrator.fleet.facts import Katago, Python
from orchestrator.fleet.probe_machine import find

if TYPE_CHECKING:
    from orchestrator.fleet.probe_output import ProbeOutput

# libonnxruntime_providers_NAME.so in the order in which ONNX Runtime prefers them:
# onnxruntime/core/providers/get_execution_providers.cc. The CPU's is built in.
_PROVIDERS = {
    "nv_tensorrt_rtx": "NvTensorRTRTXExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "dnnl": "DnnlExecutionProvider",
    "vitisai": "VitisAIExecutionProvider",
    "qnn": "QNNExecutionProvider",
    "cann": "CANNExecutionProvider",
}
_CPU_PROVIDER = "CPUExecutionProvider"
_NOT_THE_RUNTIME = re.compile(r"onnxruntime-(extensions|genai|tools|customops)")
# What holds the library: the older whole package, or the libraries' own for CUDA 12 or 13.
_TENSORRT_RTX = re.compile(r"tensorrt-rtx(-cu\d+)?(-libs)?")
_PROGRAMS = {
    "nvidia_smi": "nvidia-smi",
    "dpkg": "dpkg-query",
    "python_report": "python3",
    "katago": "katago version",
    "trtexec": "trtexec",
    "docker": "docker",
    "nvcc": "nvcc",
    "vcgencmd": "vcgencmd",
}
_TIMED_OUT = ("124", "137", "143")  # from timeout(1), and from the signals that it sends


def cuda(output: ProbeOutput) -> str:
    """The toolkit's version, from its own file or nvcc."""
    json = output.file("/usr/local/cuda/version.json")
    return (
        find(r'"cuda"\s*:\s*\{[^}]*"version"\s*:\s*"([\d.]+)"', json)
        or find(r"CUDA Version ([\d.]+)", output.file("/usr/local/cuda/version.txt"))
        or find(r"release [\d.]+, V([\d.]+)", "\n".join(output.lines("nvcc")))
    )


def tensorrt(output: ProbeOutput) -> str:
    """Major.minor.patch, from the package database or trtexec's banner."""
    packages = "\n".join(output.lines("dpkg"))
    version = find(r"installed libnvinfer\d+ (\d+\.\d+\.\d+)", packages) or find(
        r"installed tensorrt (\d+\.\d+\.\d+)", packages
    )
    return version or _banner("\n".join(output.lines("trtexec")))


def tensorrt_rtx(output: ProbeOutput) -> str:
    """Major.minor.patch.build of the library that the verifying Python has."""
    versions = _packages(output)
    return next((versions[name] for name in versions if _TENSORRT_RTX.fullmatch(name)), "")


def docker(output: ProbeOutput) -> str:
    """The client's version."""
    return find(r"version v?(\d[\w.+~-]*)", output.first("docker"))


def python(output: ProbeOutput) -> Python:
    """The verifying Python, its numpy and ONNX Runtime, and the providers that came with it."""
    versions = _packages(output)
    runtimes = [
        name
        for name in sorted(versions, reverse=True)
        if name.startswith("onnxruntime") and not _NOT_THE_RUNTIME.match(name)
    ]
    libraries = {
        find(r"libonnxruntime_providers_(\w+)\.so$", library)
        for library in output.lines("provider")
    }
    providers = tuple(name for library, name in _PROVIDERS.items() if library in libraries)
    return Python(
        path=output.first("python"),
        version=output.first("python_version"),
        numpy=versions.get("numpy", ""),
        onnxruntime=versions[runtimes[0]] if runtimes else "",
        execution_providers=(*providers, _CPU_PROVIDER) if runtimes else (),
    )


def units(output: ProbeOutput) -> tuple[str, ...]:
    """The services in /etc/systemd/system, by name."""
    return tuple(sorted(set(output.lines("unit"))))


def _packages(output: ProbeOutput) -> dict[str, str]:
    """Versions by name, of several the one that Python finds first."""
    versions: dict[str, str] = {}
    for package in output.lines("package"):
        parts = re.fullmatch(r"(.+?)-(\d[^-]*)(?:-py[\d.]+)?\.(?:dist|egg)-info", package)
        if parts:
            versions.setdefault(parts[1].replace("_", "-").lower(), parts[2])
    return versions


def katago(output: ProbeOutput) -> Katago:
    """From `katago version`: `KataGo v1.18.1` and `Using OpenCL backend`."""
    said = "\n".join(output.lines("katago"))
    return Katago(
        path=output.first("katago_path"),
        version=find(r"KataGo v(\S+)", said),
        backend=find(r"Using (\w+).* backend", said).lower(),
    )


def warnings(output: ProbeOutput) -> tuple[str, ...]:
    """What hung, and what failed where that would hide a GPU or an engine."""
    statuses = dict(line.rpartition(" ")[::2] for line in output.lines("status"))
    found = [
        f"{program} did not answer in time"
        for key, program in _PROGRAMS.items()
        if statuses.get(key) in _TIMED_OUT
    ]
    for key, worked in (("katago", "KataGo v"), ("nvidia_smi", "name,")):
        status = statuses.get(key, "0")
        said = output.lines(key)
        if status in {"0", *_TIMED_OUT} or any(line.startswith(worked) for line in said):
            continue
        reason = said[0] if said else f"exit status {status}"
        found.append(f"{_PROGRAMS[key]} failed: {reason}")
    return tuple(found)


def _banner(text: str) -> str:
    """Of `[TensorRT v8601]` 8.6.1, of `[TensorRT v101303]` 10.13.3.

    NvInferVersion.h: major * 1000 + minor * 100 + patch, from 10 on major * 10000.
    """
    digits = find(r"\[TensorRT v(\d[\d.]{2,10})\]", text)
    if "." in digits:
        return ".".join(digits.split(".")[:3])
    if not digits:
        return ""
    major_unit = 1000 if len(digits) == len("8601") else 10_000
    major, rest = divmod(int(digits), major_unit)
    return f"{major}.{rest // 100}.{rest % 100}"
