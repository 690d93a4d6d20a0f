"""The vocabulary in which a net's arithmetic is written, once, for every format.

A net is a function that calls these; an interpreter carries them out (NumPy), writes them down
(ONNX) or both (PyTorch). Axes count from 0, negative ones from the end. The batch is axis 0 and its
length is not known: it is the `-1` in shapes.

An interpreter may work in half precision. `widen` and `narrow` mark where the arithmetic must be
FP32 whatever the precision of the rest is; both do nothing in an interpreter of FP32.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol, TypeVar

if TYPE_CHECKING:
    from collections.abc import Sequence

    import numpy as np
    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Conv, MatMul

T = TypeVar("T")


class Operations(Protocol[T]):
    """What an interpreter can do. `name` tells what it is for: graphs and reports show it."""

    def conv(self, x: T, layer: Conv) -> T:
        """`x` [N, in, H, W] convolved, size kept, no bias: [N, out, H, W]."""

    def linear(self, x: T, layer: MatMul) -> T:
        """`x` [..., in] times the layer's weights: [..., out]."""

    def matmul(self, x: T, y: T) -> T:
        """Batched product of two computed tensors, [..., A, B] times [..., B, C]."""

    def constant(self, values: NDArray[np.float32], like: T, name: str) -> T:
        """Fixed numbers in the precision of `like`."""

    def add(self, x: T, y: T) -> T:
        """Sum, broadcast as NumPy does; both in one precision."""

    def subtract(self, x: T, y: T) -> T:
        """Difference, broadcast as NumPy does; both in one precision."""

    def multiply(self, x: T, y: T) -> T:
        """Product, broadcast as NumPy does; both in one precision."""

    def divide(self, x: T, y: T) -> T:
        """Quotient, broadcast as NumPy does; both in one precision."""

    def minimum(self, x: T, limit: float) -> T:
        """`x`, but no more than `limit`."""

    def relu(self, x: T) -> T:
        """max(x, 0)."""

    def sigmoid(self, x: T) -> T:
        """1 / (1 + exp(-x))."""

    def tanh(self, x: T) -> T:
        """Hyperbolic tangent."""

    def exp(self, x: T) -> T:
        """E to the power of x."""

    def cos(self, x: T) -> T:
        """Cosine of an angle in radians."""

    def sin(self, x: T) -> T:
        """Sine of an angle in radians."""

    def softplus(self, x: T) -> T:
        """log(1 + exp(x))."""

    def sqrt(self, x: T) -> T:
        """Square root."""

    def softmax(self, x: T) -> T:
        """exp(x) / sum(exp(x)) over the last axis."""

    def mean(self, x: T, axes: Sequence[int]) -> T:
        """Mean over `axes`, which stay with length 1."""

    def maximum(self, x: T, axes: Sequence[int]) -> T:
        """Largest over `axes`, which stay with length 1."""

    def reshape(self, x: T, shape: Sequence[int]) -> T:
        """The same numbers in another shape; one length may be -1."""

    def transpose(self, x: T, axes: Sequence[int]) -> T:
        """Axes in another order."""

    def concat(self, tensors: Sequence[T], axis: int) -> T:
        """Tensors one behind the other."""

    def part(self, x: T, axis: int, start: int, stop: int) -> T:
        """`start` to `stop` of one axis."""

    def widen(self, x: T) -> T:
        """`x` in FP32: what follows must not lose precision or range."""

    def narrow(self, x: T) -> T:
        """`x` in the interpreter's own precision."""
