"""Writes nets as files that KataGo loads and `reader` reads back bit for bit.

Records stand in the file in the order of their fields: a kind word for blocks, the name, sizes,
then what they hold. The bytes depend on the net and the kind of file alone, and those of a binary
file, unpacked, are the exporter's own (KataGo's python/export_model_pytorch.py).
"""

from __future__ import annotations

import contextlib
import gzip
import os
import tempfile
from dataclasses import astuple, fields, is_dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.files import PUBLIC
from orchestrator.pipeline.katago.net import (
    GLOBAL_INPUTS,
    META_INPUTS,
    SPATIAL_INPUTS,
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
    OrdinaryBlock,
    PolicyHead,
    PostProcess,
    RMSNorm,
    TipRMSNorm,
    Trunk,
    ValueHead,
)
from orchestrator.pipeline.katago.reader import (
    HAS_HEAD_EXTRAS,
    HAS_TRUNK_EXTRAS,
    NAMES_ACTIVATIONS,
    STORES_POST_PROCESS,
    kind_of,
)
from orchestrator.pipeline.katago.tokens import MARK

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.pipeline.katago.net import Floats, Net

# Weights hardly pack: more effort takes time and saves nothing.
PACKING = 1
FLOATS_A_PIECE = 1 << 16

_KINDS: dict[type, str] = {
    OrdinaryBlock: "ordinary_block",
    GlobalPoolingBlock: "gpool_block",
    NestedBottleneckBlock: "nested_bottleneck_block",
    AttentionBlock: "transformer_attention_block",
    FeedForwardBlock: "transformer_ffn_block",
}


def write(net: Net, path: Path) -> None:
    """Put the net at `path`, whose name says how: `.bin.gz`, `.bin`, `.txt.gz` or `.txt`.

    A name that says `.gz` alone is written as binary. Whoever opens the path sees the old file or
    the whole new one. Raises ModelError for another name, a file that cannot be written, a weight
    that is not finite, and what a file of the net's version has no place for.
    """
    packed, binary = kind_of(path)
    _check(net)
    try:
        with _whole_file(path) as file:
            if packed:
                with gzip.GzipFile("", "wb", PACKING, file, mtime=0) as stream:
                    _Writer(net.version, stream, binary=binary).net(net)
            else:
                _Writer(net.version, file, binary=binary).net(net)
    except OSError as exc:
        raise ModelError(f"{path} cannot be written: {exc.strerror or exc}") from exc


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[BinaryIO]:
    """A file that comes to be at `path` once all of it is written."""
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            yield file
            os.fchmod(handle, PUBLIC)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise


def records(part: Any) -> Iterator[Any]:
    """Every record that `part` holds, itself included, in the order of the file."""
    yield part
    for child in _children(part):
        if is_dataclass(child):
            yield from records(child)


def _children(record: Any) -> Iterator[Any]:
    """The arrays and records of a record."""
    for field in fields(record):
        value = getattr(record, field.name)
        for child in value if isinstance(value, tuple) else (value,):
            if isinstance(child, np.ndarray) or (
                is_dataclass(child) and not isinstance(child, PostProcess)
            ):
                yield child


def _check(net: Net) -> None:
    version = net.version
    needs = (
        (
            NAMES_ACTIVATIONS,
            "other activations than ReLU",
            any(
                record.kind is not Activation.RELU
                for record in records(net)
                if isinstance(record, Act)
            ),
        ),
        (STORES_POST_PROCESS, "factors of the outputs", net.post_process != PostProcess()),
        (HAS_TRUNK_EXTRAS, "a meta encoder", net.has_meta),
        (HAS_TRUNK_EXTRAS, "an RMS norm", isinstance(net.trunk.tip_norm, TipRMSNorm)),
        (HAS_TRUNK_EXTRAS, "preferPassAliveUnderSuicideRules", net.prefers_pass_alive),
    )
    for first, what, has in needs:
        if has and version < first:
            raise ModelError(
                f"{net.name}: a net of version {version} cannot hold {what}",
                hint=f"Make it version {first} or later.",
            )


class _Writer:
    """Writes the records of one net."""

    def __init__(self, version: int, out: Any, *, binary: bool) -> None:
        self.version = version
        self.out: BinaryIO = out
        self.floats = self.binary_floats if binary else self.text_floats

    def net(self, net: Net) -> None:
        self.name(net.name)
        self.words(net.version, SPATIAL_INPUTS, GLOBAL_INPUTS)
        if net.version >= STORES_POST_PROCESS:
            self.words(*map(float, astuple(net.post_process)))
        if net.version >= HAS_TRUNK_EXTRAS:
            self.words(int(net.has_meta), int(net.prefers_pass_alive), *[0] * 6)
        for part in (net.trunk, net.policy, net.value):
            self.record(part)

    def record(self, record: Any) -> None:
        kind = _KINDS.get(type(record))
        if kind:
            self.words(kind)
        self.name(record.name)
        self.words(*_SIZES[type(record)](record, self.version))
        for child in _children(record):
            if not isinstance(child, np.ndarray):
                self.record(child)
            elif np.isfinite(child).all():
                self.floats(child)
            else:
                raise ModelError(f"{record.name} holds a weight that is NaN or infinite")

    def name(self, name: str) -> None:
        if not name.isascii() or name.split() != [name]:
            raise ModelError(f"{name!r} cannot be a name in a net: it is no ASCII word")
        self.words(name)

    def words(self, *words: object) -> None:
        self.out.write("".join(f"{word}\n" for word in words).encode())

    def binary_floats(self, values: Floats) -> None:
        self.out.write(MARK)
        self.out.write(np.ascontiguousarray(values, "<f4").data.cast("B"))
        self.out.write(b"\n")

    def text_floats(self, values: Floats) -> None:
        """Nine digits, which tell all float32 apart."""
        flat = values.reshape(-1)
        for start in range(0, len(flat), FLOATS_A_PIECE):
            piece = flat[start : start + FLOATS_A_PIECE].tolist()
            self.out.write(b" ".join(b"%.9g" % value for value in piece) + b"\n")


def _attention_sizes(block: AttentionBlock) -> tuple[int, ...]:
    rope = (int(block.rope is not None), int(isinstance(block.rope, LearnedRope)))
    return (block.heads, block.kv_heads, block.qk_dim, block.v_dim, *rope)


def _trunk_sizes(trunk: Trunk, version: int) -> tuple[int, ...]:
    widths = (trunk.channels, trunk.mid, trunk.regular, trunk.dilated, trunk.gpool)
    counts = (len(trunk.blocks), *widths)
    if version < HAS_TRUNK_EXTRAS:
        return counts
    return (*counts, int(isinstance(trunk.tip_norm, TipRMSNorm)), 0, 0, 0, 0, 0)


# What stands between the name of a record and its first float or inner record.
_SIZES: dict[type, Callable[[Any, int], tuple[object, ...]]] = {
    Act: lambda act, version: (act.kind.value,) if version >= NAMES_ACTIVATIONS else (),
    Conv: lambda conv, _: (*conv.weights.shape, *conv.dilation),
    MatMul: lambda layer, _: layer.weights.shape,
    Bias: lambda layer, _: layer.weights.shape,
    BatchNorm: lambda norm, _: (
        len(norm.mean),
        float(norm.epsilon),
        int(norm.scale is not None),
        int(norm.bias is not None),
    ),
    TipRMSNorm: lambda norm, _: (len(norm.gamma), float(norm.epsilon), int(norm.spatial), 0),
    RMSNorm: lambda norm, _: (len(norm.weights), float(norm.epsilon)),
    LearnedRope: lambda rope, _: rope.frequencies.shape,
    FixedRope: lambda rope, _: (float(rope.theta),),
    OrdinaryBlock: lambda *_: (),
    GlobalPoolingBlock: lambda *_: (),
    NestedBottleneckBlock: lambda block, _: (len(block.blocks),),
    AttentionBlock: lambda block, _: _attention_sizes(block),
    FeedForwardBlock: lambda block, _: (*block.linear1.weights.shape, int(block.gate is not None)),
    MetaEncoder: lambda *_: (META_INPUTS,),
    Trunk: _trunk_sizes,
    PolicyHead: lambda head, version: (
        (head.p2_conv.weights.shape[3], 0, 0, 0) if version >= HAS_HEAD_EXTRAS else ()
    ),
    ValueHead: lambda _, version: (0, 0, 0) if version >= HAS_HEAD_EXTRAS else (),
}
