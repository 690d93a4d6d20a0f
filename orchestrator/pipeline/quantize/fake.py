"""A PyTorch net that computes with what an INT8 file would hold, and can be trained on.

Rounding is PyTorch's own; its gradient is that of no rounding, within the range (straight-through).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, fields, is_dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar, cast

import numpy as np
import torch
from torch import nn
from torch.nn.utils import parametrize

from orchestrator.errors import ModelError
from orchestrator.pipeline.interpreters.onnx import ActivationScale, StoredWeight
from orchestrator.pipeline.interpreters.torch import TorchNet, layer_key
from orchestrator.pipeline.katago.net import (
    AttentionBlock,
    BatchNorm,
    Bias,
    FeedForwardBlock,
    GlobalPoolingBlock,
    NestedBottleneckBlock,
    RMSNorm,
    TipRMSNorm,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape

R = TypeVar("R")

MOST = 127
LEAST_ACTIVATION, MOST_ACTIVATION = -128, 127
# Ranges tried for an activation, in shares of the largest that was seen.
SHRINKS = np.geomspace(1.0, 0.2, 24)
SAMPLE = 1 << 18
# Of what a weight lost by rounding, at most half a step: what training starts from. No number flips
# at once, and few together.
WITHIN = 0.6
Norm = BatchNorm | RMSNorm | TipRMSNorm | Bias
NORM_PARTS = {
    BatchNorm: ("scale", "bias"),
    RMSNorm: ("weight",),
    TipRMSNorm: ("gamma", "beta"),
    Bias: ("",),
}


class RoundedWeights(nn.Module):
    """A parametrization: weights as int8 numbers times fixed scales.

    `stored` has the numbers and the scales of a layer in the layout of ONNX, where numbers that
    share a scale may lie along any axes; `turned` tells that the layer's own is the other way.
    """

    def __init__(self, stored: StoredWeight, *, turned: bool) -> None:
        super().__init__()
        scale = np.asarray(stored.scale, np.float32)
        self.shape, self.scale_shape, self.turned = stored.numbers.shape, scale.shape, turned
        apart = [axis for axis, length in enumerate(scale.shape) if length > 1]
        together = [axis for axis, length in enumerate(scale.shape) if length == 1]
        self.order = (*apart, *together)
        self.register_buffer("scale", torch.from_numpy(scale.flatten()))
        self.register_buffer("zero", torch.zeros(scale.size, dtype=torch.int32))

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """The weights as the file would hold them."""
        rounded = torch.fake_quantize_per_channel_affine(
            self.grouped(weights), self.scale, self.zero, 0, -MOST, MOST
        )
        return self.layered(rounded)

    def grouped(self, weights: torch.Tensor) -> torch.Tensor:
        """The layer's weights as one row for each scale."""
        weights = (weights.T if self.turned else weights).reshape(self.shape)
        return weights.permute(self.order).reshape(len(self.scale), -1)

    def layered(self, rows: torch.Tensor) -> torch.Tensor:
        """Such rows as the layer's weights."""
        laid = self.laid(rows).flatten(0, -2) if self.turned else self.laid(rows)
        return laid.T if self.turned else laid.reshape(len(laid), -1, *laid.shape[-2:])

    def laid(self, rows: torch.Tensor) -> torch.Tensor:
        """Such rows in the layout in which they are stored."""
        laid = rows.reshape([self.shape[axis] for axis in self.order])
        return laid.permute([self.order.index(axis) for axis in range(len(self.order))])


class HalvedWeights(nn.Module):
    """A parametrization: weights as float16 holds them."""

    def forward(self, weights: torch.Tensor) -> torch.Tensor:
        """The weights [out, ...] as the file would hold them."""
        return weights + (weights.half().float() - weights).detach()


class RoundedActivation(nn.Module):
    """A tensor as int8 with a zero point and a learned scale (LSQ, arXiv:1902.08153).

    Until `choose` is called it lets everything through and keeps a sample of it.
    """

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.ones(1))
        self.register_buffer("zero_point", torch.zeros(1))
        self.seen: list[torch.Tensor] | None = []

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """`x` as the file would have it read."""
        if self.seen is not None:
            flat = x.detach().flatten()
            self.seen.append(flat[:: max(1, len(flat) * 8 // SAMPLE)].clone())
            return x
        return torch._fake_quantize_learnable_per_tensor_affine(  # noqa: SLF001 - LSQ's gradients
            x,
            self.scale,
            self.zero_point,
            LEAST_ACTIVATION,
            MOST_ACTIVATION,
            1.0 / (x.numel() * MOST_ACTIVATION) ** 0.5,
        )

    def choose(self) -> None:
        """Take the range that loses least of what was seen; 0 is always one of the numbers."""
        values = torch.cat(self.seen or [torch.zeros(1)])
        low, high = min(float(values.min()), 0.0), max(float(values.max()), 1e-6)
        steps = MOST_ACTIVATION - LEAST_ACTIVATION
        best = (float("inf"), 1.0, 0)
        for shrink in SHRINKS.tolist():
            scale = (high - low) * shrink / steps
            zero = round(LEAST_ACTIVATION - max(low, (low - high) * shrink) / scale)
            zero = max(LEAST_ACTIVATION, min(MOST_ACTIVATION, zero))
            rounded = torch.fake_quantize_per_tensor_affine(
                values, scale, zero, LEAST_ACTIVATION, MOST_ACTIVATION
            )
            best = min(best, (float((rounded - values).square().mean()), scale, zero))
        with torch.no_grad():
            self.scale.fill_(best[1])
            self.zero_point.fill_(best[2])
        self.seen = None

    @property
    def chosen(self) -> ActivationScale:
        """The scale and the zero point, as the file holds them."""
        return ActivationScale(self.scale.item(), int(self.zero_point))


@dataclass(frozen=True, slots=True)
class Exported:
    """What an ONNX file of a trained net is written from."""

    net: Net
    stored: Mapping[str, StoredWeight]
    activations: Mapping[str, ActivationScale]


class FakeInt8(nn.Module):
    """A net as its INT8 file would compute it; `forward` as that of `TorchNet`.

    `stored` are the weights to start from, of every layer: int8, or float16 for the net's own. The
    layers in `reading`, whose weights have one scale for each output, read their inputs as int8,
    once `choose` was called; those that read one tensor share a scale.

    Raises ModelError for a net in which two layers, norms or biases have one name.
    """

    def __init__(
        self,
        net: Net,
        shape: Shape,
        stored: Mapping[str, StoredWeight],
        reading: Iterable[str] = (),
    ) -> None:
        super().__init__()
        self.source, self.net = net, TorchNet(net, shape)
        self.names = {layer_key(name): name for name in stored}
        self._look_at_names()
        for key, layer in self.net.layers.items():
            _round(layer, stored[self.names[key]])
        self.norms = self._train_norms()
        self.activations = nn.ModuleDict()
        self._of = self._read(frozenset(reading))

    def forward(self, *inputs: torch.Tensor) -> tuple[torch.Tensor, ...]:
        """Policy, value, misc and ownership for rows of inputs; see `tensors`."""
        return cast("tuple[torch.Tensor, ...]", self.net(*inputs))

    def choose(self) -> None:
        """Fix the first ranges of activations, from what the net was asked so far."""
        for activation in self.activations.values():
            cast("RoundedActivation", activation).choose()

    def groups(self, *, weights: float, norms: float, activations: float) -> list[dict[str, Any]]:
        """Groups of parameters for an optimizer, each with a learning rate that fits its size.

        `weights` is in steps of a layer's int8 numbers, the others in shares of a tensor.
        """
        found = []
        for layer in self.net.layers.values():
            original = layer.parametrizations.weight.original
            rule = layer.parametrizations.weight[0]
            step = rule.scale.mean() if isinstance(rule, RoundedWeights) else _size(original) / MOST
            found.append({"params": [original], "lr": weights * float(step)})
        for key in self.norms:
            parameter = self.net.body.constants.get_parameter(key)
            found.append({"params": [parameter], "lr": norms * _size(parameter)})
        scales = [cast("RoundedActivation", read).scale for read in self.activations.values()]
        found += [{"params": [scale], "lr": activations * scale.item()} for scale in scales]
        return found

    def exported(self) -> Exported:
        """The net as it is now, to be written."""
        stored = {
            self.names[key]: _stored(cast("nn.Module", layer))
            for key, layer in self.net.layers.items()
        }
        constants = dict(self.net.body.constants.named_parameters())
        changed = {
            record.name: _changed(record, constants)
            for record in _records(self.source)
            if _keys(record)[0] in constants
        }
        chosen = {
            name: cast("RoundedActivation", self.activations[key]).chosen
            for name, key in self._of.items()
        }
        return Exported(_with(self.source, changed), stored, chosen)

    def _look_at_names(self) -> None:
        """Files tell layers apart by name, and so does what is trained here."""
        norms = Counter(record.name for record in _records(self.source))
        twice = [name for name, count in norms.items() if count > 1]
        twice += [key.rstrip("_") for key in self.net.layers if key not in self.names]
        if twice:
            raise ModelError(
                f"{self.source.name} cannot be trained: two layers are called {twice[0]}"
            )

    def _train_norms(self) -> list[str]:
        """Make the numbers of norms and biases parameters; their keys."""
        constants = self.net.body.constants
        keys = [key for record in _records(self.source) for key in _keys(record)]
        present = [key for key in keys if key in constants._buffers]  # noqa: SLF001
        for key in present:
            values = constants.get_buffer(key)
            delattr(constants, key)
            constants.register_parameter(key, nn.Parameter(values))
        return present

    def _read(self, reading: frozenset[str]) -> dict[str, str]:
        """Hang an activation on each layer of `reading`; its key by the layer's name."""
        first: dict[torch.fx.Node, str] = {}
        found = {}
        for node in self.net.body.graph.nodes:
            if node.op != "call_module":
                continue
            key = str(node.target).removeprefix("layers.")
            if self.names[key] not in reading:
                continue
            shared = first.setdefault(node.args[0], key)
            if shared == key:
                self.activations[key] = RoundedActivation()
            activation = self.activations[shared]
            self.net.layers[key].register_forward_pre_hook(
                lambda _layer, given, activation=activation: activation(*given)
            )
            found[self.names[key]] = shared
        return found


def readers(net: Net) -> frozenset[str]:
    """The layers of the blocks that can read int8: all but those that read pooled statistics."""
    return frozenset(name for block in net.trunk.blocks for name in _readers(block))


def _readers(block: Any) -> Iterator[str]:
    match block:
        case NestedBottleneckBlock():
            yield block.pre_conv.name
            for inner in block.blocks:
                yield from _readers(inner)
            yield block.post_conv.name
        case GlobalPoolingBlock():
            yield from (block.regular_conv.name, block.gpool_conv.name, block.final_conv.name)
        case AttentionBlock():
            yield from (block.query.name, block.key.name, block.value.name, block.out.name)
        case FeedForwardBlock():
            layers = (block.linear1, block.gate, block.linear2)
            yield from (layer.name for layer in layers if layer is not None)
        case _:
            yield from (block.conv1.name, block.conv2.name)


def _round(layer: nn.Module, stored: StoredWeight) -> None:
    """Have the layer compute with what is stored.

    Its own weights stay below, as far as they are near to the numbers: training then reaches the
    next number the sooner where the net's own weight lies that way.
    """
    rule: nn.Module = HalvedWeights()
    if stored.scale is not None:
        rule = rounded = RoundedWeights(stored, turned=isinstance(layer, nn.Linear))
        numbers = torch.from_numpy(np.asarray(stored.numbers, np.float32))
        numbers, steps = numbers.permute(rounded.order).flatten(), rounded.scale.unsqueeze(1)
        own = cast("torch.Tensor", layer.weight)
        with torch.no_grad():
            rows = rounded.grouped(own) / steps
            numbers = numbers.reshape(rows.shape)
            near = numbers + (rows - numbers).clamp(-0.5, 0.5) * WITHIN
            own.copy_(rounded.layered(near * steps))
    parametrize.register_parametrization(layer, "weight", rule)


def _stored(layer: nn.Module) -> StoredWeight:
    """The weights as the file holds them."""
    rule, values = layer.parametrizations.weight[0], layer.weight.detach()
    if isinstance(rule, RoundedWeights):
        steps = (rule.grouped(values) / rule.scale.unsqueeze(1)).round()
        numbers = rule.laid(steps).cpu().numpy().astype(np.int8)
        return StoredWeight(numbers, rule.scale.cpu().numpy().reshape(rule.scale_shape))
    halves = values.cpu().numpy().astype(np.float16)
    return StoredWeight(halves.T if isinstance(layer, nn.Linear) else halves)


def _size(values: torch.Tensor) -> float:
    """The root of the mean square, and a little where there is nothing."""
    return float(values.detach().square().mean().sqrt()) + 1e-3


def _records(part: Any) -> Iterator[Norm]:
    """The norms and biases of a net, or of a part of one."""
    if isinstance(part, Norm):
        yield part
    elif isinstance(part, tuple):
        for item in part:
            yield from _records(item)
    elif is_dataclass(part):
        for field in fields(part):
            yield from _records(getattr(part, field.name))


def _with(part: R, changed: Mapping[str, Norm]) -> R:
    """The same part of a net with other norms and biases, by their names."""
    if isinstance(part, Norm):
        return cast("R", changed.get(part.name, part))
    if isinstance(part, tuple):
        return cast("R", tuple(_with(item, changed) for item in part))
    if is_dataclass(part) and not isinstance(part, type):
        items = {field.name: getattr(part, field.name) for field in fields(part)}
        return cast("R", replace(part, **{k: _with(v, changed) for k, v in items.items()}))
    return part


def _keys(record: Norm) -> list[str]:
    """The keys of the record's numbers among the constants of a `TorchNet`."""
    parts = NORM_PARTS[type(record)]
    return [layer_key(f"{record.name}/{part}" if part else record.name) for part in parts]


def _changed(record: Norm, constants: Mapping[str, torch.Tensor]) -> Norm:
    """The record with the numbers that it has among the constants."""
    values = [constants[key].detach().cpu().numpy().reshape(-1) for key in _keys(record)]
    match record:
        case BatchNorm(name=name):
            scale, bias = values
            none = np.zeros_like(scale)
            return BatchNorm(name, none, np.ones_like(scale), 0.0, scale, bias)
        case TipRMSNorm():
            return replace(record, gamma=values[0], beta=values[1])
        case _:
            return replace(record, weights=values[0])
