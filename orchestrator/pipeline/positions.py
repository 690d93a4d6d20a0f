"""Positions that nets are asked about: rows of KataGo's V7 inputs, by board size.

Planes are 0 or 1 everywhere. A board smaller than an artifact's tensors lies in their top left
corner, as in KataGo's own buffers (cpp/neuralnet/nninputs.cpp, fillRowV7).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import TYPE_CHECKING

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline import humansl
from orchestrator.pipeline.position_files import Rows, read_rows, write_rows
from orchestrator.pipeline.tensors import Inputs, Outputs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.tensors import InputArrays, OutputArrays

# So many are read at once: 20,000 rows of 19x19 take 640 MB.
MOST_ROWS = 20_000


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """Rows of one board size; `inputs` are [N, 22, height, width], [N, 19] and [N, 192] or None."""

    height: int
    width: int
    inputs: InputArrays

    def __len__(self) -> int:
        return len(self.inputs.spatial)

    @property
    def board(self) -> str:
        """The size as Go has it, width first: `10x14` is 10 points wide."""
        return f"{self.width}x{self.height}"

    def rows(self, chosen: slice | NDArray[np.intp]) -> Batch:
        """Some of the rows."""
        meta = self.inputs.meta
        return Batch(
            self.height,
            self.width,
            Inputs(
                self.inputs.spatial[chosen],
                self.inputs.global_[chosen],
                None if meta is None else meta[chosen],
            ),
        )


@dataclass(frozen=True, slots=True, eq=False)
class Positions:
    """Batches, the smallest board first, no two of one size."""

    batches: tuple[Batch, ...]

    def __iter__(self) -> Iterator[Batch]:
        return iter(self.batches)

    def __len__(self) -> int:
        """The number of batches; `count` is that of positions."""
        return len(self.batches)

    @property
    def count(self) -> int:
        """The number of positions."""
        return sum(len(batch) for batch in self.batches)

    @property
    def boards(self) -> dict[str, int]:
        """How many positions there are of each board size."""
        return {batch.board: len(batch) for batch in self.batches}

    @property
    def sha256(self) -> str:
        """A digest of the numbers themselves, whatever file they came from."""
        digest = hashlib.sha256()
        for batch in self.batches:
            inputs = batch.inputs
            digest.update(f"{batch.board} {len(batch)} {inputs.meta is not None}\n".encode())
            for values in (inputs.spatial, inputs.global_, inputs.meta):
                if values is not None:
                    digest.update(np.ascontiguousarray(values, "<f4").tobytes())
        return digest.hexdigest()

    def fitting(self, shape: Shape | None) -> Positions:
        """Those that a net of this shape can be asked about; None: all of them."""
        return Positions(tuple(batch for batch in self.batches if fits(batch, shape)))


def standard() -> Positions:
    """The positions that artifacts are checked with: self-play on several boards and rules."""
    file = resources.files("orchestrator.pipeline") / "positions.npz"
    with resources.as_file(file) as path:
        return read(path)


def read(path: Path) -> Positions:
    """The positions in an .npz file.

    It holds KataGo's training rows (`binaryInputNCHWPacked` [N, 22, 46], `globalInputNC`), or one
    array set a board size: `spatialS` [N, 22, S, S] or, for S = HxW, [N, 22, H, W], its bits packed
    or not, `globalS` and perhaps `metaS`, as `write` saves it.

    Raises ModelError for a file that is none of these, or holds more than 20,000 rows.
    """
    return of_rows(read_rows(path, MOST_ROWS))


def write(path: Path, positions: Positions) -> None:
    """Save positions to an .npz file; the same positions give the same bytes."""
    write_rows(path, [Rows(b.height, b.width, b.inputs) for b in positions])


def of_rows(parts: list[Rows]) -> Positions:
    """Positions of rows in any order of boards, those of one size put together."""
    sizes = sorted({(part.height, part.width) for part in parts}, key=lambda s: (s[0] * s[1], s))
    merged = []
    for height, width in sizes:
        same = [part.inputs for part in parts if (part.height, part.width) == (height, width)]
        metas = [inputs.meta for inputs in same if inputs.meta is not None]
        if metas and len(metas) != len(same):
            raise ModelError("some of the positions have metaInputNC and some have not")
        inputs = Inputs(
            np.concatenate([part.spatial for part in same]),
            np.concatenate([part.global_ for part in same]),
            np.concatenate(metas) if metas else None,
        )
        merged.append(Batch(height, width, inputs))
    return Positions(tuple(merged))


def with_profiles(positions: Positions) -> Positions:
    """The positions with inputs of HumanSL nets where they have none: players of all ranks."""
    return Positions(
        tuple(batch if batch.inputs.meta is not None else _profiled(batch) for batch in positions)
    )


def halves(positions: Positions) -> tuple[Positions, Positions]:
    """The earlier and the later half of the rows of each board; the first has the odd one.

    Rows come game by game, so that the halves are of different games.
    """
    middles = [-(-len(batch) // 2) for batch in positions]
    cuts = [
        (batch.rows(slice(0, middle)), batch.rows(slice(middle, None)))
        for batch, middle in zip(positions, middles, strict=True)
    ]
    first, second = (tuple(part for part in half if len(part)) for half in zip(*cuts, strict=True))
    return Positions(first), Positions(second)


def without(positions: Positions, others: Positions) -> Positions:
    """The positions that are not among the others, whatever players HumanSL nets are told of.

    Raises ModelError where none is left.
    """
    known = {key for batch in others for key in _keys(batch)}
    found = []
    for batch in positions:
        new = np.array([key not in known for key in _keys(batch)])
        if new.any():
            found.append(batch if new.all() else batch.rows(np.flatnonzero(new)))
    if not found:
        raise ModelError(
            "every position to calibrate with is also one to check with",
            hint="Give other rows with --calibration, or other positions with --check.",
        )
    return Positions(tuple(found))


def fits(batch: Batch, shape: Shape | None) -> bool:
    """Whether a net of this shape can be asked about the board; None: about any."""
    if shape is None:
        return True
    if not shape.masked:
        return (batch.height, batch.width) == (shape.height, shape.width)
    return batch.height <= shape.height and batch.width <= shape.width


def framed(batch: Batch, shape: Shape) -> InputArrays:
    """The rows in the top left corner of planes [N, 22, shape.height, shape.width].

    Raises ModelError where the board does not fit.
    """
    if not fits(batch, shape):
        kind = "for any board up to" if shape.masked else "for boards of"
        raise ModelError(f"the net is {kind} {shape.width}x{shape.height}, not {batch.board}")
    inputs = batch.inputs
    if (batch.height, batch.width) == (shape.height, shape.width):
        return inputs
    rows, planes = inputs.spatial.shape[:2]
    spatial = np.zeros((rows, planes, shape.height, shape.width), np.float32)
    spatial[:, :, : batch.height, : batch.width] = inputs.spatial
    return Inputs(spatial, inputs.global_, inputs.meta)


def cropped(outputs: OutputArrays, batch: Batch, shape: Shape) -> OutputArrays:
    """What a net of this shape answered to `framed` rows, for the points of the board alone."""
    if (batch.height, batch.width) == (shape.height, shape.width):
        return outputs
    rows = len(outputs.policy)
    frame = outputs.policy[:, :-1].reshape(rows, shape.height, shape.width)
    moves = frame[:, : batch.height, : batch.width].reshape(rows, -1)
    policy = np.concatenate([moves, outputs.policy[:, -1:]], axis=1)
    ownership = outputs.ownership[:, :, : batch.height, : batch.width]
    return Outputs(policy, outputs.value, outputs.misc, ownership)


def _keys(batch: Batch) -> list[tuple[str, bytes, bytes]]:
    """What tells each row from all others."""
    spatial, global_ = batch.inputs.spatial, batch.inputs.global_
    return [
        (batch.board, np.packbits(planes != 0).tobytes(), values.astype("<f4").tobytes())
        for planes, values in zip(spatial, global_, strict=True)
    ]


def _profiled(batch: Batch) -> Batch:
    meta = humansl.profiles(len(batch), batch.height * batch.width)
    inputs = Inputs(batch.inputs.spatial, batch.inputs.global_, meta)
    return Batch(batch.height, batch.width, inputs)
