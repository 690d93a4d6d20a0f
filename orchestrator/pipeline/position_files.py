"""Positions in .npz files: KataGo's training rows, what its engine dumps, and our own sets.

Source of the first two: KataGo's cpp/dataio/trainingwrite.cpp and cpp/command/evalsgf.cpp.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator import files
from orchestrator.errors import ModelError
from orchestrator.pipeline.katago.net import GLOBAL_INPUTS, META_INPUTS, SPATIAL_INPUTS
from orchestrator.pipeline.katago.network import BOARD_LENGTHS
from orchestrator.pipeline.npz import HINT, Archive
from orchestrator.pipeline.tensors import Inputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from orchestrator.pipeline.tensors import InputArrays

    Bits = NDArray[np.uint8]
    Choose = Callable[[NDArray[np.intp]], NDArray[np.intp]]

TRAINING_LENGTH = 19
TRAINING_BYTES = 46  # 361 bits
TRAINING_ROW = SPATIAL_INPUTS * TRAINING_BYTES
LARGEST_ROW = 8 * SPATIAL_INPUTS * BOARD_LENGTHS[-1] ** 2  # planes of doubles


@dataclass(frozen=True, slots=True, eq=False)
class Rows:
    """Inputs of positions on one board size."""

    height: int
    width: int
    inputs: InputArrays


@dataclass(frozen=True, slots=True, eq=False)
class TrainingRows:
    """KataGo's training rows as their file has them, and the board (height, width) of each."""

    packed: Bits
    globals_: NDArray[np.float32]
    metas: NDArray[np.float32] | None
    boards: NDArray[np.intp]

    def of(self, chosen: NDArray[np.intp]) -> list[Rows]:
        """The chosen rows, a part for each board size."""
        parts = []
        for height, width in np.unique(self.boards[chosen], axis=0).tolist():
            rows = chosen[(self.boards[chosen] == (height, width)).all(axis=1)]
            spatial = _unpacked(self.packed[rows], TRAINING_LENGTH, TRAINING_LENGTH)
            board = spatial[:, :, :height, :width].astype(np.float32, order="C")
            meta = None if self.metas is None else self.metas[rows]
            parts.append(Rows(height, width, Inputs(board, self.globals_[rows], meta)))
        return parts


def read_rows(path: Path, most: int) -> list[Rows]:
    """All rows of an .npz file of any kind that is known here.

    Raises ModelError where it is of no such kind, damaged, or holds more than `most` rows.
    """
    arrays = Archive(path, largest=most * LARGEST_ROW)
    if "binaryInputNCHWPacked" in arrays:
        _few(arrays.sizes["binaryInputNCHWPacked"] // TRAINING_ROW, most, path)
        training = _training(arrays, path)
        return training.of(np.arange(len(training.packed)))
    if "binaryInputNCHW" in arrays:
        return [_dumped(arrays, path)]
    parts = list(_sized(arrays, path))
    if not parts:
        raise ModelError(f"{path} holds no positions: {arrays.told()}", hint=HINT)
    _few(sum(len(part.inputs.global_) for part in parts), most, path)
    return parts


def read_training(path: Path) -> TrainingRows:
    """KataGo's training rows, still packed.

    Raises ModelError where the file holds none.
    """
    arrays = Archive(path)
    if "binaryInputNCHWPacked" not in arrays:
        raise ModelError(f"{path} holds no training rows: {arrays.told()}", hint=HINT)
    return _training(arrays, path)


def write_rows(path: Path, parts: Sequence[Rows]) -> None:
    """Save rows, an array set for each part; the same rows give the same bytes.

    Raises ValueError for planes that are not of zeros and ones.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for part in parts:
        size, spatial = f"{part.height}x{part.width}", part.inputs.spatial
        if not _binary(spatial):
            raise ValueError("planes of positions are 0 or 1")
        bits = spatial.reshape(*spatial.shape[:2], -1).astype(np.uint8)
        arrays[f"spatial{size}"] = np.packbits(bits, axis=2)
        arrays[f"global{size}"] = part.inputs.global_.astype("<f4")
        if part.inputs.meta is not None:
            arrays[f"meta{size}"] = part.inputs.meta.astype("<f4")
    out = io.BytesIO()
    np.savez_compressed(out, allow_pickle=False, **arrays)
    files.write_atomically(path, out.getvalue(), durable=False)


def _training(arrays: Archive, path: Path) -> TrainingRows:
    packed = arrays.get("binaryInputNCHWPacked")
    wanted = (SPATIAL_INPUTS, TRAINING_BYTES)
    if packed.dtype != np.uint8 or packed.shape[1:] != wanted or not len(packed):
        raise ModelError(
            f"binaryInputNCHWPacked in {path} is {packed.dtype} {list(packed.shape)}, "
            "uint8 [N, 22, 46] was expected: V7 inputs in 19x19 buffers"
        )
    globals_ = arrays.floats("globalInputNC", (len(packed), GLOBAL_INPUTS))
    name = _meta(arrays)
    meta = arrays.floats(name, (len(packed), META_INPUTS)) if name else None
    on_board = _unpacked(packed[:, :1], TRAINING_LENGTH, TRAINING_LENGTH)[:, 0]
    return TrainingRows(packed, globals_, meta, _boards(on_board, path))


def _boards(on_board: Bits, path: Path) -> NDArray[np.intp]:
    """Height and width [N, 2] of boards that lie in the top left corner of `on_board` [N, H, W]."""
    heights = on_board.any(axis=2).sum(axis=1)
    widths = on_board.any(axis=1).sum(axis=1)
    y, x = np.ogrid[: on_board.shape[1], : on_board.shape[2]]
    full = (y < heights[:, None, None]) & (x < widths[:, None, None])
    wrong = (full != on_board.astype(bool)).any(axis=(1, 2))
    wrong |= np.minimum(heights, widths) < BOARD_LENGTHS.start
    if wrong.any():
        raise ModelError(
            f"row {int(np.argmax(wrong))} of {path} has no board in the top left of its planes"
        )
    return np.stack([heights, widths], axis=1)


def _dumped(arrays: Archive, path: Path) -> Rows:
    """What `katago evalsgf -dump-npz-input-to` writes: the width stands before the height."""
    planes = arrays.get("binaryInputNCHW")
    if planes.ndim != 4:  # noqa: PLR2004 - N, C, W, H
        raise ModelError(f"binaryInputNCHW in {path} is {list(planes.shape)}, not [N, 22, W, H]")
    rows, _, width, height = planes.shape
    spatial = planes.reshape(rows, -1, height, width)
    return _rows(arrays, spatial, ("globalInputNC", _meta(arrays)), path)


def _meta(arrays: Archive) -> str:
    """The name of HumanSL's inputs: training rows and dumps differ; empty where there are none."""
    return next((name for name in ("metadataInputNC", "metaInputNC") if name in arrays), "")


def _sized(arrays: Archive, path: Path) -> Iterator[Rows]:
    for name in arrays:
        size = re.fullmatch(r"spatial([0-9]{1,2})(?:x([0-9]{1,2}))?", name)
        if size is None:
            continue
        height, width = int(size[1]), int(size[2] or size[1])
        spatial = arrays.get(name)
        if spatial.ndim == 3 and spatial.dtype == np.uint8:  # noqa: PLR2004 - N, C, bytes
            if spatial.shape[2] != -(-height * width // 8):
                raise ModelError(f"{name} in {path} has {spatial.shape[2]} bytes a plane")
            spatial = _unpacked(spatial, height, width)
        if spatial.shape[1:] != (SPATIAL_INPUTS, height, width):
            raise ModelError(
                f"{name} in {path} is {list(spatial.shape)}, "
                f"[N, {SPATIAL_INPUTS}, {height}, {width}] was expected"
            )
        suffix = name.removeprefix("spatial")
        meta = f"meta{suffix}" if f"meta{suffix}" in arrays else ""
        yield _rows(arrays, spatial, (f"global{suffix}", meta), path)


def _rows(arrays: Archive, spatial: NDArray[Any], names: tuple[str, str], path: Path) -> Rows:
    """Rows of full boards, looked at."""
    rows, planes, height, width = spatial.shape
    full = height in BOARD_LENGTHS and width in BOARD_LENGTHS and planes == SPATIAL_INPUTS
    if not (rows and full and _binary(spatial) and spatial[:, 0].all()):
        raise ModelError(
            f"{path} has {rows} rows of {planes} planes {height}x{width}; planes of zeros and "
            "ones were expected, 22 a row, the first all ones, 2x2 to 19x19"
        )
    inputs = Inputs(
        spatial.astype(np.float32),
        arrays.floats(names[0], (rows, GLOBAL_INPUTS)),
        arrays.floats(names[1], (rows, META_INPUTS)) if names[1] else None,
    )
    return Rows(height, width, inputs)


def _unpacked(packed: Bits, height: int, width: int) -> Bits:
    """[N, C, H, W] of [N, C, bytes]."""
    bits = np.unpackbits(packed, axis=2, count=height * width)
    return bits.reshape(*packed.shape[:2], height, width)


def _binary(spatial: NDArray[Any]) -> bool:
    return spatial.dtype.kind in "fiub" and bool(((spatial == 0) | (spatial == 1)).all())


def _few(rows: int, most: int, path: Path) -> None:
    if rows > most:
        raise ModelError(
            f"{path} holds {rows} positions, more than {most}", hint="take a sample of them"
        )
