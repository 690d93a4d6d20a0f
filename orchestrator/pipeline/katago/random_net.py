"""Small nets of random weights, of every version and kind, that KataGo loads and runs in a moment.

They play nonsense, but calmly: no output is saturated, so that a wrong layer shows in the answers.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline.katago.net import (
    GLOBAL_INPUTS,
    META_INPUTS,
    SPATIAL_INPUTS,
    VERSIONS,
    Act,
    Activation,
    AttentionBlock,
    BatchNorm,
    Bias,
    Conv,
    FeedForwardBlock,
    FixedRope,
    GlobalPoolingBlock,
    LearnedRope,
    MatMul,
    MetaEncoder,
    NestedBottleneckBlock,
    Net,
    OrdinaryBlock,
    PolicyHead,
    PostProcess,
    RMSNorm,
    TipRMSNorm,
    Trunk,
    ValueHead,
)
from orchestrator.pipeline.katago.reader import (
    FIRST_VERSION,
    HAS_OPTIMISTIC_POLICY,
    HAS_Q_VALUES,
    HAS_TRUNK_EXTRAS,
    NAMES_ACTIVATIONS,
    STORES_POST_PROCESS,
)

if TYPE_CHECKING:
    from orchestrator.pipeline.katago.net import Block, Floats

# What one word of `kind` puts into the trunk, one block after the other.
KINDS = {
    "ordinary": ("ordinary",),
    "gpool": ("gpool",),
    "nested": ("nested",),
    "transformer": ("attention", "feed-forward"),
    "transformer-fixed": ("attention-fixed", "feed-forward"),
    "transformer-learned": ("attention-learned", "feed-forward"),
    "transformer-ungated": ("attention", "feed-forward-ungated"),
    "nested-transformer": ("nested-transformer",),
}
TIPS = ("batch", "rms", "rms-spatial")

# KataGo's OpenCL wants one dimension of values for all of a net.
QK_DIM, V_DIM = 8, 4
CHANNEL_STEP = 8
ROPE_THETA = 100.0
EXPORTED_EPSILON = 1e-20
NORM_EPSILON = 1e-3
RMS_EPSILON = 1e-6
# How much of its size a block adds to the trunk.
RESIDUAL = 0.5


def random_net(
    *,
    seed: int,
    version: int = 14,
    kind: str = "ordinary",
    channels: int = 16,
    blocks: int = 2,
    activation: Activation | None = None,
    tip: str = "batch",
    policies: int | None = None,
    meta: bool = False,
    prefers_pass_alive: bool = False,
    name: str = "random",
) -> Net:
    """A net of `version` 8 to 17; the same arguments give the same net.

    `kind` is a word of `KINDS`, or several joined by `+`, which take turns until there are `blocks`
    of them: "ordinary", "gpool", "nested" (an ordinary and a global pooling block inside),
    "transformer" (attention without positions, then feed-forward), "transformer-fixed" and
    "transformer-learned" (by kind of RoPE; the latter's heads share keys), "transformer-ungated"
    (only NumPy and exporters run it, KataGo does not), "nested-transformer". `channels` is a
    multiple of 8. `activation` is the version's usual one unless given. `tip` is the trunk's last
    norm: "batch", "rms" or "rms-spatial"; `meta` adds a HumanSL encoder; both need version 15.
    `policies` is 2 or 4 and chooses in version 17 only. Raises ModelError for what does not go
    together.
    """
    _check(version, kind, channels, tip, meta=meta)
    words = kind.split("+")
    draw = _Draw(seed, version, activation or _usual_activation(version, kind, tip))
    kinds = [part for turn in range(blocks) for part in KINDS[words[turn % len(words)]]]
    trunk = draw.trunk(kinds, channels, tip, meta=meta)
    policy = draw.policy(channels, policies or _policies(version))
    post_process = PostProcess()
    if version >= STORES_POST_PROCESS:
        post_process = PostProcess(shortterm_score_error=150.0)
    value = draw.value(channels)
    return Net(name, version, trunk, policy, value, post_process, prefers_pass_alive)


def _check(version: int, kind: str, channels: int, tip: str, *, meta: bool) -> None:
    extras = meta or tip != "batch"
    for wrong, message in (
        (version not in VERSIONS, f"no net of version {version} can be made"),
        (not set(kind.split("+")) <= KINDS.keys(), f"no kind of block is called {kind!r}"),
        (
            channels < CHANNEL_STEP or channels % CHANNEL_STEP,
            f"{channels} channels are no multiple of 8",
        ),
        (tip not in TIPS, f"no norm is called {tip!r}"),
        (extras and version < HAS_TRUNK_EXTRAS, f"version {version} has no RMS norm, no meta"),
    ):
        if wrong:
            kinds, tips = ", ".join(KINDS), ", ".join(TIPS)
            raise ModelError(message, hint=f"Kinds are {kinds}; tips are {tips}; versions 8 to 17.")


def _usual_activation(version: int, kind: str, tip: str) -> Activation:
    """What KataGo trains such nets with; its OpenCL has an RMS tip with SiLU and ReLU only."""
    if version < NAMES_ACTIVATIONS:
        return Activation.RELU
    return Activation.SILU if tip != "batch" or "transformer" in kind else Activation.MISH


def _policies(version: int) -> int:
    if version < HAS_OPTIMISTIC_POLICY:
        return 1
    return 4 if version == HAS_Q_VALUES else 2


class _Draw:
    """Draws the records of one net. `gain` 1 keeps the size of what goes through a ReLU."""

    def __init__(self, seed: int, version: int, activation: Activation) -> None:
        self.rng = np.random.default_rng(seed)
        self.version = version
        self.activation = activation

    # The parts of a net.

    def trunk(self, kinds: list[str], channels: int, tip: str, *, meta: bool) -> Trunk:
        stem, stem_global = self.conv("stem", 3, SPATIAL_INPUTS, channels), self.globals(channels)
        encoder = self.meta(channels) if meta else None
        blocks = tuple(self.block(f"block{i}", kind, channels) for i, kind in enumerate(kinds))
        half = channels // 2
        last = self.norm("tip", channels) if tip == "batch" else self.tip(channels, tip)
        return Trunk(
            "trunk",
            channels,
            half,
            half,
            half,
            stem,
            stem_global,
            encoder,
            blocks,
            last,
            self.act("tip_act"),
        )

    def globals(self, channels: int) -> MatMul:
        return self.matmul("stem_global", GLOBAL_INPUTS, channels)

    def meta(self, channels: int) -> MetaEncoder:
        return MetaEncoder(
            "meta",
            self.matmul("meta_mul1", META_INPUTS, channels),
            self.bias("meta_bias1", channels),
            self.act("meta_act1"),
            self.matmul("meta_mul2", channels, channels),
            self.bias("meta_bias2", channels),
            self.act("meta_act2"),
            self.matmul("meta_mul3", channels, channels, gain=0.5),
        )

    def policy(self, channels: int, outputs: int) -> PolicyHead:
        head = PolicyHead(
            "policy",
            self.conv("p1", 1, channels, channels),
            self.conv("g1", 1, channels, channels),
            self.biased("g1_norm", channels),
            self.act("g1_act"),
            self.matmul("g1_bias", 3 * channels, channels),
            self.biased("p1_norm", channels),
            self.act("p1_act"),
            self.conv("p2", 1, channels, outputs),
            self.matmul("pass", 3 * channels, outputs, gain=0.1),
        )
        if self.version < HAS_TRUNK_EXTRAS:
            return head
        return replace(
            head,
            gpool_to_pass=self.matmul("pass", 3 * channels, channels),
            pass_bias=self.bias("pass_bias", channels),
            pass_act=self.act("pass_act"),
            pass_mul2=self.matmul("pass2", channels, outputs, gain=0.1),
        )

    def value(self, channels: int) -> ValueHead:
        misc = 4 if self.version == FIRST_VERSION else 6
        return ValueHead(
            "value",
            self.conv("v1", 1, channels, channels),
            self.biased("v1_norm", channels),
            self.act("v1_act"),
            self.matmul("v2", 3 * channels, channels),
            self.bias("v2_bias", channels),
            self.act("v2_act"),
            self.matmul("v3", channels, 3, gain=0.4),
            self.bias("v3_bias", 3),
            self.matmul("sv3", channels, misc, gain=0.2),
            self.bias("sv3_bias", misc),
            self.conv("ownership", 1, channels, 1, gain=0.4),
        )

    # The kinds of blocks.

    def block(self, name: str, kind: str, channels: int) -> Block:
        match kind:
            case "ordinary":
                return self.ordinary(name, channels)
            case "gpool":
                return self.gpool(name, channels)
            case "nested":
                return self.nested(name, channels, ("ordinary", "gpool"))
            case "nested-transformer":
                return self.nested(name, channels, ("attention-learned", "feed-forward"))
            case "feed-forward" | "feed-forward-ungated":
                return self.feed_forward(name, channels, gated=kind == "feed-forward")
        return self.attention(name, channels, kind)

    def ordinary(self, name: str, channels: int) -> OrdinaryBlock:
        return OrdinaryBlock(
            name,
            self.norm(f"{name}_norm1", channels),
            self.act(f"{name}_act1"),
            self.conv(f"{name}_conv1", 3, channels, channels),
            self.norm(f"{name}_norm2", channels),
            self.act(f"{name}_act2"),
            self.conv(f"{name}_conv2", 3, channels, channels, RESIDUAL),
        )

    def gpool(self, name: str, channels: int) -> GlobalPoolingBlock:
        half = channels // 2
        return GlobalPoolingBlock(
            name,
            self.norm(f"{name}_pre_norm", channels),
            self.act(f"{name}_pre_act"),
            self.conv(f"{name}_regular", 3, channels, half),
            self.conv(f"{name}_gpool", 3, channels, half),
            self.norm(f"{name}_gpool_norm", half),
            self.act(f"{name}_gpool_act"),
            self.matmul(f"{name}_gpool_bias", 3 * half, half),
            self.norm(f"{name}_mid_norm", half),
            self.act(f"{name}_mid_act"),
            self.conv(f"{name}_final", 3, half, channels, RESIDUAL),
        )

    def nested(self, name: str, channels: int, inner: tuple[str, ...]) -> NestedBottleneckBlock:
        half = channels // 2
        return NestedBottleneckBlock(
            name,
            self.norm(f"{name}_pre_norm", channels),
            self.act(f"{name}_pre_act"),
            self.conv(f"{name}_pre_conv", 1, channels, half),
            tuple(self.block(f"{name}.{i}", kind, half) for i, kind in enumerate(inner)),
            self.norm(f"{name}_post_norm", half),
            self.act(f"{name}_post_act"),
            self.conv(f"{name}_post_conv", 1, half, channels, RESIDUAL),
        )

    def attention(self, name: str, channels: int, kind: str) -> AttentionBlock:
        learned = kind == "attention-learned"
        heads, kv_heads = (4, 2) if learned else (2, 2)
        block = AttentionBlock(
            name,
            heads,
            kv_heads,
            QK_DIM,
            V_DIM,
            self.rms_norm(f"{name}_norm", channels),
            self.matmul(f"{name}_query", channels, heads * QK_DIM),
            self.matmul(f"{name}_key", channels, kv_heads * QK_DIM),
            self.matmul(f"{name}_value", channels, kv_heads * V_DIM),
            self.matmul(f"{name}_out", heads * V_DIM, channels, RESIDUAL),
        )
        if learned:
            frequencies = self.floats((kv_heads, QK_DIM // 2, 2), 0.5)
            return replace(block, rope=LearnedRope(f"{name}_rope", frequencies))
        if kind == "attention-fixed":
            return replace(block, rope=FixedRope(f"{name}_rope", ROPE_THETA))
        return block

    def feed_forward(self, name: str, channels: int, *, gated: bool) -> FeedForwardBlock:
        hidden = 2 * channels
        return FeedForwardBlock(
            name,
            self.rms_norm(f"{name}_norm", channels),
            self.matmul(f"{name}_linear1", channels, hidden),
            self.matmul(f"{name}_gate", channels, hidden) if gated else None,
            self.matmul(f"{name}_linear2", hidden, channels, RESIDUAL / 2),
        )

    # Layers.

    def conv(self, name: str, size: int, inputs: int, outputs: int, gain: float = 1.0) -> Conv:
        spread = gain * np.sqrt(2 / (size * size * inputs))
        return Conv(name, self.floats((size, size, inputs, outputs), spread))

    def matmul(self, name: str, inputs: int, outputs: int, gain: float = 1.0) -> MatMul:
        return MatMul(name, self.floats((inputs, outputs), gain * np.sqrt(2 / inputs)))

    def bias(self, name: str, channels: int) -> Bias:
        return Bias(name, self.floats((channels,), 0.2))

    def norm(self, name: str, channels: int) -> BatchNorm:
        mean, bias = self.floats((channels,), 0.2), self.floats((channels,), 0.4)
        variance, scale = self.around_one(channels), self.around_one(channels)
        return BatchNorm(name, mean, variance, NORM_EPSILON, scale, bias)

    def biased(self, name: str, channels: int) -> BatchNorm:
        """A norm that only adds a bias, as the exporter writes it."""
        zeros, ones = np.zeros(channels, np.float32), np.ones(channels, np.float32)
        bias = self.floats((channels,), 0.4)
        return BatchNorm(name, zeros, ones, EXPORTED_EPSILON, None, bias)

    def tip(self, channels: int, kind: str) -> TipRMSNorm:
        gamma, beta = self.around_one(channels), self.floats((channels,), 0.4)
        return TipRMSNorm("tip", RMS_EPSILON, kind == "rms-spatial", gamma, beta)

    def rms_norm(self, name: str, channels: int) -> RMSNorm:
        return RMSNorm(name, RMS_EPSILON, self.around_one(channels))

    def act(self, name: str) -> Act:
        return Act(name, self.activation)

    def around_one(self, channels: int) -> Floats:
        return self.rng.uniform(0.7, 1.4, channels).astype(np.float32)

    def floats(self, shape: tuple[int, ...], spread: float) -> Floats:
        return self.rng.normal(0.0, spread, shape).astype(np.float32)
