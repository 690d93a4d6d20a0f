"""What a KataGo net computes: one walk over its records, in the words of `Operations`.

Source: KataGo's cpp/neuralnet/eigenbackend.cpp and onnxmodelbuilder.cpp. Raw outputs, for the side
to move; see `tensors`. Adding a kind of block is one function here and its line in `_BLOCKS`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Generic, TypeVar

import numpy as np

from orchestrator.pipeline.katago.net import (
    Activation,
    AttentionBlock,
    BatchNorm,
    Conv,
    FeedForwardBlock,
    FixedRope,
    GlobalPoolingBlock,
    LearnedRope,
    MatMul,
    NestedBottleneckBlock,
    OrdinaryBlock,
)
from orchestrator.pipeline.tensors import Inputs, Outputs

if TYPE_CHECKING:
    from collections.abc import Callable

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.net import Act, Bias, Block, MetaEncoder, Net, TipRMSNorm
    from orchestrator.pipeline.operations import Operations

    Floats = NDArray[np.float32]

T = TypeVar("T")
L = TypeVar("L", Conv, MatMul)

# Added to the scores of keys off the board: beyond what softmax tells from 0, within FP16's range.
OFF_BOARD = 3e4
# Above this mish(x) and x are the same number, in FP32 and in FP16 below FP16's overflow.
MISH_IS_LINEAR = {"fp32": 20.0, "fp16": 5.0}
BOARD_LENGTHS = range(2, 20)


@dataclass(frozen=True, slots=True)
class Shape:
    """What an artifact is made for.

    `height` and `width` are those of its tensors. A masked one takes any board up to that, put into
    the top left corner; an exact one takes that board only, and is faster. `optimism` blends the
    policy with the optimistic policy, 0 to 1; nets before version 12 have none. `softplus` False
    leaves out Softplus, which WebGPU and NPUs lack.
    """

    height: int = 19
    width: int = 19
    masked: bool = True
    optimism: float = 0.0
    softplus: bool = True

    @property
    def points(self) -> int:
        """Points of the board."""
        return self.height * self.width


def forward(
    net: Net, ops: Operations[T], inputs: Inputs[T], shape: Shape, precision: str = "fp32"
) -> Outputs[T]:
    """The raw outputs of the net. `precision` is that which `ops.narrow` narrows to.

    Raises ValueError for a HumanSL net without `inputs.meta`.
    """
    walk = _Walk(net, ops, shape, inputs.spatial, MISH_IS_LINEAR[precision])
    walk.look_at_board()
    trunk = walk.trunk(inputs)
    policy = walk.policy(trunk)
    value, misc, ownership = walk.value(trunk)
    return Outputs(policy, value, misc, ops.tanh(ownership))


@dataclass(frozen=True, slots=True)
class _Board(Generic[T]):
    """What a masked net must know of the board of each row; all FP32.

    `mask` [N, 1, H, W]; `beyond` the same, 0 on the board and -1 off it; `share` [N, 1, 1, 1] of
    the points that are on the board; `width` [N, 1, 1, 1] is sqrt(points) - 14.
    """

    mask: T
    beyond: T
    share: T
    width: T


class _Walk(Generic[T]):
    """The walk over one net, with what all its layers share."""

    def __init__(
        self, net: Net, ops: Operations[T], shape: Shape, spatial: T, mish_is_linear: float
    ) -> None:
        self.net, self.ops, self.shape = net, ops, shape
        self.spatial = spatial
        self.mish_is_linear = mish_is_linear
        self.board: _Board[T] | None = None
        self.width = math.sqrt(shape.points) - 14
        self.wide = False

    def look_at_board(self) -> None:
        """Find out where the board of each row is, unless all of it is board."""
        if not self.shape.masked:
            return
        ops = self.ops
        mask = ops.part(self.spatial, 1, 0, 1)
        share = ops.mean(mask, (2, 3))
        points = self.scaled(share, self.shape.points, "board/points")
        width = self.shifted(ops.sqrt(points), -14.0, "board/width")
        self.board = _Board(mask, self.shifted(mask, -1.0, "board/beyond"), share, width)

    # The parts of a net.

    def trunk(self, inputs: Inputs[T]) -> T:
        trunk, ops = self.net.trunk, self.ops
        x = ops.conv(ops.narrow(inputs.spatial), trunk.initial_conv)
        bias = ops.linear(ops.narrow(inputs.global_), trunk.initial_mul)
        if trunk.meta is not None:
            if inputs.meta is None:
                raise ValueError(f"{self.net.name} takes input_meta")
            bias = ops.add(bias, self.meta(ops.narrow(inputs.meta), trunk.meta))
        x = ops.add(x, self.planes(bias, trunk.initial_mul))
        for block in trunk.blocks:
            x = self.block(x, block)
        x, self.wide = ops.widen(x), True
        if isinstance(trunk.tip_norm, BatchNorm):
            x = self.batch_norm(x, trunk.tip_norm)
        else:
            x = self.tip_rms_norm(x, trunk.tip_norm)
        return self.on_board(self.act(x, trunk.tip_act))

    def meta(self, x: T, encoder: MetaEncoder) -> T:
        ops = self.ops
        x = self.act(self.bias(ops.linear(x, encoder.mul1), encoder.bias1), encoder.act1)
        x = self.act(self.bias(ops.linear(x, encoder.mul2), encoder.bias2), encoder.act2)
        return ops.linear(x, encoder.mul3)

    def policy(self, x: T) -> T:
        """[N, H*W + 1]: the points' logits and the pass's."""
        ops, head = self.ops, self.net.policy
        g = self.norm_act(ops.conv(x, head.g1_conv), head.g1_norm, head.g1_act)
        pooled = self.pool(g, head.g1_conv, third=self.largest)
        bias = ops.linear(pooled, head.gpool_to_bias)
        p = ops.add(ops.conv(x, head.p1_conv), self.planes(bias, head.gpool_to_bias))
        p = self.norm_act(p, head.p1_norm, head.p1_act)
        p = ops.conv(p, self.blended(head.p2_conv))
        points = ops.reshape(p, (-1, self.shape.points))
        if head.pass_mul2 is None:
            skip = ops.linear(pooled, self.blended(head.gpool_to_pass))
        else:
            skip = ops.linear(pooled, head.gpool_to_pass)
            if head.pass_bias is not None:
                skip = self.bias(skip, head.pass_bias)
            if head.pass_act is not None:
                skip = self.act(skip, head.pass_act)
            skip = ops.linear(skip, self.blended(head.pass_mul2))
        return ops.concat([points, skip], 1)

    def value(self, x: T) -> tuple[T, T, T]:
        """Value logits [N, 3], misc [N, 4 or 6], ownership before tanh [N, 1, H, W]."""
        ops, head = self.ops, self.net.value
        v = self.norm_act(ops.conv(x, head.v1_conv), head.v1_norm, head.v1_act)
        pooled = self.pool(v, head.v1_conv, third=self.by_square)
        hidden = self.act(self.bias(ops.linear(pooled, head.v2_mul), head.v2_bias), head.v2_act)
        value = self.bias(ops.linear(hidden, head.v3_mul), head.v3_bias)
        misc = self.bias(ops.linear(hidden, head.sv3_mul), head.sv3_bias)
        return value, misc, ops.conv(v, head.ownership_conv)

    # The kinds of blocks.

    def block(self, x: T, block: Block) -> T:
        return _BLOCKS[type(block)](self, x, block)

    def ordinary(self, x: T, block: OrdinaryBlock) -> T:
        y = self.ops.conv(self.norm_act(x, block.norm1, block.act1), block.conv1)
        y = self.ops.conv(self.norm_act(y, block.norm2, block.act2), block.conv2)
        return self.ops.add(x, y)

    def global_pooling(self, x: T, block: GlobalPoolingBlock) -> T:
        ops = self.ops
        p = self.norm_act(x, block.pre_norm, block.pre_act)
        g = self.norm_act(ops.conv(p, block.gpool_conv), block.gpool_norm, block.gpool_act)
        pooled = self.pool(g, block.gpool_conv, third=self.largest)
        bias = ops.linear(pooled, block.gpool_to_bias)
        y = ops.add(ops.conv(p, block.regular_conv), self.planes(bias, block.gpool_to_bias))
        y = ops.conv(self.norm_act(y, block.mid_norm, block.mid_act), block.final_conv)
        return ops.add(x, y)

    def nested_bottleneck(self, x: T, block: NestedBottleneckBlock) -> T:
        y = self.ops.conv(self.norm_act(x, block.pre_norm, block.pre_act), block.pre_conv)
        for inner in block.blocks:
            y = self.block(y, inner)
        y = self.ops.conv(self.norm_act(y, block.post_norm, block.post_act), block.post_conv)
        return self.ops.add(x, y)

    def attention(self, x: T, block: AttentionBlock) -> T:
        ops, points = self.ops, self.shape.points
        group = block.heads // block.kv_heads
        t = self.rms_norm(x, block)
        q = self.heads(ops.linear(t, _query(block)), block.heads, block.qk_dim)
        k = self.heads(ops.linear(t, _key(block)), block.kv_heads, block.qk_dim)
        v = self.heads(ops.linear(t, block.value), block.kv_heads, block.v_dim)
        if block.rope is not None:
            frequencies = rope_frequencies(block)
            q = self.rotated(q, block, np.repeat(frequencies, group, 0))
            k = self.rotated(k, block, frequencies)
        # Queries that share a head of keys stand one behind the other: nothing is repeated.
        q = ops.reshape(q, (-1, block.kv_heads, group * points, block.qk_dim))
        scores = ops.matmul(q, ops.transpose(k, (0, 1, 3, 2)))
        if self.board is not None:
            keys = ops.reshape(self.board.beyond, (-1, 1, 1, points))
            keys = self.scaled(keys, OFF_BOARD, f"{block.name}/off_board")
            scores = ops.add(scores, ops.narrow(keys))
        y = ops.matmul(ops.softmax(scores), v)
        y = ops.reshape(y, (-1, block.heads, points, block.v_dim))
        y = ops.reshape(ops.transpose(y, (0, 2, 1, 3)), (-1, points, block.heads * block.v_dim))
        return self.residual(x, ops.linear(y, block.out), block.out)

    def feed_forward(self, x: T, block: FeedForwardBlock) -> T:
        ops = self.ops
        t = self.rms_norm(x, block)
        y = ops.linear(t, block.linear1)
        y = ops.multiply(y, ops.sigmoid(y))
        if block.gate is not None:
            y = ops.multiply(y, ops.linear(t, block.gate))
        return self.residual(x, ops.linear(y, block.linear2), block.linear2)

    # What blocks are made of.

    def norm_act(self, x: T, norm: BatchNorm, act: Act) -> T:
        """Normalised, activated, 0 off the board."""
        return self.on_board(self.act(self.batch_norm(x, norm), act))

    def batch_norm(self, x: T, norm: BatchNorm) -> T:
        ops = self.ops
        factor, summand = (values.reshape(1, -1, 1, 1) for values in norm.merged)
        x = ops.multiply(x, ops.constant(factor, x, f"{norm.name}/scale"))
        return ops.add(x, ops.constant(summand, x, f"{norm.name}/bias"))

    def tip_rms_norm(self, x: T, norm: TipRMSNorm) -> T:
        ops = self.ops
        gamma, beta = (values.reshape(1, -1, 1, 1) for values in (norm.gamma, norm.beta))
        square = ops.multiply(x, x)
        if norm.spatial:
            square = ops.mean(self.on_board(square), (1, 2, 3))
            if self.board is not None:
                square = ops.divide(square, self.board.share)
        else:
            square = ops.mean(square, (1,))
        x = ops.divide(x, ops.sqrt(self.shifted(square, norm.epsilon, f"{norm.name}/epsilon")))
        x = ops.multiply(x, ops.constant(gamma, x, f"{norm.name}/gamma"))
        return ops.add(x, ops.constant(beta, x, f"{norm.name}/beta"))

    def rms_norm(self, x: T, block: AttentionBlock | FeedForwardBlock) -> T:
        """[N, H*W, C], normalised over the channels; statistics in FP32."""
        ops, norm = self.ops, block.norm
        channels = norm.weights.shape[0]
        x = ops.reshape(ops.transpose(x, (0, 2, 3, 1)), (-1, self.shape.points, channels))
        x = ops.widen(x)
        square = ops.mean(ops.multiply(x, x), (2,))
        x = ops.divide(x, ops.sqrt(self.shifted(square, norm.epsilon, f"{norm.name}/epsilon")))
        x = ops.multiply(x, ops.constant(norm.weights, x, f"{norm.name}/weight"))
        if self.board is not None:
            x = ops.multiply(x, ops.reshape(self.board.mask, (-1, self.shape.points, 1)))
        return ops.narrow(x)

    def act(self, x: T, act: Act) -> T:
        ops = self.ops
        match act.kind:
            case Activation.IDENTITY:
                return x
            case Activation.RELU:
                return ops.relu(x)
            case Activation.SILU:
                return ops.multiply(x, ops.sigmoid(x))
            case Activation.MISH:
                return self.mish(x, act.name)

    def mish(self, x: T, name: str) -> T:
        """X * tanh(softplus(x)); without softplus as x * n / (n + 2), n = e^x (e^x + 2)."""
        ops = self.ops
        if self.shape.softplus:
            return ops.multiply(x, ops.tanh(ops.softplus(x)))
        e = ops.exp(ops.minimum(x, self.mish_is_linear))
        n = ops.multiply(e, self.shifted(e, 2.0, f"{name}/two"))
        return ops.multiply(x, ops.divide(n, self.shifted(n, 2.0, f"{name}/two_more")))

    def pool(self, x: T, conv: Conv, third: Callable[[T, T], T]) -> T:
        """[N, 3C] of masked planes [N, C, H, W]: mean, mean by the board's width, and a third.

        `conv` is what the planes came from.
        """
        ops = self.ops
        mean = ops.mean(x, (2, 3))
        if self.board is not None:
            mean = ops.divide(mean, self.here(self.board.share))
        pooled = ops.concat([mean, self.by_width(mean), third(x, mean)], 1)
        return ops.reshape(pooled, (-1, 3 * conv.weights.shape[3]))

    def by_width(self, mean: T) -> T:
        """Mean * (sqrt(points) - 14) * 0.1."""
        if self.board is None:
            return self.scaled(mean, self.width * 0.1, "board/width")
        width = self.scaled(self.board.width, 0.1, "board/tenth")
        return self.ops.multiply(mean, self.here(width))

    def by_square(self, x: T, mean: T) -> T:  # noqa: ARG002 - as `largest`
        """Mean * ((sqrt(points) - 14)^2 * 0.01 - 0.1)."""
        if self.board is None:
            return self.scaled(mean, self.width**2 * 0.01 - 0.1, "board/square")
        square = self.ops.multiply(self.board.width, self.board.width)
        square = self.scaled(square, 0.01, "board/hundredth")
        return self.ops.multiply(mean, self.here(self.shifted(square, -0.1, "board/tenth_less")))

    def largest(self, x: T, mean: T) -> T:  # noqa: ARG002 - as `by_square`
        """The largest on-board number of each plane; activations are above -1."""
        if self.board is not None:
            x = self.ops.add(x, self.here(self.board.beyond))
        return self.ops.maximum(x, (2, 3))

    def blended(self, layer: L) -> L:
        """The layer with the one policy channel that is asked for."""
        weights = layer.weights[..., :1]
        if self.shape.optimism and layer.weights.shape[-1] > 1:
            optimistic = layer.weights[..., 1:2]
            weights = weights + np.float32(self.shape.optimism) * (optimistic - weights)
        return replace(layer, weights=weights)

    def residual(self, x: T, y: T, layer: MatMul) -> T:
        """`x` [N, C, H, W] plus `y` [N, H*W, C], which came from `layer`, where the board is."""
        channels = layer.weights.shape[1]
        y = self.ops.transpose(y, (0, 2, 1))
        y = self.ops.reshape(y, (-1, channels, self.shape.height, self.shape.width))
        return self.ops.add(x, self.on_board(y))

    def heads(self, x: T, heads: int, dim: int) -> T:
        """[N, H*W, heads * dim] as [N, heads, H*W, dim]."""
        x = self.ops.reshape(x, (-1, self.shape.points, heads, dim))
        return self.ops.transpose(x, (0, 2, 1, 3))

    def rotated(self, x: T, block: AttentionBlock, frequencies: Floats) -> T:
        """`x` [N, heads, H*W, dim], each pair (p, p + dim/2) turned by its point's angle.

        `frequencies` [heads, pairs, (x, y)]. The angles are computed, not stored: tables of all
        points would be up to half of a transformer's file.
        """
        ops, half = self.ops, block.qk_dim // 2
        angles = self.angles(frequencies, f"{block.name}/{frequencies.shape[0]}")
        cos, sin = ops.narrow(ops.cos(angles)), ops.narrow(ops.sin(angles))
        a, b = ops.part(x, 3, 0, half), ops.part(x, 3, half, 2 * half)
        first = ops.subtract(ops.multiply(a, cos), ops.multiply(b, sin))
        second = ops.add(ops.multiply(a, sin), ops.multiply(b, cos))
        return ops.concat([first, second], 3)

    def angles(self, frequencies: Floats, name: str) -> T:
        """The sums x * fx + y * fy in FP32: [heads, H*W, pairs]."""
        ops, wide = self.ops, self.spatial
        y, x = divmod(np.arange(self.shape.points, dtype=np.float32), self.shape.width)
        terms = [
            ops.multiply(
                ops.constant(place[None, :, None], wide, f"board/{axis}"),
                ops.constant(frequencies[:, None, :, number], wide, f"{name}/{axis}"),
            )
            for number, (axis, place) in enumerate((("x", x), ("y", y)))
        ]
        return ops.add(*terms)

    def on_board(self, x: T) -> T:
        """`x` [N, C, H, W] with 0 off the board."""
        return x if self.board is None else self.ops.multiply(x, self.here(self.board.mask))

    def planes(self, x: T, layer: MatMul) -> T:
        """`x` [N, C], which came from `layer`, as [N, C, 1, 1], to be added to planes."""
        return self.ops.reshape(x, (-1, layer.weights.shape[1], 1, 1))

    def bias(self, x: T, layer: Bias) -> T:
        return self.ops.add(x, self.ops.constant(layer.weights, x, layer.name))

    def here(self, x: T) -> T:
        """An FP32 `x` in the precision that the walk is in."""
        return x if self.wide else self.ops.narrow(x)

    def scaled(self, x: T, factor: float, name: str) -> T:
        return self.ops.multiply(x, self.ops.constant(np.array([factor], np.float32), x, name))

    def shifted(self, x: T, summand: float, name: str) -> T:
        return self.ops.add(x, self.ops.constant(np.array([summand], np.float32), x, name))


_BLOCKS: dict[type, Callable[[_Walk[Any], Any, Any], Any]] = {
    OrdinaryBlock: _Walk.ordinary,
    GlobalPoolingBlock: _Walk.global_pooling,
    NestedBottleneckBlock: _Walk.nested_bottleneck,
    AttentionBlock: _Walk.attention,
    FeedForwardBlock: _Walk.feed_forward,
}


def rope_frequencies(block: AttentionBlock) -> Floats:
    """Radians for each step along x and y: [kv heads, pairs, (x, y)].

    Fixed ones: the first half of the pairs turns by y, the second by x, pair i of a half with
    theta^-(2i / (dim / 2)).
    """
    match block.rope:
        case LearnedRope(frequencies=frequencies):
            return frequencies
        case FixedRope(theta=theta):
            i = np.arange(block.qk_dim // 4)
            frequency = theta ** -(2 * i / (block.qk_dim / 2))
            none = np.zeros_like(frequency)
            pairs = np.stack([np.append(none, frequency), np.append(frequency, none)], axis=1)
            return np.broadcast_to(pairs, (block.kv_heads, *pairs.shape)).astype(np.float32)
        case None:
            raise ValueError(f"{block.name} has no rotary embedding")


def _query(block: AttentionBlock) -> MatMul:
    """The queries' layer with 1 / sqrt(dim) in it, pairs apart."""
    scale = np.float32(1 / math.sqrt(block.qk_dim))
    return replace(block.query, weights=_pairs_apart(block.query.weights, block) * scale)


def _key(block: AttentionBlock) -> MatMul:
    return replace(block.key, weights=_pairs_apart(block.key.weights, block))


def _pairs_apart(weights: Floats, block: AttentionBlock) -> Floats:
    """Columns of each head in the order 0, 2, 4 ... 1, 3, 5 ...: pairs (2p, 2p+1) come to (p, p+n).

    Queries and keys in the same new order have the same products.
    """
    if block.rope is None:
        return weights
    heads = weights.reshape(weights.shape[0], -1, block.qk_dim // 2, 2)
    return np.ascontiguousarray(heads.transpose(0, 1, 3, 2).reshape(weights.shape))
