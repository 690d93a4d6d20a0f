"""A TensorRT engine from an ONNX file: by TensorRT-RTX without a GPU, by TensorRT on one.

The precision is that of the ONNX file: each tensor keeps the type that it has there, and FP32 is
not rounded to TF32. Two builds of one file for one GPU are not the same bytes (the library orders
its kernels anew each time), so an engine also says the sha256 of the ONNX file it was made from.
"""

from __future__ import annotations

import platform
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.files import sha256_of, write_atomically
from orchestrator.models import onnx_file
from orchestrator.pipeline.formats import nvidia_gpu
from orchestrator.pipeline.formats.base import Made
from orchestrator.pipeline.formats.tensorrt_library import (
    EXTRA,
    TENSORRT,
    Network,
    load,
    module_name,
)

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from orchestrator.pipeline.formats.base import OnStep, Recipe, Work
    from orchestrator.pipeline.formats.nvidia_gpu import NvidiaGpu
    from orchestrator.pipeline.formats.tensorrt_library import Library, Range
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.runners import Runner

BATCH_SIZES = (1, 8, 32)
# The libraries keep one log in a process.
_one_at_a_time = threading.Lock()


@dataclass(frozen=True, slots=True)
class EngineFile:
    """A built engine and what it was built for.

    `shapes` are the least, usual and largest of each input. `gpu` is the name of the GPU that
    built it, where one did. `driver` is the oldest that runs it for TensorRT-RTX, empty when not
    known, and the one that built it for TensorRT. `seconds` is what the build took.
    """

    path: Path
    flavour: str
    version: str
    arch: str
    compute_capability: str
    precision: str
    shapes: Mapping[str, Range]
    onnx_sha256: str
    seconds: float
    gpu: str = ""
    driver: str = ""

    @property
    def requires(self) -> dict[str, str]:
        """The `requires` of its entry in a manifest.

        Neither library promises that an engine runs with another release of it or on another
        compute capability (NVIDIA, "Engine Compatibility" in the documentation of both). Of a
        host's TensorRT the facts know three parts of the version.
        """
        required = {"arch": self.arch, "compute_capability": self.compute_capability}
        if self.flavour == TENSORRT:
            return required | {"tensorrt": ".".join(self.version.split(".")[:3])}
        required["tensorrt_rtx"] = self.version
        return required | ({"driver": self.driver} if self.driver else {})

    @property
    def provenance(self) -> dict[str, Any]:
        """The `provenance` of its entry: JSON values, shapes as trtexec's options have them."""
        shapes = {
            option: ",".join(
                f"{name}:{'x'.join(map(str, lengths[i]))}" for name, lengths in self.shapes.items()
            )
            for i, option in enumerate(("min", "opt", "max"))
        }
        said = {
            "library": f"{self.flavour} {self.version}",
            "onnx_sha256": self.onnx_sha256,
            "compute_capability": self.compute_capability,
            "gpu": self.gpu,
            "driver": self.driver if self.gpu else "",
            "shapes": shapes,
        }
        return {key: value for key, value in said.items() if value}


def build_engine(
    onnx_path: Path,
    out: Path,
    *,
    compute_capability: str = "",
    batch_sizes: tuple[int, int, int] = BATCH_SIZES,
    flavour: str = "",
    progress: OnStep | None = None,
) -> EngineFile:
    """The engine made of an ONNX file, at `out`.

    `compute_capability` is the GPU architecture, as `8.6`; TensorRT takes that of the GPU which is
    there. `batch_sizes` are the least, usual and largest number of rows. `flavour` is
    `tensorrt-rtx` or `tensorrt`, by default the first of them that is installed. `progress` is told
    from another thread. Raises ModelError where the library is not installed, lacks the GPU or does
    not take the net.
    """
    if not onnx_path.is_file():
        raise ModelError(f"{onnx_path} does not exist", hint="Build the ONNX file first.")
    onnx_file.check(onnx_path, onnx_path.name)
    _check_batch_sizes(batch_sizes)
    library = load(flavour)
    target = _target(library, compute_capability)
    start = time.monotonic()
    with _one_at_a_time:
        network = Network(library, onnx_path)
        shapes = _shapes(onnx_path, network.inputs, batch_sizes)
        engine = network.build(shapes, target.compute_capability, progress)
        precision = network.precision
    write_atomically(out, engine)
    return EngineFile(
        path=out,
        flavour=library.flavour,
        version=library.version,
        arch=platform.machine(),
        compute_capability=target.compute_capability,
        precision=precision,
        shapes=shapes,
        onnx_sha256=sha256_of(onnx_path),
        seconds=time.monotonic() - start,
        gpu=target.name,
        driver=target.driver or library.oldest_driver,
    )


def _target(library: Library, wanted: str) -> NvidiaGpu:
    if library.builds_without_gpu:
        known = library.compute_capabilities
        if wanted not in known:
            raise ModelError(
                f"{library.title} does not build for compute capability {wanted or '(none given)'}",
                hint=f"It builds for {', '.join(known)}.",
            )
        return nvidia_gpu.NvidiaGpu("", wanted)
    gpu = nvidia_gpu.find()
    if gpu is None:
        raise ModelError(
            f"{library.title} builds for the GPU that it runs on, and there is none here",
            hint="Build on a host with that GPU, or for an RTX GPU with TensorRT-RTX.",
        )
    if wanted and wanted != gpu.compute_capability:
        raise ModelError(
            f"{library.title} builds for the GPU that it runs on, {gpu.name} "
            f"({gpu.compute_capability}), not for compute capability {wanted}",
            hint=f"Build on a host with a GPU of compute capability {wanted}.",
        )
    return gpu


def _shapes(
    onnx_path: Path, inputs: Mapping[str, tuple[int, ...]], batch_sizes: tuple[int, int, int]
) -> dict[str, Range]:
    shapes: dict[str, Range] = {}
    for name, (batch, *rest) in inputs.items():
        if min(rest, default=1) < 0:
            raise ModelError(
                f"{onnx_path.name}: of input {name} more than the batch is free",
                hint="Build the ONNX file for one size of board.",
            )
        sizes = batch_sizes if batch < 0 else (batch,) * 3
        least, usual, largest = sizes
        shapes[name] = ((least, *rest), (usual, *rest), (largest, *rest))
    return shapes


def _check_batch_sizes(sizes: tuple[int, int, int]) -> None:
    least, usual, largest = sizes
    if not 1 <= least <= usual <= largest:
        raise ModelError(
            f"batch sizes must be 1 or more and rise, not {least}, {usual}, {largest}",
            hint="Give the least, the usual and the largest number of rows.",
        )


class TensorRTFormat:
    """Engines of KataGo nets, each for GPUs of one compute capability; see `base.Format`."""

    suffix = ".engine"
    precisions = ("fp32", "fp16")
    extra = EXTRA

    @property
    def libraries(self) -> tuple[str, ...]:
        """ONNX, which engines are made of, and the TensorRT that is here."""
        return "onnx", module_name()

    def write(self, net: Net, path: Path, recipe: Recipe, work: Work) -> Made:
        """Write the net to `path`, by way of an ONNX file that stands in for it.

        For Turing that is not the ONNX artifact's file: see `turing`.
        """
        from orchestrator.pipeline import onnx_graph  # noqa: PLC0415 - an extra
        from orchestrator.pipeline.formats import turing  # noqa: PLC0415 - an extra

        stand_in = work.folder / f"{path.stem}.onnx"
        onnx_graph.write(net, stand_in, recipe.shape, recipe.precision)
        chosen: dict[str, Any] = {}
        if recipe.compute_capability == turing.COMPUTE_CAPABILITY:
            chosen["linear_as_convolution"] = turing.without_fp32_linear(stand_in)
        engine = build_engine(
            stand_in,
            path,
            compute_capability=recipe.compute_capability,
            batch_sizes=recipe.batch_sizes,
            progress=work.progress,
        )
        return Made(chosen=engine.provenance | chosen, requires=engine.requires, stand_in=stand_in)

    def runner(
        self,
        path: Path,  # noqa: ARG002 - of the seam, as the others
        shape: Shape,  # noqa: ARG002
        *,
        threads: int = 0,  # noqa: ARG002
        batch: int = 16,  # noqa: ARG002
    ) -> Runner | None:
        """None: an engine runs on the GPU that it is for, and the ONNX file stands in for it."""
        return None


FORMAT = TensorRTFormat()
