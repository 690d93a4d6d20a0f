"""Weights for formats that put outputs first and have one scale for each output."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from orchestrator.pipeline.interpreters.onnx import StoredWeight

    Numbers = NDArray[Any]

_MATRIX, _CONVOLUTION = 2, 4


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
