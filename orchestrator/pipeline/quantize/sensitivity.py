"""Which layers of a net suffer most from 8-bit weights."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, TypeVar

import numpy as np

from orchestrator.pipeline import accuracy
from orchestrator.pipeline.gate import FP16_LIMITS
from orchestrator.pipeline.interpreters.numpy import NumpyOperations
from orchestrator.pipeline.katago.net import Conv, MatMul
from orchestrator.pipeline.katago.network import Shape, forward
from orchestrator.pipeline.positions import Positions
from orchestrator.pipeline.quantize import rounding
from orchestrator.pipeline.quantize.layers import layers, matrix
from orchestrator.pipeline.quantize.weights import GROUP, group_of, silent

if TYPE_CHECKING:
    from collections.abc import Collection

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.quantize.layers import Floats, Layer
    from orchestrator.pipeline.quantize.weights import Progress
    from orchestrator.pipeline.tensors import InputArrays, OutputArrays

ROWS = 12
LEAST_RANGE = 1e-6
SQUARED = ("winrate", "lead")
L = TypeVar("L", Conv, MatMul)


def sensitivity(
    net: Net,
    rows: Positions,
    *,
    kept: Collection[str] = (),
    optimism: float = 0.0,
    group: int | None = GROUP,
    activations: bool = False,
    progress: Progress = silent,
) -> dict[str, float]:
    """How much each layer's rounding alone costs, but for `kept` ones; 1 is all that is allowed.

    With `activations` what the layer reads is rounded to 8 bits too, between its extremes.
    The errors of winrate, lead and policy at `rows`, squared, in units of the gate's limits: what
    several layers cost together is about the sum.
    """
    candidates = {n: layer for n, layer in layers(net, optimism).items() if n not in kept}
    exact = accuracy.evaluate(Changed(net, optimism), rows, net)
    found = {}
    for done, (name, layer) in enumerate(candidates.items()):
        rounded = rounding.nearest(matrix(layer), group_of(layer, group)).weights
        other = {name: rounded.reshape(layer.weights.shape)}
        answers = accuracy.evaluate(
            Changed(net, optimism, other, activations=activations), rows, net
        )
        errors = [accuracy.errors(a, b) for a, b in zip(exact, answers, strict=True)]
        found[name] = _cost({key: np.concatenate([e[key] for e in errors]) for key in errors[0]})
        progress("measuring layers", done + 1, len(candidates))
    return found


def few(rows: Positions, count: int = ROWS) -> Positions:
    """`count` of the rows, spread evenly over all boards."""
    chosen = np.unique(np.linspace(0, rows.count - 1, min(count, rows.count)).round().astype(int))
    parts, start = [], 0
    for batch in rows:
        inside = chosen[(chosen >= start) & (chosen < start + len(batch))] - start
        if len(inside):
            parts.append(batch.rows(inside))
        start += len(batch)
    return Positions(tuple(parts))


def _cost(errors: dict[str, Floats]) -> float:
    limits = FP16_LIMITS
    squares = [float(np.mean(errors[name] ** 2)) / limits[name].p99 ** 2 for name in SQUARED]
    return sum(squares) + float(np.mean(errors["policy_kl"])) / limits["policy_kl"].p99


class Changed(NumpyOperations):
    """A runner of the net with other weights, by layer name and shaped as its own, in some."""

    name, shape = "numpy", None

    def __init__(
        self,
        net: Net,
        optimism: float,
        other: dict[str, Floats] | None = None,
        *,
        activations: bool = False,
    ) -> None:
        self._net, self._optimism, self._other = net, optimism, other or {}
        self._activations = activations

    def __call__(self, inputs: InputArrays) -> OutputArrays:
        """See Runner."""
        height, width = inputs.spatial.shape[2:]
        shape = Shape(height, width, masked=False, optimism=self._optimism)
        return forward(self._net, self, inputs, shape)

    def conv(self, x: Floats, layer: Conv) -> Floats:
        """See Operations."""
        return super().conv(self._read(x, layer), self._of(layer))

    def linear(self, x: Floats, layer: MatMul) -> Floats:
        """See Operations."""
        return super().linear(self._read(x, layer), self._of(layer))

    def _read(self, x: Floats, layer: Layer) -> Floats:
        if not self._activations or layer.name not in self._other:
            return x
        low, high = min(float(x.min()), 0.0), max(float(x.max()), 0.0)
        step = np.float32(max(high - low, LEAST_RANGE) / 255)
        return np.rint(x / step) * step

    def _of(self, layer: L) -> L:
        weights = self._other.get(layer.name)
        return layer if weights is None else replace(layer, weights=weights)
