"""ONNX as an interpreter: the operations become the nodes of a graph. No framework in between.

The same net gives the same bytes: nothing here depends on hashing, on time or on the machine.
Nodes and weights are called after the layers of the net.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from onnx import TensorProto, helper

from orchestrator.pipeline.tensors import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import onnx
    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Conv, MatMul

    Numbers = NDArray[Any]

ELEMENT_TYPES = {
    "float32": TensorProto.FLOAT,
    "float16": TensorProto.FLOAT16,
    "int8": TensorProto.INT8,
    "int64": TensorProto.INT64,
}
NARROW = {"fp32": "float32", "fp16": "float16"}


@dataclass(frozen=True, slots=True)
class Value:
    """A tensor of the graph: its name, and its type as NumPy calls it."""

    name: str
    dtype: str


@dataclass(frozen=True, slots=True)
class StoredWeight:
    """A layer's weights as the file holds them: `numbers` times `scale`.

    `numbers` are float16, or int8 with a `scale` float16 or float32 that broadcasts to them. Where
    they have another shape than the layer's weights in ONNX ([out, in, kY, kX] or [in, out]), such
    as [out, in / 64, 64, kY, kX], they are reshaped to it.
    """

    numbers: Numbers
    scale: Numbers | None = None


@dataclass(frozen=True, slots=True)
class ActivationScale:
    """What a layer reads as int8: `(number - zero_point) * scale`, -128 <= number <= 127."""

    scale: float
    zero_point: int


class OnnxOperations:
    """See Operations; collects `nodes` and `initializers`.

    `stored` says by layer name which weights are kept smaller than they are computed with,
    `activations` what the layers read as int8 (QuantizeLinear and DequantizeLinear before them).
    """

    def __init__(
        self,
        precision: str = "fp32",
        stored: Mapping[str, StoredWeight] | None = None,
        activations: Mapping[str, ActivationScale] | None = None,
    ) -> None:
        self.nodes: list[onnx.NodeProto] = []
        self.initializers: list[onnx.TensorProto] = []
        self._narrow = NARROW[precision]
        self._stored = stored or {}
        self._activations = activations or {}
        # A layer may be called as an input or output of the graph is.
        self._taken = dict.fromkeys((*INPUTS, *OUTPUTS), 1)
        self._shared: dict[tuple[Any, ...], Value] = {}

    def conv(self, x: Value, layer: Conv) -> Value:
        """See Operations."""
        size_y, size_x = layer.weights.shape[:2]
        step_y, step_x = layer.dilation
        pad_y, pad_x = step_y * (size_y // 2), step_x * (size_x // 2)
        weights = self._weights(layer, layer.weights.transpose(3, 2, 0, 1), x)
        attributes: dict[str, Any] = {"kernel_shape": [size_y, size_x]}
        if pad_y or pad_x:
            attributes["pads"] = [pad_y, pad_x, pad_y, pad_x]
        if layer.dilation != (1, 1):
            attributes["dilations"] = [step_y, step_x]
        return self._node(
            "Conv", [self._read(x, layer), weights], x.dtype, layer.name, **attributes
        )

    def linear(self, x: Value, layer: MatMul) -> Value:
        """See Operations."""
        weights = self._weights(layer, layer.weights, x)
        return self._node("MatMul", [self._read(x, layer), weights], x.dtype, layer.name)

    def matmul(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return self._binary("MatMul", x, y)

    def constant(self, values: Numbers, like: Value, name: str) -> Value:
        """See Operations; the same numbers under the same name are stored once."""
        key = ("constant", name, like.dtype, values.shape, values.tobytes())
        if key not in self._shared:
            self._shared[key] = self._initializer(values.astype(like.dtype), name)
        return self._shared[key]

    def add(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return self._binary("Add", x, y)

    def subtract(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return self._binary("Sub", x, y)

    def multiply(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return self._binary("Mul", x, y)

    def divide(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return self._binary("Div", x, y)

    def minimum(self, x: Value, limit: float) -> Value:
        """See Operations."""
        most = self.constant(np.array(limit, np.float32), x, f"limit/{limit:g}")
        return self._binary("Min", x, most)

    def relu(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Relu", [x], x.dtype)

    def sigmoid(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Sigmoid", [x], x.dtype)

    def tanh(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Tanh", [x], x.dtype)

    def exp(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Exp", [x], x.dtype)

    def cos(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Cos", [x], x.dtype)

    def sin(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Sin", [x], x.dtype)

    def softplus(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Softplus", [x], x.dtype)

    def sqrt(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Sqrt", [x], x.dtype)

    def softmax(self, x: Value) -> Value:
        """See Operations."""
        return self._node("Softmax", [x], x.dtype, axis=-1)

    def mean(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return self._node("ReduceMean", [x], x.dtype, axes=list(axes), keepdims=1)

    def maximum(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return self._node("ReduceMax", [x], x.dtype, axes=list(axes), keepdims=1)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """See Operations."""
        return self._node("Reshape", [x, self._integers(shape)], x.dtype)

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return self._node("Transpose", [x], x.dtype, perm=list(axes))

    def concat(self, tensors: Sequence[Value], axis: int) -> Value:
        """See Operations."""
        (dtype,) = {tensor.dtype for tensor in tensors}
        return self._node("Concat", list(tensors), dtype, axis=axis)

    def part(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """See Operations."""
        bounds = [self._integers([number]) for number in (start, stop, axis)]
        return self._node("Slice", [x, *bounds], x.dtype)

    def widen(self, x: Value) -> Value:
        """See Operations."""
        return self._cast(x, "float32")

    def narrow(self, x: Value) -> Value:
        """See Operations."""
        return self._cast(x, self._narrow)

    def named(self, x: Value, name: str) -> Value:
        """`x` as an output of the graph of that name."""
        self.nodes.append(helper.make_node("Identity", [x.name], [name], name=name))
        return Value(name, x.dtype)

    def _read(self, x: Value, layer: Conv | MatMul) -> Value:
        """`x` as the layer reads it; layers that read it with the same scale share the nodes."""
        read = self._activations.get(layer.name)
        if read is None:
            return x
        key = ("read", x.name, read)
        if key not in self._shared:
            scale = self._initializer(np.array(read.scale, x.dtype), f"{layer.name}/read_scale")
            zero = self._initializer(np.array(read.zero_point, np.int8), f"{layer.name}/read_zero")
            number = self._node(
                "QuantizeLinear", [x, scale, zero], "int8", f"{layer.name}/read_quantized"
            )
            self._shared[key] = self._node(
                "DequantizeLinear", [number, scale, zero], x.dtype, f"{layer.name}/read"
            )
        return self._shared[key]

    def _weights(self, layer: Conv | MatMul, weights: Numbers, like: Value) -> Value:
        name = f"{layer.name}/weights"
        stored = self._stored.get(layer.name)
        if stored is None:
            return self._initializer(weights.astype(like.dtype), name)
        if layer.name in self._activations and stored.scale is not None:
            return self._integer_weights(stored, layer.name, like)
        numbers = self._cast(self._initializer(stored.numbers, name), like.dtype)
        if stored.scale is not None:
            scale = self._cast(self._initializer(stored.scale, f"{layer.name}/scale"), like.dtype)
            numbers = self._node("Mul", [numbers, scale], like.dtype, f"{layer.name}/dequantized")
        if stored.numbers.shape != weights.shape:
            numbers = self.reshape(numbers, weights.shape)
        return numbers

    def _integer_weights(self, stored: StoredWeight, name: str, like: Value) -> Value:
        """Weights with a scale for each output in the nodes that mean integer arithmetic."""
        scale = np.asarray(stored.scale)
        inputs = [
            self._initializer(stored.numbers, f"{name}/weights"),
            self._initializer(scale.reshape(-1).astype(like.dtype), f"{name}/scale"),
        ]
        axis = int(np.argmax(scale.shape))
        return self._node("DequantizeLinear", inputs, like.dtype, f"{name}/dequantized", axis=axis)

    def _binary(self, operator: str, x: Value, y: Value) -> Value:
        if x.dtype != y.dtype:
            raise TypeError(f"{operator} of {x.name} ({x.dtype}) and {y.name} ({y.dtype})")
        return self._node(operator, [x, y], x.dtype)

    def _cast(self, x: Value, dtype: str) -> Value:
        if x.dtype == dtype:
            return x
        key = ("cast", x.name, dtype)
        if key not in self._shared:
            self._shared[key] = self._node("Cast", [x], dtype, to=ELEMENT_TYPES[dtype])
        return self._shared[key]

    def _integers(self, numbers: Sequence[int]) -> Value:
        key = ("integers", *numbers)
        if key not in self._shared:
            name = "integers/" + "_".join(map(str, numbers))
            self._shared[key] = self._initializer(np.array(numbers, np.int64), name)
        return self._shared[key]

    def _initializer(self, values: Numbers, name: str) -> Value:
        name = self._fresh(name)
        dtype = values.dtype.name
        self.initializers.append(
            helper.make_tensor(
                name,
                ELEMENT_TYPES[dtype],
                values.shape,
                np.ascontiguousarray(values).astype(values.dtype.newbyteorder("<")).tobytes(),
                raw=True,
            )
        )
        return Value(name, dtype)

    def _node(
        self,
        operator: str,
        inputs: Sequence[Value],
        dtype: str,
        name: str = "",
        **attributes: Any,
    ) -> Value:
        name = self._fresh(name or operator)
        names = [value.name for value in inputs]
        self.nodes.append(helper.make_node(operator, names, [name], name=name, **attributes))
        return Value(name, dtype)

    def _fresh(self, name: str) -> str:
        """A name that nothing has yet: `name`, then `name.2` and so on."""
        count = self._taken[name] = self._taken.get(name, 0) + 1
        return name if count == 1 else self._fresh(f"{name}.{count}")
