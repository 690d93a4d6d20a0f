"""NumPy as an interpreter: the reference that every artifact is measured against. FP32."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from orchestrator.pipeline.katago.network import forward

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Conv, MatMul, Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.tensors import Inputs, Outputs

    Floats = NDArray[np.float32]


class Reference:
    """A net as a function of arrays, computed in FP32 by NumPy."""

    def __init__(self, net: Net, shape: Shape) -> None:
        self.net, self.shape = net, shape

    def __call__(self, inputs: Inputs[Floats]) -> Outputs[Floats]:
        """The raw outputs for rows of `inputs`."""
        return forward(self.net, NumpyOperations(), inputs, self.shape)


class NumpyOperations:
    """See Operations; tensors are float32 arrays."""

    def conv(self, x: Floats, layer: Conv) -> Floats:
        """See Operations: one matrix product for each place of the kernel."""
        rows, channels, height, width = x.shape
        size_y, size_x, _, out = layer.weights.shape
        step_y, step_x = layer.dilation
        pad_y, pad_x = step_y * (size_y // 2), step_x * (size_x // 2)
        padded = np.pad(x, ((0, 0), (0, 0), (pad_y, pad_y), (pad_x, pad_x)))
        y = np.zeros((rows, out, height * width), np.float32)
        for ky in range(size_y):
            for kx in range(size_x):
                top, left = ky * step_y, kx * step_x
                view = padded[:, :, top : top + height, left : left + width]
                points = view.reshape(rows, channels, height * width)
                y += np.matmul(layer.weights[ky, kx].T, points)
        return y.reshape(rows, out, height, width)

    def linear(self, x: Floats, layer: MatMul) -> Floats:
        """See Operations."""
        return np.matmul(x, layer.weights)

    def matmul(self, x: Floats, y: Floats) -> Floats:
        """See Operations."""
        return np.matmul(x, y)

    def constant(self, values: Floats, like: Floats, name: str) -> Floats:  # noqa: ARG002
        """See Operations."""
        return np.asarray(values, np.float32)

    def add(self, x: Floats, y: Floats) -> Floats:
        """See Operations."""
        return np.add(x, y)

    def subtract(self, x: Floats, y: Floats) -> Floats:
        """See Operations."""
        return np.subtract(x, y)

    def multiply(self, x: Floats, y: Floats) -> Floats:
        """See Operations."""
        return np.multiply(x, y)

    def divide(self, x: Floats, y: Floats) -> Floats:
        """See Operations."""
        return np.divide(x, y)

    def minimum(self, x: Floats, limit: float) -> Floats:
        """See Operations."""
        return np.minimum(x, np.float32(limit))

    def relu(self, x: Floats) -> Floats:
        """See Operations."""
        return np.maximum(x, np.float32(0))

    def sigmoid(self, x: Floats) -> Floats:
        """See Operations; 0.5 + 0.5 tanh(x / 2) does not overflow."""
        return np.float32(0.5) + np.float32(0.5) * np.tanh(np.float32(0.5) * x)

    def tanh(self, x: Floats) -> Floats:
        """See Operations."""
        return np.tanh(x)

    def exp(self, x: Floats) -> Floats:
        """See Operations."""
        return np.exp(x)

    def cos(self, x: Floats) -> Floats:
        """See Operations."""
        return np.cos(x)

    def sin(self, x: Floats) -> Floats:
        """See Operations."""
        return np.sin(x)

    def softplus(self, x: Floats) -> Floats:
        """See Operations."""
        return np.logaddexp(x, np.float32(0))

    def sqrt(self, x: Floats) -> Floats:
        """See Operations."""
        return np.sqrt(x)

    def softmax(self, x: Floats) -> Floats:
        """See Operations."""
        e = np.exp(x - x.max(axis=-1, keepdims=True))
        return e / e.sum(axis=-1, keepdims=True)

    def mean(self, x: Floats, axes: Sequence[int]) -> Floats:
        """See Operations."""
        return x.mean(axis=tuple(axes), keepdims=True)

    def maximum(self, x: Floats, axes: Sequence[int]) -> Floats:
        """See Operations."""
        return x.max(axis=tuple(axes), keepdims=True)

    def reshape(self, x: Floats, shape: Sequence[int]) -> Floats:
        """See Operations."""
        return x.reshape(tuple(shape))

    def transpose(self, x: Floats, axes: Sequence[int]) -> Floats:
        """See Operations."""
        return x.transpose(tuple(axes))

    def concat(self, tensors: Sequence[Floats], axis: int) -> Floats:
        """See Operations."""
        return np.concatenate(tensors, axis=axis)

    def part(self, x: Floats, axis: int, start: int, stop: int) -> Floats:
        """See Operations."""
        return x[(slice(None),) * axis + (slice(start, stop),)]

    def widen(self, x: Floats) -> Floats:
        """See Operations."""
        return x

    def narrow(self, x: Floats) -> Floats:
        """See Operations."""
        return x
