"""Nets of KataGo's own are read whole, and nets of every kind of file alike."""

from __future__ import annotations

import gzip
import tracemalloc
from collections import Counter

import numpy as np
import pytest

from orchestrator.pipeline.katago.net import (
    Activation,
    AttentionBlock,
    BatchNorm,
    FixedRope,
    LearnedRope,
    NestedBottleneckBlock,
    TipRMSNorm,
)
from orchestrator.pipeline.katago.random_net import random_net
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.katago.writer import records, write
from tests import nets

CONV, GPOOL, NESTED = "OrdinaryBlock", "GlobalPoolingBlock", "NestedBottleneckBlock"
ATTENTION, FEED_FORWARD = "AttentionBlock", "FeedForwardBlock"


def floats(net):
    """How many floats the net's file holds."""
    arrays = (
        getattr(record, name)
        for record in records(net)
        for name in getattr(record, "__slots__", ())
        if isinstance(getattr(record, name), np.ndarray)
    )
    return sum(array.size for array in arrays)


def blocks(net):
    """How often each kind of block is in the net, inner blocks included."""
    kinds = Counter(type(record).__name__ for record in records(net))
    return {kind: count for kind, count in kinds.items() if kind.endswith("Block")}


@pytest.mark.parametrize(
    ("file", "version", "count", "kinds"),
    [
        (nets.B6C96, 8, 1_030_599, {CONV: 4, GPOOL: 2}),
        (nets.FIXED_ROPE, 17, 819_145, {ATTENTION: 7, FEED_FORWARD: 7}),
        (nets.LEARNED_ROPE, 17, 852_265, {ATTENTION: 7, FEED_FORWARD: 7}),
    ],
)
def test_a_real_net_is_read_whole(file, version, count, kinds):
    net = read(nets.real_net(file))
    assert net.version == version
    assert file.startswith(net.name)
    assert floats(net) == count
    assert blocks(net) == kinds
    assert net.trunk.channels == 96
    assert not net.has_meta
    assert (net.policy_channels, net.misc_channels) == ((1, 4) if version == 8 else (2, 6))


def test_a_net_of_nested_transformers_out_of_a_wheel():
    path = nets.wheel_net(*nets.B10C384H6NBTTFLRS)
    tracemalloc.start()
    net = read(path)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert floats(net) == 10_557_657
    assert blocks(net) == {NESTED: 10, ATTENTION: 20, FEED_FORWARD: 20}
    assert net.version == 15
    assert net.trunk.tip_norm.spatial
    assert net.trunk.tip_act.kind is Activation.SILU
    assert peak < 4 * floats(net) + 8 * 2**20


def test_convolutions_and_norms_are_as_stored():
    net = read(nets.real_net(nets.B6C96))
    assert net.trunk.initial_conv.weights.shape == (5, 5, 22, 96)
    assert net.trunk.initial_mul.weights.shape == (19, 96)
    norm = net.trunk.blocks[0].norm1
    assert isinstance(norm, BatchNorm)
    assert norm.epsilon == 1e-20
    assert norm.scale is None
    assert net.trunk.tip_act.kind is Activation.RELU
    assert net.post_process.shortterm_score_error == 30
    factor, summand = norm.merged
    assert np.isfinite(factor).all()
    assert np.isfinite(summand).all()


def test_attention_of_fixed_rope_and_rms_tip():
    net = read(nets.real_net(nets.FIXED_ROPE))
    attention = net.trunk.blocks[0]
    assert isinstance(attention, AttentionBlock)
    assert (attention.heads, attention.kv_heads, attention.qk_dim, attention.v_dim) == (
        3,
        3,
        32,
        32,
    )
    assert attention.rope == FixedRope("model.blocks.0.rope_theta", 100.0)
    assert isinstance(net.trunk.tip_norm, TipRMSNorm)
    assert not net.trunk.tip_norm.spatial
    assert net.post_process.shortterm_score_error == 150


def test_attention_of_shared_keys_and_learned_rope():
    net = read(nets.real_net(nets.LEARNED_ROPE))
    attention = net.trunk.blocks[0]
    assert (attention.heads, attention.kv_heads, attention.qk_dim, attention.v_dim) == (
        6,
        3,
        32,
        16,
    )
    assert isinstance(attention.rope, LearnedRope)
    assert attention.rope.frequencies.shape == (3, 16, 2)
    assert attention.key.weights.shape == (96, 96)
    assert attention.value.weights.shape == (96, 48)
    assert isinstance(net.trunk.tip_norm, BatchNorm)
    assert net.trunk.tip_act.kind is Activation.RELU


def test_blocks_inside_blocks():
    net = random_net(seed=1, kind="nested+nested-transformer")
    nested, transformer = net.trunk.blocks
    assert isinstance(nested, NestedBottleneckBlock)
    assert [type(block).__name__ for block in nested.blocks] == [CONV, GPOOL]
    assert [type(block).__name__ for block in transformer.blocks] == [ATTENTION, FEED_FORWARD]


@pytest.mark.parametrize("suffix", [".bin.gz", ".bin", ".txt.gz", ".txt"])
def test_the_name_says_how_it_is_read(tmp_path, suffix):
    net = random_net(seed=1, version=15, kind="gpool+transformer-learned", meta=True, tip="rms")
    path = tmp_path / f"net.v1{suffix}"
    write(net, path)
    nets.assert_same(read(path), net)


@pytest.mark.parametrize("suffix", [".bin", ".txt"])
def test_a_name_of_gz_alone_is_tried_as_both(tmp_path, suffix):
    net = random_net(seed=1)
    write(net, tmp_path / f"net{suffix}")
    unnamed = tmp_path / "net.gz"
    unnamed.write_bytes(gzip.compress((tmp_path / f"net{suffix}").read_bytes()))
    nets.assert_same(read(unnamed), net)


def test_words_stand_between_any_whitespace(tmp_path):
    net = random_net(seed=1, kind="transformer-fixed")
    write(net, tmp_path / "net.txt")
    words = (tmp_path / "net.txt").read_text().split()
    (tmp_path / "net.txt").write_text("\t\r\n".join(words) + "  \n")
    nets.assert_same(read(tmp_path / "net.txt"), net)


@pytest.mark.parametrize(
    ("version", "activations", "factors", "policies", "misc"),
    [
        (8, False, False, 1, 4),
        (9, False, False, 1, 6),
        (10, False, False, 1, 6),
        (11, True, False, 1, 6),
        (12, True, False, 2, 6),
        (13, True, True, 2, 6),
        (14, True, True, 2, 6),
        (15, True, True, 2, 6),
        (16, True, True, 4, 6),
        (17, True, True, 2, 6),
    ],
)
def test_what_each_version_brought(tmp_path, version, activations, factors, policies, misc):
    write(random_net(seed=1, version=version), tmp_path / "net.txt")
    words = (tmp_path / "net.txt").read_text().split()
    assert ("ACTIVATION_MISH" in words) == activations
    assert (words[4:11] == ["20.0", "20.0", "20.0", "20.0", "40.0", "0.25", "150.0"]) == factors
    extras = [] if version < 15 else ["0"] * 8
    assert words[11 if factors else 4 :][: len(extras) + 1] == [*extras, "trunk"]
    assert ("pass_bias" in words) == (version >= 15)
    head = words.index("policy")
    assert (words[head + 1 : head + 5] == ["2", "0", "0", "0"]) == (version == 17)
    net = read(tmp_path / "net.txt")
    assert (net.policy_channels, net.misc_channels) == (policies, misc)
    assert net.post_process.shortterm_score_error == (150 if factors else 30)
    assert (net.trunk.tip_act.kind is Activation.MISH) == activations
