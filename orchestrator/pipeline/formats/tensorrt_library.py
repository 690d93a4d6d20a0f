"""TensorRT-RTX and TensorRT: two libraries with one API, and where they differ.

TensorRT-RTX builds for a compute capability by name and needs no GPU; TensorRT builds for the GPU
that it finds. Both keep the types of a strongly typed network; TensorRT before 9 has none.
"""

from __future__ import annotations

import importlib.util
import re
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cache
from importlib.metadata import distributions
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.pipeline.extras import need

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path
    from types import ModuleType

    from orchestrator.pipeline.formats.base import OnStep

    Lengths = tuple[int, ...]
    Range = tuple[Lengths, Lengths, Lengths]

TENSORRT_RTX = "tensorrt-rtx"
TENSORRT = "tensorrt"
EXTRA = "tensorrt"
# The wheels of TensorRT-RTX hold the second module; its SDK and an empty third wheel the first.
_MODULES = {TENSORRT_RTX: ("tensorrt_rtx", "tensorrt_rtx_bindings"), TENSORRT: ("tensorrt",)}
# Where in NVIDIA's sources an error arose, around what it says.
_PLACES = re.compile(r"^IBuilder::\w+: Error Code \d+: | In \w+ at /\S+\)$")
_TITLES = {TENSORRT_RTX: "TensorRT-RTX", TENSORRT: "TensorRT"}
# The driver of the CUDA Toolkit that a wheel is made with: 12.9 Update 1. "Prerequisites" in the
# TensorRT-RTX documentation, table of toolkit drivers in CUDA's release notes.
_OLDEST_DRIVERS = {"tensorrt-rtx-cu12-libs": "575.57.08"}


@dataclass(frozen=True, slots=True)
class Library:
    """One of the two, loaded."""

    flavour: str
    module: ModuleType

    @property
    def version(self) -> str:
        """As `1.7.1.116`."""
        return str(self.module.__version__)

    @property
    def title(self) -> str:
        """`TensorRT-RTX 1.7.1.116`, for messages."""
        return f"{_TITLES[self.flavour]} {self.version}"

    @property
    def builds_without_gpu(self) -> bool:
        """Whether it is told what to build for."""
        return self.flavour == TENSORRT_RTX

    @property
    def compute_capabilities(self) -> tuple[str, ...]:
        """What TensorRT-RTX builds for, as `8.6`."""
        members = self.module.ComputeCapability.__members__
        numbers = (name[2:] for name in members if name.startswith("SM"))
        return tuple(f"{number[:-1]}.{number[-1]}" for number in numbers)

    @property
    def oldest_driver(self) -> str:
        """The oldest NVIDIA driver that NVIDIA runs TensorRT-RTX with; empty when not known."""
        if self.flavour != TENSORRT_RTX:
            return ""
        names = {(d.metadata["Name"] or "").replace("_", "-").lower() for d in distributions()}
        return next((_OLDEST_DRIVERS[name] for name in _OLDEST_DRIVERS if name in names), "")


@dataclass(slots=True)
class Told:
    """What the library said of one build, and whether it should stop."""

    errors: list[str] = field(default_factory=list)
    stop: threading.Event = field(default_factory=threading.Event)
    failure: Exception | None = None


class Network:
    """An ONNX file as the library has parsed it."""

    def __init__(self, library: Library, onnx_path: Path) -> None:
        """Raises ModelError, which names the operation, for what the library does not take."""
        self._library = library
        self._onnx_path = onnx_path
        self._logger, self._told = _logger(library.flavour)
        self._told.errors.clear()
        self._builder = library.module.Builder(self._logger)
        self._network = self._builder.create_network(_creation_flags(library))
        self._parse(onnx_path)

    @property
    def precision(self) -> str:
        """The smallest of the types in it: `int8`, `fp16` or `fp32`."""
        module = self._library.module
        layers = (self._network.get_layer(i) for i in range(self._network.num_layers))
        types = {
            layer.get_output(i).dtype
            for layer in layers
            for i in range(layer.num_outputs)
            if layer.get_output(i) is not None
        }
        if module.int8 in types:
            return "int8"
        return "fp16" if module.float16 in types else "fp32"

    @property
    def inputs(self) -> dict[str, tuple[int, ...]]:
        """The shape of each input, -1 where it is free."""
        given = (self._network.get_input(i) for i in range(self._network.num_inputs))
        return {tensor.name: tuple(tensor.shape) for tensor in given}

    def build(
        self, shapes: Mapping[str, Range], compute_capability: str, progress: OnStep | None
    ) -> bytes:
        """The engine for inputs of the least, usual and largest `shapes`; raises ModelError."""
        config = self._config(shapes, compute_capability)
        told = Told(stop=threading.Event())
        monitor = _monitor(self._library.module, told, progress)
        config.progress_monitor = monitor
        self._told.errors.clear()
        # A signal's handler runs in the main thread: there it would unwind through the library.
        with ThreadPoolExecutor(max_workers=1) as worker:
            building = worker.submit(self._builder.build_serialized_network, self._network, config)
            try:
                plan = building.result()
            except BaseException:
                told.stop.set()
                raise
        if told.failure is not None:
            raise told.failure
        if plan is None:
            raise ModelError(
                f"{self._onnx_path.name}: {self._library.title} cannot build it"
                f" for compute capability {compute_capability}: {self._why()}",
                hint=_way_out(compute_capability, self._told.errors),
            )
        return bytes(plan)

    def _parse(self, onnx_path: Path) -> None:
        parser = self._library.module.OnnxParser(self._network, self._logger)
        if not parser.parse_from_file(str(onnx_path)):
            errors = [parser.get_error(i) for i in range(parser.num_errors)]
            what = "; ".join(dict.fromkeys(_refused(error) for error in errors)) or self._why()
            raise ModelError(
                f"{onnx_path.name}: {self._library.title} does not take {what}",
                hint="Write the net without it, or use another format on such hosts.",
            )
        if not self._network.num_outputs:
            raise ModelError(f"{onnx_path.name} holds no net", hint="Build the ONNX file again.")

    def _config(self, shapes: Mapping[str, Range], compute_capability: str) -> Any:
        module = self._library.module
        config = self._builder.create_builder_config()
        # TF32 keeps 10 bits of FP32's 23: an FP32 engine is to be one.
        config.clear_flag(module.BuilderFlag.TF32)
        if self._library.builds_without_gpu:
            config.num_compute_capabilities = 1
            name = f"SM{compute_capability.replace('.', '')}"
            if not config.set_compute_capability(getattr(module.ComputeCapability, name), 0):
                raise ModelError(f"{self._library.title} refuses {compute_capability}")
        if any(least != largest for least, _, largest in shapes.values()):
            profile = self._builder.create_optimization_profile()
            for name, (least, usual, largest) in shapes.items():
                profile.set_shape(name, least, usual, largest)
            config.add_optimization_profile(profile)
        return config

    def _why(self) -> str:
        said = self._told.errors[0] if self._told.errors else "it does not say why"
        return _PLACES.sub("", said)


def load(flavour: str = "") -> Library:
    """`tensorrt-rtx` or `tensorrt`, or the first of them that is installed.

    Raises ModelError where none is.
    """
    flavours = (flavour,) if flavour else (TENSORRT_RTX, TENSORRT)
    for name in flavours:
        for module in _MODULES[name]:
            if importlib.util.find_spec(module) is not None:
                return Library(name, need(module, EXTRA))
    return Library(flavours[0], need(_MODULES[flavours[0]][0], EXTRA))


def module_name() -> str:
    """The Python module of the library that `load` takes by default."""
    names = [name for modules in _MODULES.values() for name in modules]
    return next((name for name in names if importlib.util.find_spec(name) is not None), names[0])


def _creation_flags(library: Library) -> int:
    flags = library.module.NetworkDefinitionCreationFlag.__members__
    if "STRONGLY_TYPED" not in flags:
        raise ModelError(
            f"{library.title} chooses precisions by itself",
            hint="Builds need TensorRT 10 or newer, or TensorRT-RTX.",
        )
    return 1 << int(flags["STRONGLY_TYPED"])


@cache
def _logger(flavour: str) -> tuple[Any, Told]:
    """The process's one: the library keeps the first that it gets."""
    module = load(flavour).module
    told = Told()
    serious = (module.ILogger.Severity.INTERNAL_ERROR, module.ILogger.Severity.ERROR)

    class Logger(module.ILogger):  # type: ignore[name-defined]
        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, message: str) -> None:
            if severity in serious:
                told.errors.append(message)

    return Logger(), told


def _monitor(module: ModuleType, told: Told, progress: OnStep | None) -> Any:
    steps: dict[str, int] = {}

    class Monitor(module.IProgressMonitor):  # type: ignore[name-defined]
        def __init__(self) -> None:
            module.IProgressMonitor.__init__(self)

        def phase_start(self, phase: str, _parent: str | None, count: int) -> None:
            steps[phase] = count

        def step_complete(self, phase: str, step: int) -> bool:
            try:
                if progress is not None:
                    progress(phase, step + 1, steps.get(phase, 0))
            except Exception as exc:  # noqa: BLE001 - raised again when the library has let go
                told.failure = exc
                told.stop.set()
            return not told.stop.is_set()

        def phase_finish(self, phase: str) -> None:
            steps.pop(phase, None)

    return Monitor()


def _refused(error: Any) -> str:
    """`the operation Unique (block1/unique)`; TensorRT before 10 does not name it apart."""
    operator = error.node_operator() if hasattr(error, "node_operator") else ""
    if not operator:
        return f"the file: {error.desc()}"
    return f"the operation {operator} ({error.node_name()})"


def _way_out(compute_capability: str, errors: Sequence[str]) -> str:
    if any("FP32 GEMM is not supported" in error for error in errors):
        return (
            f"TensorRT-RTX multiplies no FP32 matrices on {compute_capability}: build the net in "
            "fp16, or with TensorRT on a machine that has such a GPU."
        )
    return "Use the ONNX file on such hosts."
