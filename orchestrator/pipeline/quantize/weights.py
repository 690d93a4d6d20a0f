"""A net with 8-bit weights: computed in FP32, stored in a quarter of the space.

`nearest` rounds each weight by itself. `compensated` walks the net once with calibration rows: each
layer is rounded when the walk comes to it, so that to the inputs that the rounded layers before it
give, it answers as the net itself answers to its own.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from orchestrator.pipeline.interpreters.numpy import NumpyOperations
from orchestrator.pipeline.interpreters.onnx import StoredWeight
from orchestrator.pipeline.katago.net import Conv, MatMul
from orchestrator.pipeline.katago.network import Shape, forward
from orchestrator.pipeline.positions import framed
from orchestrator.pipeline.quantize import rounding
from orchestrator.pipeline.quantize.layers import layers, matrix
from orchestrator.pipeline.tensors import Inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.quantize.layers import Floats, Layer
    from orchestrator.pipeline.quantize.rounding import Rounded

    Doubles = NDArray[np.float64]
    Progress = Callable[[str, int, int], None]

L = TypeVar("L", Conv, MatMul)

# Inputs that share a scale, at most (it takes 2 bytes to their 64) and at least a fourth of that.
GROUP = 64
LEAST_SHARE = 4
# Inputs of a layer that are looked at for each number that makes up one of them, and at least.
POINTS = 4
LEAST_POINTS = 16384
# With fewer than that, rounding to the nearest step is as good.
ENOUGH = 1.0


def silent(what: str, done: int, total: int) -> None:
    """Tells nobody."""


def nearest(
    net: Net,
    *,
    kept: Collection[str] = (),
    group: int | None = None,
    optimism: float = 0.0,
) -> dict[str, StoredWeight]:
    """Every layer's weights to the nearest step; those of `kept` layers as float16.

    At most `group` inputs share a scale; None: one scale for each output.
    """
    return {
        name: halved(layer)
        if name in kept
        else stored(layer, rounding.nearest(matrix(layer), group_of(layer, group)))
        for name, layer in layers(net, optimism).items()
    }


def compensated(
    net: Net,
    calibration: Positions,
    *,
    kept: Collection[str] = (),
    group: int | None = GROUP,
    optimism: float = 0.0,
    seed: int = 0,
    progress: Progress = silent,
) -> dict[str, StoredWeight]:
    """Every layer's weights rounded by what calibration rows need; `kept` ones as float16.

    At most `group` inputs share a scale; None: one scale for each output.
    The same arguments give the same numbers, on one machine with one number of threads.
    """
    total = len(layers(net, optimism))
    shape, inputs = together(calibration, optimism)
    ops = _Rounding(
        inputs.spatial[:, 0] > 0,
        frozenset(kept),
        group,
        np.random.default_rng(seed),
        lambda done: progress("rounding", done, total),
    )
    forward(net, ops, twice(inputs), shape)
    return ops.stored


def together(positions: Positions, optimism: float = 0.0) -> tuple[Shape, Inputs[Floats]]:
    """All positions in one frame that the largest board fits into, and its shape."""
    height = max(batch.height for batch in positions)
    width = max(batch.width for batch in positions)
    shape = Shape(height, width, optimism=optimism)
    parts = [_three(framed(batch, shape)) for batch in positions]
    spatial, global_, meta = zip(*parts, strict=True)
    metas = [rows for rows in meta if rows is not None]
    inputs = Inputs(
        np.concatenate(spatial), np.concatenate(global_), np.concatenate(metas) if metas else None
    )
    return shape, inputs


def twice(inputs: Inputs[Floats]) -> Inputs[Floats]:
    """The rows, and once more behind them."""
    spatial, global_, meta = _three(inputs)
    return Inputs(
        np.concatenate([spatial, spatial]),
        np.concatenate([global_, global_]),
        None if meta is None else np.concatenate([meta, meta]),
    )


def group_of(layer: Layer, most: int | None) -> int | None:
    """The largest group of a layer's channels, at most `most`, that divides them; None: no groups.

    No group goes beyond one place of a convolution's kernel. Channels that fall only into groups so
    small that their scales would cost too much are one group.
    """
    if most is None:
        return None
    channels: int = layer.weights.shape[-2]
    size = max(size for size in range(1, min(most, channels) + 1) if channels % size == 0)
    return size if size * LEAST_SHARE >= most else channels


def stored(layer: Layer, rounded: Rounded) -> StoredWeight:
    """The rounded weights in the layout that ONNX has for the layer."""
    groups, (*kernel, channels, out) = len(rounded.scale), layer.weights.shape
    if groups == 1:
        scale = rounded.scale.reshape(1, out) if not kernel else rounded.scale.reshape(out, 1, 1, 1)
        return StoredWeight(_onnx_layout(layer, rounded.numbers), scale)
    parts = groups // math.prod(kernel)
    numbers = rounded.numbers.reshape(*kernel, parts, channels // parts, out)
    scale = rounded.scale.reshape(*kernel, parts, 1, out)
    if kernel:
        outputs_first = (4, 2, 3, 0, 1)
        numbers, scale = numbers.transpose(outputs_first), scale.transpose(outputs_first)
    return StoredWeight(numbers, scale)


def halved(layer: Layer) -> StoredWeight:
    """The layer's weights as float16."""
    return StoredWeight(_onnx_layout(layer, matrix(layer).astype(np.float16)))


class _Rounding(NumpyOperations):
    """Computes a net and its rounded self side by side: the second half of the rows is the latter.

    `board` [N, H, W] says where the board of each row is; points beyond it do not count.
    """

    def __init__(
        self,
        board: NDArray[np.bool_],
        kept: frozenset[str],
        group: int | None,
        rng: np.random.Generator,
        advance: Callable[[int], None],
    ) -> None:
        self.stored: dict[str, StoredWeight] = {}
        self._rows, self._points = len(board), np.argwhere(board)
        self._width = board.shape[2]
        self._kept, self._group = kept, group
        self._rng, self._advance = rng, advance

    def conv(self, x: Floats, layer: Conv) -> Floats:
        """See Operations."""
        exact, rough = x[: self._rows], x[self._rows :]
        rounded = self._round(layer, lambda: self._patches(exact, rough, layer))
        return np.concatenate([super().conv(exact, layer), super().conv(rough, rounded)])

    def linear(self, x: Floats, layer: MatMul) -> Floats:
        """See Operations."""
        exact, rough = x[: self._rows], x[self._rows :]
        rounded = self._round(layer, lambda: self._vectors(exact, rough))
        return np.concatenate([super().linear(exact, layer), super().linear(rough, rounded)])

    def _round(self, layer: L, sample: Callable[[], tuple[Floats, Floats]]) -> L:
        """The layer as it will be, noted down."""
        weights = matrix(layer)
        if layer.name in self._kept:
            self.stored[layer.name] = halved(layer)
            after = weights.astype(np.float16).astype(np.float32)
        else:
            rounded = fitted(weights, *sample(), group_of(layer, self._group))
            self.stored[layer.name] = stored(layer, rounded)
            after = rounded.weights
        self._advance(len(self.stored))
        return replace(layer, weights=after.reshape(layer.weights.shape))

    def _chosen(self, inputs: int) -> NDArray[np.intp]:
        """Points of boards, [points, (row, y, x)]: enough for a layer with so many inputs."""
        count = min(len(self._points), max(inputs * POINTS, LEAST_POINTS))
        return self._points[np.sort(self._rng.choice(len(self._points), count, replace=False))]

    def _patches(self, exact: Floats, rough: Floats, layer: Conv) -> tuple[Floats, Floats]:
        size_y, size_x, channels, _ = layer.weights.shape
        step_y, step_x = layer.dilation
        rows, ys, xs = self._chosen(size_y * size_x * channels).T
        found = []
        for x in (exact, rough):
            pad_y, pad_x = step_y * (size_y // 2), step_x * (size_x // 2)
            padded = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
            places = [
                padded[rows, :, ys + ky * step_y, xs + kx * step_x]
                for ky in range(size_y)
                for kx in range(size_x)
            ]
            found.append(np.concatenate(places, axis=1))
        return found[0], found[1]

    def _vectors(self, exact: Floats, rough: Floats) -> tuple[Floats, Floats]:
        """Inputs of a linear layer: one a row, or one a point."""
        if exact.ndim == 2:  # noqa: PLR2004 - [N, in], no points
            return exact, rough
        rows, ys, xs = self._chosen(exact.shape[-1]).T
        points = ys * self._width + xs
        return exact[rows, points], rough[rows, points]


def fitted(weights: Floats, exact: Floats, rough: Floats, group: int | None) -> Rounded:
    """Weights [in, out], rounded to answer to `rough` inputs as they now do to `exact` ones.

    Both are [samples, in]. With fewer samples than inputs each weight goes to its nearest step.
    """
    if len(rough) < ENOUGH * len(weights):
        return rounding.nearest(weights, group)
    gram = (rough.T @ rough).astype(np.float64)
    missed = (rough.T @ ((exact - rough) @ weights)).astype(np.float64)
    return rounding.compensated(rounding.shifted(weights, gram, missed), gram, group)


def _onnx_layout(layer: Layer, numbers: NDArray[Any]) -> NDArray[Any]:
    numbers = numbers.reshape(layer.weights.shape)
    return numbers.transpose(3, 2, 0, 1) if isinstance(layer, Conv) else numbers


def _three(inputs: Inputs[Floats]) -> tuple[Floats, Floats, Floats | None]:
    return inputs.spatial, inputs.global_, inputs.meta
