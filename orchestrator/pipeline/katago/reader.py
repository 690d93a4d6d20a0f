"""Reads the nets that KataGo trains and publishes, versions 8 to 17.

Source of the format: KataGo's cpp/neuralnet/desc.cpp and python/export_model_pytorch.py. A net that
is read fits together: each layer takes the channels that the one before gives.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

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
from orchestrator.pipeline.katago.tokens import Tokens

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from orchestrator.pipeline.katago.net import Block

NAMES_ACTIVATIONS = 11
HAS_OPTIMISTIC_POLICY = 12
STORES_POST_PROCESS = 13
HAS_TRUNK_EXTRAS = 15
HAS_Q_VALUES = 16
HAS_HEAD_EXTRAS = 17
FIRST_VERSION = VERSIONS[0]

LARGEST_KERNEL = 37
LARGEST_DILATION = 19
MOST_BLOCKS = 4096
DEEPEST_NESTING = 8

TOO_NEW = "It was made for a newer KataGo; use another net, of version 8 to 17."

# How a file's name says what it holds: (suffix, packed by gzip, weights are binary).
FILE_KINDS = (
    (".bin.gz", True, True),
    (".txt.gz", True, False),
    (".gz", True, True),
    (".bin", False, True),
    (".txt", False, False),
)


def read(path: Path) -> Net:
    """The net that a `.bin.gz`, `.bin`, `.txt.gz` or `.txt` file holds.

    A name that says `.gz` alone is tried as binary, then as text, as KataGo does. Raises
    ModelError for a file that is not there, is no net, is cut short, goes on after the net, or
    whose layers do not fit together. Takes memory for the weights and at most 2 MiB more.
    """
    packed, binary = kind_of(path)
    try:
        return _read(path, packed=packed, binary=binary)
    except ModelError as as_binary:
        if path.name.endswith(".bin.gz") or not (packed and binary):
            raise
        try:
            return _read(path, packed=True, binary=False)
        except ModelError:
            raise as_binary from None


def kind_of(path: Path) -> tuple[bool, bool]:
    """Whether a file of this name is packed by gzip, and whether its weights are binary.

    Raises ModelError for a name that says neither.
    """
    for suffix, packed, binary in FILE_KINDS:
        if path.name.endswith(suffix):
            return packed, binary
    raise ModelError(
        f"{path.name}: the name does not say what kind of net it is",
        hint="KataGo's nets are named .bin.gz, .txt.gz, .bin or .txt.",
    )


def _read(path: Path, *, packed: bool, binary: bool) -> Net:
    with Tokens(path, packed=packed, binary=binary) as tokens:
        net = _Reader(tokens).net()
        tokens.end()
    return net


class _Reader:
    """Reads the records of one file; each method returns what it read."""

    def __init__(self, tokens: Tokens) -> None:
        self.tokens = tokens
        self.version = 0
        self.blocks = 0

    def net(self) -> Net:
        tokens = self.tokens
        name = tokens.word("the net's name")
        self.version = tokens.integer("the version", least=0)
        if self.version not in VERSIONS:
            tokens.fail(
                f"is of version {self.version}",
                hint=f"Versions {VERSIONS[0]} to {VERSIONS[-1]} can be read; use another net.",
            )
        tokens.same("the number of spatial inputs", SPATIAL_INPUTS)
        tokens.same("the number of global inputs", GLOBAL_INPUTS)
        post_process = self.post_process()
        has_meta, prefers_pass_alive = False, False
        if self.version >= HAS_TRUNK_EXTRAS:
            has_meta = tokens.flag("the version of the meta encoder")
            prefers_pass_alive = tokens.flag("preferPassAliveUnderSuicideRules")
            self.unused(6)
        trunk = self.trunk(has_meta=has_meta)
        policy = self.policy(trunk.channels)
        value = self.value(trunk.channels)
        return Net(name, self.version, trunk, policy, value, post_process, prefers_pass_alive)

    def post_process(self) -> PostProcess:
        if self.version < STORES_POST_PROCESS:
            return PostProcess()
        return PostProcess(*(self.tokens.positive("a factor of the outputs") for _ in range(7)))

    def unused(self, count: int) -> None:
        """Numbers that are kept for later versions and must be 0."""
        for _ in range(count):
            number = self.tokens.integer("an unused number", least=0)
            if number:
                self.tokens.fail(f"expected an unused number to be 0, found {number}", hint=TOO_NEW)

    # The parts of a net.

    def trunk(self, *, has_meta: bool) -> Trunk:
        tokens = self.tokens
        name = tokens.name("trunk")
        count = tokens.integer("the number of blocks", most=MOST_BLOCKS)
        channels = tokens.integer("the trunk's channels")
        mid, regular = tokens.integer("the mid channels"), tokens.integer("the regular channels")
        dilated = tokens.integer("the dilated channels", least=0)
        gpool = tokens.integer("the global pooling channels")
        rms_tip = False
        if self.version >= HAS_TRUNK_EXTRAS:
            rms_tip = tokens.flag("the kind of the trunk's last norm")
            self.unused(5)
        initial_conv = self.conv(SPATIAL_INPUTS, channels)
        initial_mul = self.matmul(GLOBAL_INPUTS, channels)
        meta = self.meta(channels) if has_meta else None
        blocks = tuple(self.block(channels, 0) for _ in range(count))
        tip = self.tip_rms_norm(channels) if rms_tip else self.norm(channels)
        return Trunk(
            name,
            mid,
            regular,
            dilated,
            gpool,
            initial_conv,
            initial_mul,
            meta,
            blocks,
            tip,
            self.act(),
        )

    def meta(self, channels: int) -> MetaEncoder:
        name = self.tokens.name("meta encoder")
        self.tokens.same("the number of meta inputs", META_INPUTS)
        mul1 = self.matmul(META_INPUTS)
        bias1, act1 = self.bias(_outputs(mul1)), self.act()
        mul2 = self.matmul(_outputs(mul1))
        bias2, act2 = self.bias(_outputs(mul2)), self.act()
        mul3 = self.matmul(_outputs(mul2), channels)
        return MetaEncoder(name, mul1, bias1, act1, mul2, bias2, act2, mul3)

    def policy(self, channels: int) -> PolicyHead:
        name = self.tokens.name("policy head")
        outputs = self.policy_outputs()
        p1_conv, g1_conv = self.conv(channels), self.conv(channels)
        p1, g1 = _outputs(p1_conv), _outputs(g1_conv)
        g1_norm, g1_act = self.norm(g1), self.act()
        gpool_to_bias = self.matmul(3 * g1, p1)
        p1_norm, p1_act = self.norm(p1), self.act()
        p2_conv = self.conv(p1, outputs)
        parts = (name, p1_conv, g1_conv, g1_norm, g1_act, gpool_to_bias, p1_norm, p1_act, p2_conv)
        if self.version < HAS_TRUNK_EXTRAS:
            return PolicyHead(*parts, self.matmul(3 * g1, outputs))
        gpool_to_pass, bias, act = self.matmul(3 * g1, p1), self.bias(p1), self.act()
        return PolicyHead(*parts, gpool_to_pass, bias, act, self.matmul(p1, outputs))

    def policy_outputs(self) -> int:
        if self.version < HAS_OPTIMISTIC_POLICY:
            return 1
        if self.version < HAS_HEAD_EXTRAS:
            return 4 if self.version == HAS_Q_VALUES else 2
        outputs = self.tokens.integer("the number of policies")
        if outputs not in {2, 4}:
            self.tokens.fail(f"expected 2 or 4 policies, found {outputs}", hint=TOO_NEW)
        self.unused(3)
        return outputs

    def value(self, channels: int) -> ValueHead:
        name = self.tokens.name("value head")
        if self.version >= HAS_HEAD_EXTRAS:
            self.unused(3)
        v1_conv = self.conv(channels)
        v1 = _outputs(v1_conv)
        v1_norm, v1_act = self.norm(v1), self.act()
        v2_mul = self.matmul(3 * v1)
        v2 = _outputs(v2_mul)
        misc = 4 if self.version == FIRST_VERSION else 6
        return ValueHead(
            name,
            v1_conv,
            v1_norm,
            v1_act,
            v2_mul,
            self.bias(v2),
            self.act(),
            self.matmul(v2, 3),
            self.bias(3),
            self.matmul(v2, misc),
            self.bias(misc),
            self.conv(v1, 1),
        )

    # The kinds of blocks.

    def block(self, channels: int, depth: int) -> Block:
        self.blocks += 1
        if self.blocks > MOST_BLOCKS:
            self.tokens.fail(f"there are more than {MOST_BLOCKS} blocks")
        kind = self.tokens.word("the kind of a block")
        if kind not in _BLOCKS:
            known = ", ".join(_BLOCKS)
            self.tokens.fail(
                f"is followed by a block of unknown kind {kind[:40]!r}", hint=f"Known are {known}."
            )
        return _BLOCKS[kind](self, channels, depth)

    def ordinary(self, channels: int, _depth: int) -> OrdinaryBlock:
        name = self.tokens.name("ordinary block")
        norm1, act1, conv1 = self.norm(channels), self.act(), self.conv(channels)
        mid = _outputs(conv1)
        norm2, act2, conv2 = self.norm(mid), self.act(), self.conv(mid, channels)
        return OrdinaryBlock(name, norm1, act1, conv1, norm2, act2, conv2)

    def global_pooling(self, channels: int, _depth: int) -> GlobalPoolingBlock:
        name = self.tokens.name("global pooling block")
        pre_norm, pre_act = self.norm(channels), self.act()
        regular_conv, gpool_conv = self.conv(channels), self.conv(channels)
        regular, gpool = _outputs(regular_conv), _outputs(gpool_conv)
        return GlobalPoolingBlock(
            name,
            pre_norm,
            pre_act,
            regular_conv,
            gpool_conv,
            self.norm(gpool),
            self.act(),
            self.matmul(3 * gpool, regular),
            self.norm(regular),
            self.act(),
            self.conv(regular, channels),
        )

    def nested_bottleneck(self, channels: int, depth: int) -> NestedBottleneckBlock:
        name = self.tokens.name("nested bottleneck block")
        if depth >= DEEPEST_NESTING:
            self.tokens.fail(f"blocks are nested more than {DEEPEST_NESTING} deep")
        count = self.tokens.integer("the number of inner blocks", most=MOST_BLOCKS)
        pre_norm, pre_act, pre_conv = self.norm(channels), self.act(), self.conv(channels)
        mid = _outputs(pre_conv)
        blocks = tuple(self.block(mid, depth + 1) for _ in range(count))
        post_norm, post_act, post_conv = self.norm(mid), self.act(), self.conv(mid, channels)
        return NestedBottleneckBlock(
            name, pre_norm, pre_act, pre_conv, blocks, post_norm, post_act, post_conv
        )

    def attention(self, channels: int, _depth: int) -> AttentionBlock:
        tokens = self.tokens
        name = tokens.name("attention block")
        heads, kv_heads = tokens.integer("the number of heads"), tokens.integer("the key heads")
        if heads % kv_heads:
            tokens.fail(f"{heads} heads cannot share {kv_heads} heads of keys and values")
        qk_dim, v_dim = tokens.integer("the key dimension"), tokens.integer("the value dimension")
        has_rope = tokens.flag("whether it has RoPE")
        learned = tokens.flag("whether RoPE is learned")
        norm = self.rms_norm(channels)
        query = self.matmul(channels, heads * qk_dim)
        key = self.matmul(channels, kv_heads * qk_dim)
        value = self.matmul(channels, kv_heads * v_dim)
        out = self.matmul(heads * v_dim, channels)
        rope = None
        if has_rope:
            rope = self.learned_rope(kv_heads, qk_dim) if learned else self.fixed_rope(qk_dim)
        return AttentionBlock(
            name, heads, kv_heads, qk_dim, v_dim, norm, query, key, value, out, rope
        )

    def learned_rope(self, kv_heads: int, qk_dim: int) -> LearnedRope:
        tokens = self.tokens
        name = tokens.name("learned RoPE")
        if qk_dim % 2:
            tokens.fail(f"the key dimension, {qk_dim}, must be even")
        tokens.same("the number of key heads", kv_heads)
        tokens.same("the number of pairs", qk_dim // 2)
        tokens.same("the number of axes", 2)
        return LearnedRope(name, tokens.floats(kv_heads, qk_dim // 2, 2))

    def fixed_rope(self, qk_dim: int) -> FixedRope:
        name = self.tokens.name("fixed RoPE")
        if qk_dim % 4:
            self.tokens.fail(f"the key dimension, {qk_dim}, must be a multiple of 4")
        return FixedRope(name, self.tokens.positive("theta"))

    def feed_forward(self, channels: int, _depth: int) -> FeedForwardBlock:
        tokens = self.tokens
        name = tokens.name("feed-forward block")
        tokens.same("the block's channels", channels)
        hidden = tokens.integer("the hidden channels")
        gated = tokens.flag("whether it has a gate")
        norm, linear1 = self.rms_norm(channels), self.matmul(channels, hidden)
        gate = self.matmul(channels, hidden) if gated else None
        return FeedForwardBlock(name, norm, linear1, gate, self.matmul(hidden, channels))

    # Layers. A count that is None is the file's to say.

    def conv(self, inputs: int, outputs: int | None = None) -> Conv:
        tokens = self.tokens
        name = tokens.name("convolution")
        height, width = (tokens.integer("the kernel", most=LARGEST_KERNEL) for _ in range(2))
        if not height % 2 or not width % 2:
            tokens.fail(f"expected a kernel of odd sizes, found {height} x {width}")
        tokens.same("input channels", inputs)
        outputs = self.count("output channels", outputs)
        down, across = (tokens.integer("the dilation", most=LARGEST_DILATION) for _ in range(2))
        return Conv(name, tokens.floats(height, width, inputs, outputs), (down, across))

    def matmul(self, inputs: int, outputs: int | None = None) -> MatMul:
        tokens = self.tokens
        name = tokens.name("matrix")
        tokens.same("input channels", inputs)
        return MatMul(name, tokens.floats(inputs, self.count("output channels", outputs)))

    def bias(self, channels: int) -> Bias:
        name = self.tokens.name("bias")
        return Bias(name, self.tokens.floats(self.tokens.same("channels", channels)))

    def norm(self, channels: int) -> BatchNorm:
        tokens = self.tokens
        name = tokens.name("batch norm")
        tokens.same("channels", channels)
        epsilon = tokens.positive("epsilon")
        has_scale, has_bias = tokens.flag("whether it scales"), tokens.flag("whether it has a bias")
        mean, variance = tokens.floats(channels), tokens.floats(channels)
        if (variance < 0).any():
            tokens.fail("holds a variance below 0")
        scale = tokens.floats(channels) if has_scale else None
        bias = tokens.floats(channels) if has_bias else None
        return BatchNorm(name, mean, variance, epsilon, scale, bias)

    def tip_rms_norm(self, channels: int) -> TipRMSNorm:
        tokens = self.tokens
        name = tokens.name("RMS norm")
        tokens.same("channels", channels)
        epsilon = tokens.positive("epsilon")
        spatial = tokens.flag("whether it is spatial")
        if tokens.integer("the size of a group of channels", least=0):
            tokens.fail("norms groups of channels", hint=TOO_NEW)
        return TipRMSNorm(name, epsilon, spatial, tokens.floats(channels), tokens.floats(channels))

    def rms_norm(self, channels: int) -> RMSNorm:
        name = self.tokens.name("RMS norm")
        self.tokens.same("channels", channels)
        return RMSNorm(name, self.tokens.positive("epsilon"), self.tokens.floats(channels))

    def act(self) -> Act:
        name = self.tokens.name("activation")
        if self.version < NAMES_ACTIVATIONS:
            return Act(name, Activation.RELU)
        kind = self.tokens.word("the kind of activation")
        try:
            return Act(name, Activation(kind))
        except ValueError:
            known = ", ".join(Activation)
            self.tokens.fail(f"is of unknown kind {kind[:40]!r}", hint=f"Known are {known}.")

    def count(self, what: str, expected: int | None) -> int:
        return self.tokens.integer(what) if expected is None else self.tokens.same(what, expected)


_BLOCKS: dict[str, Callable[[_Reader, int, int], Block]] = {
    "ordinary_block": _Reader.ordinary,
    "gpool_block": _Reader.global_pooling,
    "nested_bottleneck_block": _Reader.nested_bottleneck,
    "transformer_attention_block": _Reader.attention,
    "transformer_ffn_block": _Reader.feed_forward,
}


def _outputs(layer: Conv | MatMul) -> int:
    return int(layer.weights.shape[-1])
