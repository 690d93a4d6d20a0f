"""Small weights for formats that have one scale for each output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.pipeline import gate, onnx_graph
from orchestrator.pipeline.quantize.int8 import AUTO
from orchestrator.pipeline.quantize.layers import ends, layers
from orchestrator.pipeline.quantize.modes import MOST_ROWS, Source
from orchestrator.pipeline.quantize.search import Judge
from orchestrator.pipeline.quantize.sensitivity import few
from orchestrator.pipeline.quantize.weights import compensated, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator.pipeline.formats.base import Recipe, Work
    from orchestrator.pipeline.interpreters.onnx import StoredWeight
    from orchestrator.pipeline.katago.net import Net

    Numbers = NDArray[Any]

MODES = (AUTO, "weights-nearest", "weights")


def each_by_itself(net: Net, precision: str, optimism: float) -> dict[str, StoredWeight]:
    """The weights of a file in `precision`: in INT8 all but the stem's and the heads'."""
    if precision == "fp32":
        return {}
    kept = layers(net, optimism) if precision == "fp16" else ends(net)
    return nearest(net, kept=kept, group=None, optimism=optimism)


def rounded(
    net: Net, recipe: Recipe, work: Work
) -> tuple[dict[str, StoredWeight] | None, dict[str, Any]]:
    """The weights of an INT8 file, and what the provenance tells of them; None for others.

    Of the modes there are those with one scale an output: `weights-nearest`, `weights`, and `auto`,
    which is the first of them whose weights pass the gate in an ONNX file, or else the last. Raises
    ModelError for another.
    """
    if recipe.precision != "int8":
        return None, {}
    if recipe.mode not in MODES:
        raise ModelError(
            f"{recipe.format} has one scale for each output of a layer, and no mode {recipe.mode}",
            hint=f"Modes of {recipe.format}: {', '.join(MODES)}.",
        )
    kept, optimism = ends(net), recipe.shape.optimism
    if recipe.mode != "weights":
        stored = each_by_itself(net, "int8", optimism)
        if recipe.mode != AUTO or _pass(net, stored, recipe, work):
            return stored, {"mode": "weights-nearest", "kept": sorted(kept)}
    stored = compensated(
        net,
        few(work.calibration, MOST_ROWS),
        kept=kept,
        group=None,
        optimism=optimism,
        progress=work.progress,
    )
    return stored, {"mode": "weights", "kept": sorted(kept)}


def _pass(net: Net, stored: dict[str, StoredWeight], recipe: Recipe, work: Work) -> bool:
    """Whether the net passes the gate with these weights."""
    path = work.folder / f"{recipe.format}-trial.onnx"
    onnx_graph.write(net, path, recipe.shape, stored=stored)
    source = Source(net, recipe.shape, work.calibration, work.progress)
    return gate.judge(Judge(source, work.check).report(path)).passed
