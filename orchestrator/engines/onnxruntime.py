"""ONNX Runtime as an engine: which nets a host's Python can run, and the config it is given.

The config is made of `key = value` lines with `#` comments (see `KEYS`). It is read by the smoke
benchmark, and by the operator's own program, which finds it as `$CONFIG`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from shlex import quote
from typing import TYPE_CHECKING

from orchestrator.engines.base import ConfigProblem
from orchestrator.engines.command import operators_line
from orchestrator.fleet.hardware import fast_fp16
from orchestrator.spelling import nearest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.engines.base import Engine
    from orchestrator.fleet.facts import Facts, Python
    from orchestrator.fleet.profile import EngineSpec
    from orchestrator.models.manifest import Artifact

# ONNX Runtime 1.12 is the first with opset 17, numpy 1.17 the first for Python 3.8.
MINIMUM = {"numpy": (1, 17), "onnxruntime": (1, 12)}

# ONNX Runtime 1.29 and newer report to Microsoft from Linux unless the environment says this.
NO_TELEMETRY = "ORT_DISABLE_TELEMETRY=1"

PROVIDERS = {
    "cpu": "CPUExecutionProvider",
    "cuda": "CUDAExecutionProvider",
    "tensorrt": "TensorrtExecutionProvider",
    "rocm": "ROCMExecutionProvider",
    "migraphx": "MIGraphXExecutionProvider",
    "openvino": "OpenVINOExecutionProvider",
    "coreml": "CoreMLExecutionProvider",
}
NVIDIA = frozenset({"cuda", "tensorrt"})
# Providers that are linked into the library, so that the probe finds no file of them.
BUILT_IN = {"cpu": "", "coreml": "Darwin"}

# Arm's half-precision arithmetic as Linux names it in /proc/cpuinfo.
ARM_FP16 = frozenset({"fphp", "asimdhp"})


@dataclass(frozen=True, slots=True)
class Key:
    """One key of the config: what it may be, and whether it must be there."""

    words: tuple[str, ...] = ()
    lowest: int = 0
    highest: int = 0
    required: bool = False


KEYS = {
    "execution_provider": Key(words=tuple(PROVIDERS), required=True),
    "intra_op_threads": Key(lowest=0, highest=1024),  # 0 leaves it to ONNX Runtime
    "batch_size": Key(lowest=1, highest=4096),
    "graph_optimization": Key(words=("all", "extended", "basic", "off")),
}

# What `run` does with a net that no program was named for: load it and say what it takes and gives.
DESCRIBE = (
    "import sys, onnxruntime; "
    "net = onnxruntime.InferenceSession(sys.argv[1], providers=['CPUExecutionProvider']); "
    "[print(kind, value.name, value.shape, value.type) "
    "for kind, values in (('input', net.get_inputs()), ('output', net.get_outputs())) "
    "for value in values]"
)


class OnnxRuntimeEngine:
    """See Engine. `path` is the Python that has onnxruntime."""

    @property
    def formats(self) -> frozenset[str]:
        """See Engine."""
        return frozenset({"onnx"})

    def resolve(self, spec: EngineSpec, facts: Facts) -> EngineSpec:
        """See Engine."""
        return spec if spec.path else replace(spec, path=facts.python.path)

    def lacks(self, spec: EngineSpec, facts: Facts) -> str:
        """See Engine. Of a Python other than the probe's nothing is known: it is tried."""
        if not spec.path:
            return "there is no python3"
        return missing_module(facts.python) if spec.path == facts.python.path else ""

    def unfit(self, spec: EngineSpec, facts: Facts, artifact: Artifact) -> str:
        """See Engine. FP16 is for hosts that gain by it."""
        return self.lacks(spec, facts) or (slow_fp16(facts) if artifact.precision == "fp16" else "")

    def check_config(self, text: str, spec: EngineSpec, facts: Facts) -> list[ConfigProblem]:
        """See Engine."""
        problems = []
        seen: dict[str, int] = {}
        for number, key, value in _settings(text):
            reason = _problem(key, value)
            if not reason and key in seen:
                reason = f"is already set in line {seen[key]}"
            if not reason and key == "execution_provider":
                reason = missing_provider(value, spec, facts)
            seen.setdefault(key, number)
            if reason:
                problems.append(ConfigProblem(number, key, reason))
        absent = [name for name, key in KEYS.items() if key.required and name not in seen]
        return problems + [ConfigProblem(0, name, "is missing") for name in absent]

    def run_line(self, spec: EngineSpec, *, model: str, config: str) -> str:
        """See Engine. An ONNX net is there for a program to use: the operator's `run:` line.

        Without one the net is loaded once, and its inputs and outputs are printed.
        """
        if spec.run:
            return operators_line(spec.run, model=model, config=config)
        return f"env {NO_TELEMETRY} {quote(spec.path)} -c {quote(DESCRIBE)} {quote(model)}"


def missing_module(python: Python) -> str:
    """Which module that Python lacks, or has too old; empty when it has all."""
    for name, minimum in MINIMUM.items():
        version = str(getattr(python, name))
        wanted = ".".join(map(str, minimum))
        if not version:
            return f"{name} is not installed in {python.path}"
        if _numbers(version) < minimum:
            return f"{name} {version} in {python.path} is older than {wanted}"
    return ""


def slow_fp16(facts: Facts) -> str:
    """Why FP16 gains nothing on this host; empty when it does.

    Without FP16 arithmetic ONNX Runtime wraps every operator in casts: the answers lose
    precision and nothing gets faster.
    """
    if facts.cpu.flags >= ARM_FP16:
        return ""
    if not facts.gpus:
        return "no fast FP16: no GPU, and a CPU without FP16 arithmetic"
    if not fast_fp16(facts):
        gpu = facts.gpus[0]
        return f"no fast FP16: {gpu.name} (compute capability {gpu.compute_capability})"
    if not any(PROVIDERS[name] in facts.python.execution_providers for name in NVIDIA):
        return "no fast FP16: the onnxruntime of this host cannot use its GPU"
    return ""


def missing_provider(name: str, spec: EngineSpec, facts: Facts) -> str:
    """Why the host cannot run on the execution provider; empty when it can."""
    if name in BUILT_IN:
        system = BUILT_IN[name]
        return "" if system in {"", facts.system} else f"{name} needs {system}"
    if name in NVIDIA and not facts.gpus:
        return f"{name} needs an NVIDIA GPU, the host has none"
    known = spec.path == facts.python.path
    if known and PROVIDERS[name] not in facts.python.execution_providers:
        return f"the onnxruntime of {spec.path} has no {PROVIDERS[name]}"
    return ""


def _settings(text: str) -> Iterator[tuple[int, str, str]]:
    """Line number, key and value of each setting; a line without `=` has the value ``."""
    for number, line in enumerate(text.splitlines(), start=1):
        bare = line.partition("#")[0].strip()
        if bare:
            key, _, value = bare.partition("=")
            yield number, key.strip(), value.strip()


def _problem(name: str, value: str) -> str:
    key = KEYS.get(name)
    if key is None:
        meant = nearest(name, KEYS)
        return "is no key" + (f", did you mean '{meant}'?" if meant else f": {', '.join(KEYS)}")
    if not value:
        return "has no value"
    if key.words:
        return "" if value in key.words else f"must be one of {', '.join(key.words)}, not {value}"
    within = re.fullmatch(r"[0-9]{1,9}", value) and key.lowest <= int(value) <= key.highest
    return "" if within else f"must be {key.lowest} to {key.highest}, not {value}"


def _numbers(version: str) -> tuple[int, ...]:
    """`1.18.0rc1` as (1, 18, 0)."""
    found = re.match(r"[0-9]+(\.[0-9]+)*", version)
    return tuple(int(part) for part in found[0].split(".")) if found else ()


ENGINE: Engine = OnnxRuntimeEngine()
