"""Arrays in .npz files that somebody else may have written: read one by one, nothing believed."""

from __future__ import annotations

import textwrap
import zipfile
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.sizes import human_size

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from numpy.typing import NDArray

LARGEST_MEMBER = 4 << 30
HEADER = 1 << 10
HINT = "give an .npz file of KataGo training rows (binaryInputNCHWPacked, globalInputNC)"


class Archive:
    """The arrays of an .npz file, read when they are asked for, none of more than `largest` bytes.

    Raises ModelError where it is no such file.
    """

    def __init__(self, path: Path, *, largest: int = LARGEST_MEMBER) -> None:
        self.path, self.largest = path, largest
        try:
            with zipfile.ZipFile(path) as archive:
                members = archive.infolist()
        except OSError as exc:
            raise ModelError(f"cannot read {path}: {exc.strerror or exc}") from exc
        except (zipfile.BadZipFile, ValueError, NotImplementedError) as exc:
            raise ModelError(f"{path} is no .npz file: {_line(exc)}", hint=HINT) from exc
        self.sizes = {member.filename.removesuffix(".npy"): member.file_size for member in members}

    def __contains__(self, name: str) -> bool:
        return name in self.sizes

    def __iter__(self) -> Iterator[str]:
        return iter(self.sizes)

    def get(self, name: str) -> NDArray[Any]:
        """The array of that name.

        Raises ModelError where it is missing, damaged or too large.
        """
        if name not in self.sizes:
            raise ModelError(f"{self.path} has no {name}: {self.told()}", hint=HINT)
        if self.sizes[name] > self.largest + HEADER:
            raise ModelError(f"{name} in {self.path} is larger than {human_size(self.largest)}")
        try:
            with np.load(self.path, allow_pickle=False) as archive:
                values = np.asarray(archive[name])
        except Exception as exc:  # zipfile, zlib, and the parser of Python that reads the header
            raise ModelError(f"{name} in {self.path} is damaged: {_line(exc)}") from exc
        return values

    def floats(self, name: str, shape: tuple[int, ...]) -> NDArray[np.float32]:
        """The finite numbers of that name, in that shape."""
        values = self.get(name)
        if values.dtype.kind not in "fiub" or values.shape != shape:
            raise ModelError(
                f"{name} in {self.path} is {values.dtype} {list(values.shape)}, "
                f"numbers of {list(shape)} were expected"
            )
        with np.errstate(over="ignore"):
            values = values.astype(np.float32)
        if not np.isfinite(values).all():
            raise ModelError(f"{name} in {self.path} has numbers that are not finite")
        return values

    def told(self) -> str:
        """What is in it, for people."""
        return "it has " + (textwrap.shorten(", ".join(sorted(self)), 120) or "nothing")


def _line(exc: BaseException) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
