"""Small weights for formats that put outputs first and have one scale for each output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline.quantize.layers import ends, layers
from orchestrator.pipeline.quantize.weights import compensated, nearest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator.pipeline.formats.base import Recipe, Work
    from orchestrator.pipeline.interpreters.onnx import StoredWeight
    from orchestrator.pipeline.katago.net import Net

    Numbers = NDArray[Any]

_MATRIX, _CONVOLUTION = 2, 4


def each_by_itself(net: Net, precision: str, optimism: float) -> dict[str, StoredWeight]:
    """The weights of a file in `precision`: in INT8 all but the stem's and the heads'."""
    if precision == "fp32":
        return {}
    kept = layers(net, optimism) if precision == "fp16" else ends(net)
    return nearest(net, kept=kept, group=None, optimism=optimism)


def outputs_first(name: str, stored: StoredWeight) -> tuple[Numbers, Numbers | None]:
    """Numbers [out, in] or [out, in, kY, kX] and their scale [out].

    Raises ModelError for the layer called `name` where the scale is one of groups of inputs.
    """
    numbers, scale = stored.numbers, stored.scale
    numbers = numbers.T if numbers.ndim == _MATRIX else numbers
    grouped = numbers.ndim not in {_MATRIX, _CONVOLUTION}
    if grouped or (scale is not None and scale.size != len(numbers)):
        raise ModelError(
            f"the weights of {name} have scales for groups of inputs; the format has one an output",
            hint="round them with group=None",
        )
    return numbers, None if scale is None else np.reshape(scale, -1)


def rounded(
    net: Net, recipe: Recipe, work: Work
) -> tuple[dict[str, StoredWeight] | None, dict[str, Any]]:
    """The weights of an INT8 file, and what the provenance tells of them; None for others.

    `mode` `weights` rounds by what the calibration rows need, other modes to the nearest step.
    """
    if recipe.precision != "int8":
        return None, {}
    kept, optimism = ends(net), recipe.shape.optimism
    if recipe.mode == "weights":
        weights = compensated(
            net,
            work.calibration,
            kept=kept,
            group=None,
            optimism=optimism,
            progress=work.progress,
        )
        return weights, {"mode": "weights", "kept": sorted(kept)}
    return each_by_itself(net, "int8", optimism), {"mode": "weights-nearest", "kept": sorted(kept)}
