"""ONNX files: FP32 and FP16 as the graph is written, INT8 by what `quantize` finds."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.formats.base import Made
from orchestrator.pipeline.quantize.finetune import write_finetuned
from orchestrator.pipeline.quantize.int8 import write_int8
from orchestrator.pipeline.runners import OnnxRuntime

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pipeline.formats.base import Recipe, Work
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.runners import Runner


class OnnxFormat:
    """See Format."""

    suffix = ".onnx"
    precisions = ("fp32", "fp16", "int8")
    extra = "onnx"
    libraries = ("onnx", "onnxruntime")

    def write(self, net: Net, path: Path, recipe: Recipe, work: Work) -> Made:
        """See Format."""
        if recipe.precision != "int8":
            onnx_graph.write(net, path, recipe.shape, recipe.precision)
            return Made()
        if recipe.finetune is not None:
            return self._finetuned(net, path, recipe, work)
        found = write_int8(
            net,
            path,
            recipe.shape,
            mode=recipe.mode,
            calibration=work.calibration,
            check=work.check,
            progress=work.progress,
        )
        return Made(found.document())

    def runner(
        self, path: Path, shape: Shape, *, threads: int = 0, batch: int = 16
    ) -> Runner | None:
        """See Format."""
        return OnnxRuntime(path, shape, threads=threads, batch=batch)

    def _finetuned(self, net: Net, path: Path, recipe: Recipe, work: Work) -> Made:
        assert recipe.finetune is not None  # noqa: S101 - its caller looked
        found = write_finetuned(
            net,
            path,
            recipe.shape,
            calibration=work.calibration,
            steps=recipe.finetune.steps,
            minutes=recipe.finetune.minutes,
            activations=recipe.mode.startswith("static"),
            progress=work.progress,
        )
        return Made(found.document())


FORMAT = OnnxFormat()
