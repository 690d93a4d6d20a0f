"""A KataGo net as its file describes it: records in the order of the file, weights as stored.

Source of the format: KataGo's cpp/neuralnet/desc.cpp and python/export_model_pytorch.py. Arrays are
float32 and have the shapes of the file; nothing is transposed or merged.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float32]

SPATIAL_INPUTS = 22
GLOBAL_INPUTS = 19
META_INPUTS = 192
VERSIONS = range(8, 18)


class Activation(StrEnum):
    """What a layer's output goes through; the names are those of the file."""

    IDENTITY = "ACTIVATION_IDENTITY"
    RELU = "ACTIVATION_RELU"
    MISH = "ACTIVATION_MISH"
    SILU = "ACTIVATION_SILU"


@dataclass(frozen=True, slots=True)
class Act:
    """An activation record. Files of version 10 and before name none: it is ReLU."""

    name: str
    kind: Activation


@dataclass(frozen=True, slots=True)
class Conv:
    """A convolution without bias, padded to keep the size; `weights` [kY, kX, in, out]."""

    name: str
    weights: Floats
    dilation: tuple[int, int] = (1, 1)


@dataclass(frozen=True, slots=True)
class MatMul:
    """A linear layer, y = x @ weights; `weights` [in, out]."""

    name: str
    weights: Floats


@dataclass(frozen=True, slots=True)
class Bias:
    """A bias record; `weights` [C]."""

    name: str
    weights: Floats


@dataclass(frozen=True, slots=True)
class BatchNorm:
    """(x - mean) / sqrt(variance + epsilon) * scale + bias; all [C], the last two may be absent."""

    name: str
    mean: Floats
    variance: Floats
    epsilon: float
    scale: Floats | None = None
    bias: Floats | None = None

    @property
    def merged(self) -> tuple[Floats, Floats]:
        """Factor and summand [C] that say the same; survives an epsilon of 1e-20."""
        scale = np.float32(1) if self.scale is None else self.scale
        factor = scale / np.sqrt(self.variance + np.float32(self.epsilon))
        bias = np.float32(0) if self.bias is None else self.bias
        return factor.astype(np.float32), (bias - factor * self.mean).astype(np.float32)


@dataclass(frozen=True, slots=True)
class TipRMSNorm:
    """The trunk's last norm in place of a BatchNorm; `gamma`, `beta` [C].

    The mean square is taken over the channels of each point, or, when `spatial`, over channels
    and on-board points together.
    """

    name: str
    epsilon: float
    spatial: bool
    gamma: Floats
    beta: Floats


@dataclass(frozen=True, slots=True)
class RMSNorm:
    """The norm before attention and feed-forward, over the channels of a point; `weights` [C]."""

    name: str
    epsilon: float
    weights: Floats


@dataclass(frozen=True, slots=True)
class OrdinaryBlock:
    """x + conv2(act2(norm2(conv1(act1(norm1(x))))))."""

    name: str
    norm1: BatchNorm
    act1: Act
    conv1: Conv
    norm2: BatchNorm
    act2: Act
    conv2: Conv


@dataclass(frozen=True, slots=True)
class GlobalPoolingBlock:
    """A residual block whose middle is biased by global pooling of `gpool_conv`."""

    name: str
    pre_norm: BatchNorm
    pre_act: Act
    regular_conv: Conv
    gpool_conv: Conv
    gpool_norm: BatchNorm
    gpool_act: Act
    gpool_to_bias: MatMul
    mid_norm: BatchNorm
    mid_act: Act
    final_conv: Conv


@dataclass(frozen=True, slots=True)
class NestedBottleneckBlock:
    """1x1 down, blocks in the narrow space, 1x1 up, residual around all of it."""

    name: str
    pre_norm: BatchNorm
    pre_act: Act
    pre_conv: Conv
    blocks: tuple[Block, ...]
    post_norm: BatchNorm
    post_act: Act
    post_conv: Conv


@dataclass(frozen=True, slots=True)
class FixedRope:
    """Rotary position embedding of fixed frequencies theta^-(2i / (dim / 2))."""

    name: str
    theta: float


@dataclass(frozen=True, slots=True)
class LearnedRope:
    """Rotary position embedding of learned ones; `frequencies` [kv heads, pairs, (x, y)]."""

    name: str
    frequencies: Floats


@dataclass(frozen=True, slots=True)
class AttentionBlock:
    """Pre-norm self-attention over the points, `heads` queries sharing `kv_heads` keys, values."""

    name: str
    heads: int
    kv_heads: int
    qk_dim: int
    v_dim: int
    norm: RMSNorm
    query: MatMul
    key: MatMul
    value: MatMul
    out: MatMul
    rope: FixedRope | LearnedRope | None = None


@dataclass(frozen=True, slots=True)
class FeedForwardBlock:
    """Pre-norm x + (silu(t @ linear1) * (t @ gate)) @ linear2; without `gate` that factor is 1."""

    name: str
    norm: RMSNorm
    linear1: MatMul
    gate: MatMul | None
    linear2: MatMul


Block = (
    OrdinaryBlock | GlobalPoolingBlock | NestedBottleneckBlock | AttentionBlock | FeedForwardBlock
)


@dataclass(frozen=True, slots=True)
class MetaEncoder:
    """What turns the 192 inputs of a HumanSL net into a bias of the trunk."""

    name: str
    mul1: MatMul
    bias1: Bias
    act1: Act
    mul2: MatMul
    bias2: Bias
    act2: Act
    mul3: MatMul


@dataclass(frozen=True, slots=True)
class Trunk:
    """What both heads share. `mid`, `regular`, `dilated`, `gpool` are channel counts as stored."""

    name: str
    mid: int
    regular: int
    dilated: int
    gpool: int
    initial_conv: Conv
    initial_mul: MatMul
    meta: MetaEncoder | None
    blocks: tuple[Block, ...]
    tip_norm: BatchNorm | TipRMSNorm
    tip_act: Act

    @property
    def channels(self) -> int:
        """Channels of the trunk."""
        return int(self.initial_conv.weights.shape[3])


@dataclass(frozen=True, slots=True)
class PolicyHead:
    """Logits of moves and pass; `pass_bias`, `pass_act`, `pass_mul2` come with version 15."""

    name: str
    p1_conv: Conv
    g1_conv: Conv
    g1_norm: BatchNorm
    g1_act: Act
    gpool_to_bias: MatMul
    p1_norm: BatchNorm
    p1_act: Act
    p2_conv: Conv
    gpool_to_pass: MatMul
    pass_bias: Bias | None = None
    pass_act: Act | None = None
    pass_mul2: MatMul | None = None


@dataclass(frozen=True, slots=True)
class ValueHead:
    """Game result, score and ownership."""

    name: str
    v1_conv: Conv
    v1_norm: BatchNorm
    v1_act: Act
    v2_mul: MatMul
    v2_bias: Bias
    v2_act: Act
    v3_mul: MatMul
    v3_bias: Bias
    sv3_mul: MatMul
    sv3_bias: Bias
    ownership_conv: Conv


@dataclass(frozen=True, slots=True)
class PostProcess:
    """What the engine multiplies the raw outputs with (version 13 and later store it)."""

    td_score: float = 20.0
    score_mean: float = 20.0
    score_stdev: float = 20.0
    lead: float = 20.0
    variance_time: float = 40.0
    shortterm_value_error: float = 0.25
    shortterm_score_error: float = 30.0


@dataclass(frozen=True, slots=True)
class Net:
    """A whole net. `prefers_pass_alive` is `preferPassAliveUnderSuicideRules` of the header."""

    name: str
    version: int
    trunk: Trunk
    policy: PolicyHead
    value: ValueHead
    post_process: PostProcess = field(default_factory=PostProcess)
    prefers_pass_alive: bool = False

    @property
    def has_meta(self) -> bool:
        """Whether it takes `input_meta`, as HumanSL nets do."""
        return self.trunk.meta is not None

    @property
    def policy_channels(self) -> int:
        """1, 2 (with optimistic policy) or 4 (with Q values)."""
        return int(self.policy.p2_conv.weights.shape[3])

    @property
    def misc_channels(self) -> int:
        """4 for version 8, 6 for later ones."""
        return int(self.value.sv3_mul.weights.shape[1])
