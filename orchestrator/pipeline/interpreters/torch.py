"""PyTorch as an interpreter: a net as a module, to be exported (LiteRT) or trained further. FP32.

The walk over the net happens once, when the module is made: `TorchOperations` writes it down as a
`torch.fx` graph. What runs afterwards is plain PyTorch, which `torch.export` and autograd take.
"""

from __future__ import annotations

import keyword
import operator
import re
from typing import TYPE_CHECKING, Any, cast

import numpy as np
import torch
from torch import nn

from orchestrator.pipeline.katago.network import forward
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Inputs

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Conv, MatMul, Net
    from orchestrator.pipeline.katago.network import Shape

    Floats = NDArray[np.float32]

# A torch.fx.Proxy: it passes for a tensor in a call of PyTorch, though not in its types.
Value = Any


class TorchNet(nn.Module):
    """A net as a module: `forward(input, input_global[, input_meta])` gives `OUTPUTS`, a tuple.

    `layers` holds an `nn.Conv2d` or `nn.Linear` for each convolution and linear layer, under
    `layer_key` of its name, in the order in which they run. Their weights are the parameters; what
    else the file stores (norms, biases) are buffers. To look at or change what a layer reads and
    multiplies with (fake quantization), hang hooks and parametrizations on these modules, or put
    others in their place.

    The weights are those that the walk uses: of a query layer scaled and, as of a key layer, with
    the pairs of the rotary embedding apart; of the policy's last layers the one channel in use.
    """

    def __init__(self, net: Net, shape: Shape) -> None:
        super().__init__()
        ops = TorchOperations()
        names = INPUTS if net.has_meta else INPUTS[:2]
        outputs = forward(net, ops, Inputs(*(ops.input(name) for name in names)), shape)
        ops.graph.output(tuple(getattr(outputs, name).node for name in OUTPUTS))
        parts = nn.Module()
        parts.layers, parts.constants = ops.layers, ops.constants
        self.body = torch.fx.GraphModule(parts, ops.graph, type(self).__name__)
        self.body.layers = ops.layers  # GraphModule holds the same ones, but not as a ModuleDict

    @property
    def layers(self) -> nn.ModuleDict:
        """The layers that have weights, see the class."""
        return cast("nn.ModuleDict", self.body.layers)

    def forward(
        self,
        input: torch.Tensor,  # noqa: A002 - the documented name, which export takes over
        input_global: torch.Tensor,
        input_meta: torch.Tensor | None = None,
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor, torch.Tensor]:
        """Policy, value, misc and ownership for rows of inputs; see `tensors`."""
        rows = (input, input_global) if input_meta is None else (input, input_global, input_meta)
        policy, value, misc, ownership = self.body(*rows)
        return policy, value, misc, ownership


class NamedOutputs(nn.Module):
    """A net that takes its inputs and gives its outputs by name, as exporters want them."""

    def __init__(self, net: TorchNet) -> None:
        super().__init__()
        self.net = net

    def forward(self, **rows: torch.Tensor) -> dict[str, torch.Tensor]:
        """The outputs by name for rows of `INPUTS` by name."""
        return dict(zip(OUTPUTS, self.net(**rows), strict=True))


def layer_key(name: str) -> str:
    """The key of a layer in `TorchNet.layers`: its name in letters that PyTorch lets be a key."""
    key = re.sub(r"[^A-Za-z0-9_/]", "_", name.replace(".", "/"))
    return f"{key}_" if hasattr(nn.ModuleDict, key) or keyword.iskeyword(key) else key


class TorchOperations:
    """See Operations; tensors are nodes of `graph`, which calls `layers` and reads `constants`."""

    def __init__(self) -> None:
        self.graph = torch.fx.Graph()
        self.layers, self.constants = nn.ModuleDict(), nn.Module()
        self._tracer = torch.fx.proxy.GraphAppendingTracer(self.graph)

    def input(self, name: str) -> Value:
        """An input of the graph."""
        return self._value(self.graph.placeholder(name))

    def conv(self, x: Value, layer: Conv) -> Value:
        """See Operations: an `nn.Conv2d`."""
        size_y, size_x, channels, out = layer.weights.shape
        step_y, step_x = layer.dilation
        module = nn.Conv2d(
            channels,
            out,
            (size_y, size_x),
            padding=(step_y * (size_y // 2), step_x * (size_x // 2)),
            dilation=layer.dilation,
            bias=False,
            device="meta",
        )
        return self._layer(x, layer, module, layer.weights.transpose(3, 2, 0, 1))

    def linear(self, x: Value, layer: MatMul) -> Value:
        """See Operations: an `nn.Linear`."""
        channels, out = layer.weights.shape
        module = nn.Linear(channels, out, bias=False, device="meta")
        return self._layer(x, layer, module, layer.weights.T)

    def matmul(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return torch.matmul(x, y)

    def constant(self, values: Floats, like: Value, name: str) -> Value:  # noqa: ARG002 - all is FP32
        """See Operations: a buffer; equal ones of one name are one."""
        key, tensor = layer_key(name), _tensor(values)
        constants = dict(self.constants.named_buffers())
        while key in constants and not torch.equal(constants[key], tensor):
            key += "_"
        if key not in constants:
            self.constants.register_buffer(key, tensor)
        return self._value(self.graph.get_attr(f"constants.{key}"))

    def add(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return torch.add(x, y)

    def subtract(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return torch.sub(x, y)

    def multiply(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return torch.mul(x, y)

    def divide(self, x: Value, y: Value) -> Value:
        """See Operations."""
        return torch.div(x, y)

    def minimum(self, x: Value, limit: float) -> Value:
        """See Operations."""
        return torch.clamp(x, max=limit)

    def relu(self, x: Value) -> Value:
        """See Operations."""
        return torch.relu(x)

    def sigmoid(self, x: Value) -> Value:
        """See Operations."""
        return torch.sigmoid(x)

    def tanh(self, x: Value) -> Value:
        """See Operations."""
        return torch.tanh(x)

    def exp(self, x: Value) -> Value:
        """See Operations."""
        return torch.exp(x)

    def cos(self, x: Value) -> Value:
        """See Operations."""
        return torch.cos(x)

    def sin(self, x: Value) -> Value:
        """See Operations."""
        return torch.sin(x)

    def softplus(self, x: Value) -> Value:
        """See Operations."""
        return nn.functional.softplus(x)

    def sqrt(self, x: Value) -> Value:
        """See Operations."""
        return torch.sqrt(x)

    def softmax(self, x: Value) -> Value:
        """See Operations."""
        return torch.softmax(x, dim=-1)

    def mean(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return torch.mean(x, dim=tuple(axes), keepdim=True)

    def maximum(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return torch.amax(x, dim=tuple(axes), keepdim=True)

    def reshape(self, x: Value, shape: Sequence[int]) -> Value:
        """See Operations."""
        return torch.reshape(x, tuple(shape))

    def transpose(self, x: Value, axes: Sequence[int]) -> Value:
        """See Operations."""
        return torch.permute(x, tuple(axes))

    def concat(self, tensors: Sequence[Value], axis: int) -> Value:
        """See Operations."""
        return torch.cat(list(tensors), dim=axis)

    def part(self, x: Value, axis: int, start: int, stop: int) -> Value:
        """See Operations."""
        return operator.getitem(x, (*(slice(None),) * axis, slice(start, stop)))

    def widen(self, x: Value) -> Value:
        """See Operations."""
        return x

    def narrow(self, x: Value) -> Value:
        """See Operations."""
        return x

    def _layer(self, x: Value, layer: Conv | MatMul, module: nn.Module, weights: Floats) -> Value:
        """`x` through `module`, which gets `weights` and a key of its own."""
        key = layer_key(layer.name)
        while key in self.layers:
            key += "_"
        module.weight = nn.Parameter(_tensor(weights))
        self.layers[key] = module
        return self._value(self.graph.call_module(f"layers.{key}", (x.node,)))

    def _value(self, node: torch.fx.Node) -> Value:
        return torch.fx.Proxy(node, self._tracer)


def _tensor(values: Floats) -> torch.Tensor:
    """A tensor of its own memory: what a file holds stays as it is."""
    return torch.from_numpy(np.array(values, np.float32, order="C", copy=True))
