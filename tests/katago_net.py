"""KataGo nets for tests: tiny ones made from a seed, and damaged copies of given ones.

The format is KataGo's own (cpp/neuralnet/desc.cpp, python/export_model_pytorch.py): ASCII tokens,
and float blocks `@BIN@` + little-endian float32 whose length follows from the tokens before.
"""

from __future__ import annotations

import gzip
import re
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from pathlib import Path

MARK = b"@BIN@"
SPATIAL_INPUTS = 22
GLOBAL_INPUTS = 19
FIRST_WITH_ACTIVATION_NAMES = 11
FIRST_WITH_TWO_POLICIES = 12
FIRST_WITH_POST_PROCESS_PARAMS = 13


def tiny_net(
    path: Path, *, seed: int, version: int = 14, blocks: int = 2, channels: int = 16
) -> Path:
    """A net of random weights at `path` (`.bin.gz`), which KataGo loads in a moment.

    `version` is 8 (ReLU, one policy channel) to 14 (Mish, optimistic policy). The same seed gives
    the same bytes.
    """
    path.write_bytes(gzip.compress(_Writer(version, seed).net(blocks, channels), 1, mtime=0))
    return path


def scramble(source: Path, out: Path, *, seed: int = 1) -> Path:
    """A copy of `source` whose weights are permuted in each float block: loads, answers wrong."""
    data = gzip.decompress(source.read_bytes())
    rng = np.random.default_rng(seed)
    parts, end = [], 0
    for start, count in float_blocks(data):
        floats = np.frombuffer(data, "<f4", count, start)
        parts += [data[end:start], rng.permutation(floats).tobytes()]
        end = start + 4 * count
    parts.append(data[end:])
    out.write_bytes(gzip.compress(b"".join(parts), 1, mtime=0))
    return out


def float_blocks(data: bytes) -> list[tuple[int, int]]:
    """Offset and number of floats of every block of an unpacked net.

    The length of a block is a product of sizes among the tokens before it, or that of the block
    before (the statistics of a BatchNorm follow each other); the right one ends at a newline with
    nothing but ASCII up to the next block.
    """
    found: list[tuple[int, int]] = []
    at = data.find(MARK)
    text_start = 0
    while at >= 0:
        start = at + len(MARK)
        tokens = data[text_start:at].split()[-8:]
        sizes = [int(t) for t in tokens if re.fullmatch(rb"\d+", t)]
        candidates = {found[-1][1]} if found else set()
        for low in range(len(sizes)):
            product = 1
            for size in sizes[low:]:
                product *= size
                candidates.add(product)
        count, following = max(
            (n, nxt) for n in candidates if (nxt := _next_block(data, start + 4 * n)) is not None
        )
        found.append((start, count))
        text_start, at = start + 4 * count, following
    return found


def _next_block(data: bytes, end: int) -> int | None:
    """Offset of the next `@BIN@`, -1 at the end of the file; None when `end` ends no block."""
    if data[end : end + 1] != b"\n":
        return None
    following = data.find(MARK, end, end + 5000)
    between = data[end : following if following >= 0 else len(data)]
    if following < 0 and between.strip():
        return None
    return following if all(32 <= byte < 127 or byte == 10 for byte in between) else None


class _Writer:
    """Writes the records of a net, drawing weights as it goes."""

    def __init__(self, version: int, seed: int) -> None:
        self.version = version
        self.rng = np.random.default_rng(seed)
        self.parts: list[bytes] = []

    def net(self, blocks: int, channels: int) -> bytes:
        """The whole file, unpacked."""
        self.line("tiny", self.version, SPATIAL_INPUTS, GLOBAL_INPUTS)
        if self.version >= FIRST_WITH_POST_PROCESS_PARAMS:
            self.line(20.0, 20.0, 20.0, 20.0, 40.0, 0.25, 150.0)
        self.line("trunk", blocks, channels, channels, channels, channels, channels)
        self.conv("stem", 3, SPATIAL_INPUTS, channels)
        self.matmul("stem_global", GLOBAL_INPUTS, channels)
        for number in range(blocks):
            self.line("ordinary_block", f"block{number}")
            for half in "ab":
                name = f"block{number}{half}"
                self.norm(name, channels)
                self.activation(name)
                self.conv(name, 3, channels, channels)
        self.norm("tip", channels)
        self.activation("tip")
        self.policy_head(channels)
        self.value_head(channels)
        return b"".join(self.parts)

    def policy_head(self, channels: int) -> None:
        out = 2 if self.version >= FIRST_WITH_TWO_POLICIES else 1
        self.line("policy")
        self.conv("p1", 1, channels, channels)
        self.conv("g1", 1, channels, channels)
        self.norm("g1", channels)
        self.activation("g1")
        self.matmul("g2bias", 3 * channels, channels)
        self.norm("p1", channels)
        self.activation("p1")
        self.conv("p2", 1, channels, out, gain=4.0)
        self.matmul("pass", 3 * channels, out, gain=0.1)

    def value_head(self, channels: int) -> None:
        self.line("value")
        self.conv("v1", 1, channels, channels)
        self.norm("v1", channels)
        self.activation("v1")
        for name, inputs, outputs, gain in (
            ("v2", 3 * channels, channels, 1.0),
            ("v3", channels, 3, 2.0),
            ("sv3", channels, 4 if self.version == 8 else 6, 0.2),
        ):
            self.matmul(name, inputs, outputs, gain=gain)
            self.line(f"{name}_bias", outputs)
            self.floats(np.zeros(outputs))
            if name == "v2":
                self.activation(name)
        self.conv("ownership", 1, channels, 1)

    def line(self, *tokens: object) -> None:
        self.parts += [f"{token}\n".encode() for token in tokens]

    def floats(self, values: np.ndarray) -> None:
        self.parts += [MARK, values.astype("<f4").tobytes(), b"\n"]

    def conv(self, name: str, size: int, inputs: int, outputs: int, gain: float = 1.0) -> None:
        self.line(name, size, size, inputs, outputs, 1, 1)
        self.floats(gain * self.draw((size, size, inputs, outputs), size * size * inputs))

    def matmul(self, name: str, inputs: int, outputs: int, gain: float = 1.0) -> None:
        self.line(name, inputs, outputs)
        self.floats(gain * self.draw((inputs, outputs), inputs))

    def norm(self, name: str, channels: int) -> None:
        self.line(name, channels, 0.001, 1, 1)
        for values in (np.zeros, np.ones, np.ones):
            self.floats(values(channels))
        self.floats(self.draw((channels,), 10))

    def activation(self, name: str) -> None:
        self.line(name)
        if self.version >= FIRST_WITH_ACTIVATION_NAMES:
            self.line("ACTIVATION_MISH")

    def draw(self, shape: tuple[int, ...], fan_in: int) -> np.ndarray:
        return self.rng.normal(0.0, np.sqrt(2.0 / fan_in), shape)
