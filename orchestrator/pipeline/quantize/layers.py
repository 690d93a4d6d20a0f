"""The layers of a net that have weights, as the walk over it meets them."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from orchestrator.errors import ModelError
from orchestrator.pipeline.interpreters.numpy import NumpyOperations
from orchestrator.pipeline.katago.net import (
    GLOBAL_INPUTS,
    META_INPUTS,
    SPATIAL_INPUTS,
    Block,
    Conv,
    GlobalPoolingBlock,
    MatMul,
    NestedBottleneckBlock,
    Net,
)
from orchestrator.pipeline.katago.network import Shape, forward
from orchestrator.pipeline.tensors import Inputs

Floats = NDArray[np.float32]
Layer = Conv | MatMul

SMALL_BOARD = 5


def layers(net: Net, optimism: float = 0.0) -> dict[str, Layer]:
    """Convolutions and linear layers by name, in the order in which they are computed.

    Their weights are those that an artifact holds: policy channels blended, queries scaled.
    Raises ModelError for a net in which two layers have one name.
    """
    listing = _Listing(net.name)
    shape = Shape(SMALL_BOARD, SMALL_BOARD, masked=False, optimism=optimism)
    inputs = Inputs(
        np.ones((1, SPATIAL_INPUTS, SMALL_BOARD, SMALL_BOARD), np.float32),
        np.zeros((1, GLOBAL_INPUTS), np.float32),
        np.zeros((1, META_INPUTS), np.float32) if net.has_meta else None,
    )
    forward(net, listing, inputs, shape)
    return listing.found


def ends(net: Net) -> frozenset[str]:
    """The names of the layers of the stem and of both heads: what takes in, and what answers."""
    parts = [net.trunk.initial_conv, net.trunk.initial_mul]
    for record in (net.trunk.meta, net.policy, net.value):
        parts += [getattr(record, name) for name in getattr(record, "__dataclass_fields__", ())]
    return frozenset(part.name for part in parts if isinstance(part, Layer))


def pooled(net: Net) -> frozenset[str]:
    """The names of the small layers in the trunk that turn global pooling into a bias."""
    found: set[str] = set()
    blocks: list[Block] = list(net.trunk.blocks)
    while blocks:
        block = blocks.pop()
        if isinstance(block, NestedBottleneckBlock):
            blocks += block.blocks
        elif isinstance(block, GlobalPoolingBlock):
            found.add(block.gpool_to_bias.name)
    return frozenset(found)


def matrix(layer: Layer) -> Floats:
    """The weights as [inputs of one output, outputs]; a convolution's inputs are [kY, kX, in]."""
    return layer.weights.reshape(-1, layer.weights.shape[-1])


class _Listing(NumpyOperations):
    """Computes, and notes down the layers."""

    def __init__(self, net: str) -> None:
        self.found: dict[str, Layer] = {}
        self._net = net

    def conv(self, x: Floats, layer: Conv) -> Floats:
        self._note(layer)
        return super().conv(x, layer)

    def linear(self, x: Floats, layer: MatMul) -> Floats:
        self._note(layer)
        return super().linear(x, layer)

    def _note(self, layer: Layer) -> None:
        if layer.name in self.found:
            raise ModelError(
                f"{self._net} has two layers called {layer.name}, which INT8 cannot tell apart",
                hint="Build it in fp32 or fp16.",
            )
        self.found[layer.name] = layer
