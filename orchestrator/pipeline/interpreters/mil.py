"""MIL, the language of Core ML's ML Programs, as an interpreter: the operations are written down.

Source: the operations of coremltools (converters/mil/mil/ops/defs), of iOS 15 and 16.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import numpy as np
from coremltools.converters.mil._deployment_compatibility import AvailableTarget
from coremltools.converters.mil.mil import Builder, Function, Program, get_new_symbol, types

from orchestrator.pipeline.interpreters.outputs_first import outputs_first
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from orchestrator.pipeline.interpreters.onnx import StoredWeight
    from orchestrator.pipeline.katago.net import Conv, MatMul
    from orchestrator.pipeline.tensors import Outputs

    Floats = NDArray[np.float32]

# A coremltools Var, which has no types.
Value = Any


class MilOperations:
    """See Operations; tensors are variables of the MIL function that is being built.

    `precision` `fp16` computes in FP16 and widens where it is asked to. `stored` says by layer name
    which weights are kept smaller than they are computed with: Core ML unpacks them.
    """

    def __init__(
        self, precision: str = "fp32", stored: Mapping[str, StoredWeight] | None = None
    ) -> None:
        self._precision, self._stored = precision, stored or {}

    def conv(self, x: Value, layer: Conv) -> Value:
        """See Operations."""
        size_y, size_x = layer.weights.shape[:2]
        step_y, step_x = layer.dilation
        pad_y, pad_x = step_y * (size_y // 2), step_x * (size_x // 2)
        return Builder.conv(
            x=x,
            weight=self._weight(layer, (3, 2, 0, 1), x),
            pad_type="custom",
            pad=[pad_y, pad_y, pad_x, pad_x],
            dilations=list(layer.dilation),
        )

    def linear(self, x: Value, layer: MatMul) -> Value:
        """See Operations."""
        return Builder.linear(x=x, weight=self._weight(layer, (1, 0), x))

    def matmul(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return Builder.matmul(x=x, y=y)

    def constant(self, values: Floats, like: Value, name: str) -> Value:  # noqa: ARG002 - MIL numbers its constants
        """See Operations."""
        return Builder.const(val=_packed(values, _numpy_type(like)))

    def add(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return Builder.add(x=x, y=y)

    def subtract(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return Builder.sub(x=x, y=y)

    def multiply(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return Builder.mul(x=x, y=y)

    def divide(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return Builder.real_div(x=x, y=y)

    def minimum(self, x: Value, limit: float) -> Value:
        """See Operations."""
        return Builder.minimum(x=x, y=_numpy_type(x)(limit))

    def relu(self, x: Value) -> Value:
        """See Operations."""
        return Builder.relu(x=x)

    def sigmoid(self, x: Value) -> Value:
        """See Operations."""
        return Builder.sigmoid(x=x)

    def tanh(self, x: Value) -> Value:
        """See Operations."""
        return Builder.tanh(x=x)

    def exp(self, x: Value) -> Value:
        """See Operations."""
        return Builder.exp(x=x)

    def cos(self, x: Value) -> Value:
        """See Operations."""
        return Builder.cos(x=x)

    def sin(self, x: Value) -> Value:
        """See Operations."""
        return Builder.sin(x=x)

    def softplus(self, x: Value) -> Value:
        """See Operations."""
        return Builder.softplus(x=x)

    def sqrt(self, x: Value) -> Value:
        """See Operations."""
        return Builder.sqrt(x=x)

    def softmax(self, x: Value) -> Value:
        """See Operations."""
        return Builder.softmax(x=x, axis=-1)

    def mean(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return Builder.reduce_mean(x=x, axes=list(axes), keep_dims=True)

    def maximum(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return Builder.reduce_max(x=x, axes=list(axes), keep_dims=True)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """See Operations."""
        return Builder.reshape(x=x, shape=list(shape))

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return Builder.transpose(x=x, perm=list(axes))

    def concat(self, tensors: Sequence[Value], axis: int) -> Value:
        """See Operations."""
        return Builder.concat(values=list(tensors), axis=axis)

    def part(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """See Operations."""
        begin, size = [0] * x.rank, [-1] * x.rank
        begin[axis], size[axis] = start, stop - start
        return Builder.slice_by_size(x=x, begin=begin, size=size)

    def widen(self, x: Value) -> Value:
        """See Operations."""
        return x if x.dtype == types.fp32 else Builder.cast(x=x, dtype="fp32")

    def narrow(self, x: Value) -> Value:
        """See Operations."""
        if self._precision == "fp32" or x.dtype == types.fp16:
            return x
        return Builder.cast(x=x, dtype="fp16")

    def _weight(self, layer: Conv | MatMul, axes: tuple[int, ...], x: Value) -> Value:
        """The layer's weights with the outputs first, which `axes` bring there, as `x` has them."""
        name, dtype = weight_name(layer.name), _numpy_type(x)
        stored = self._stored.get(layer.name)
        if stored is None:
            return Builder.const(val=_packed(layer.weights.transpose(axes), dtype), name=name)
        numbers, scale = outputs_first(layer.name, stored)
        if scale is not None:
            return Builder.constexpr_affine_dequantize(
                quantized_data=_packed(numbers, np.int8),
                zero_point=np.int8(0),
                scale=_packed(scale, dtype),
                axis=0,
                name=name,
            )
        if dtype is np.float16:
            return Builder.const(val=_packed(numbers, dtype), name=name)
        halved = _packed(numbers, np.float16)
        return Builder.constexpr_cast(source_val=halved, output_dtype="fp32", name=name)


def program(
    lengths: Mapping[str, tuple[int | None, ...]], walk: Callable[[Inputs[Any]], Outputs[Any]]
) -> Any:
    """A coremltools Program of what `walk` does with FP32 inputs of `lengths`, None: any."""
    batch = get_new_symbol()
    inputs = {
        name: Builder.placeholder(
            [batch if length is None else length for length in shape], dtype=types.fp32
        )
        for name, shape in lengths.items()
    }
    made = Program()
    with Function(inputs, opset_version=AvailableTarget.iOS16) as function:
        outputs = walk(Inputs(*(function.inputs.get(name) for name in INPUTS)))
        function.set_outputs(
            [Builder.identity(x=getattr(outputs, field), name=field) for field in OUTPUTS]
        )
        made.add_function("main", function)
    return made


def weight_name(layer: str) -> str:
    """What the weights of a layer are called in the program: its name in letters MIL allows."""
    return re.sub(r"[^A-Za-z0-9_]", "_", f"weight_{layer}")


def _numpy_type(like: Value) -> type[np.float16 | np.float32]:
    return np.float16 if like.dtype == types.fp16 else np.float32


def _packed(values: NDArray[Any], dtype: type[np.generic]) -> NDArray[Any]:
    """A copy in `dtype`, laid out row by row."""
    return np.array(values, dtype, order="C")
