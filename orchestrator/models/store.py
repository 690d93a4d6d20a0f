"""The content-addressed store: `<root>/sha256/<first two>/<digest>`, read-only files."""

from __future__ import annotations

import os
import re
import tempfile
import threading
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from orchestrator import files
from orchestrator.errors import ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator

DIGEST = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Stored:
    """A blob of the store; `size` in bytes."""

    sha256: str
    size: int


@dataclass
class Store:
    """Blobs by the SHA-256 of their content.

    A blob gets its name after it is on the disk whole, so what has a name was right once. Use it
    from any thread.
    """

    root: Path
    _checked: dict[str, tuple[int, int, int]] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def incoming(self) -> Path:
        """Where files lie that are still arriving; on the same file system as the blobs.

        Raises ModelError where nothing can be written there.
        """
        folder = self.root / "incoming"
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError as exc:
            raise _read_only(folder, exc.strerror or str(exc)) from exc
        if not os.access(folder, os.W_OK):
            raise _read_only(folder, "it is read-only")
        return folder

    def path(self, sha256: str) -> Path:
        """Where the blob lies, or would."""
        if not DIGEST.fullmatch(sha256):
            raise ModelError(f"{sha256!r} is not a sha256: 64 hexadecimal digits in lower case")
        return self.root / "sha256" / sha256[:2] / sha256

    def has(self, sha256: str) -> bool:
        """Whether the blob is there; `verify` tells whether it is still right."""
        return self.path(sha256).is_file()

    def put(self, stream: BinaryIO) -> Stored:
        """Store what `stream` gives, in bounded memory."""
        handle, name = tempfile.mkstemp(dir=self.incoming)
        path = Path(name)
        try:
            with os.fdopen(handle, "wb") as file:
                sha256, size = files.copy(stream, file)
            self.adopt(path, sha256)
        finally:
            path.unlink(missing_ok=True)
        return Stored(sha256, size)

    def adopt(self, path: Path, sha256: str) -> None:
        """Move a file of `incoming`, whose digest was just computed, to its place.

        A blob that is already there is replaced: it may be damaged.
        """
        blob = self.path(sha256)
        blob.parent.mkdir(parents=True, exist_ok=True)
        with path.open("rb") as file:
            os.fchmod(file.fileno(), files.READ_ONLY)
            os.fsync(file.fileno())
        path.replace(blob)
        files.sync_folder(blob.parent)

    def verify(self, sha256: str, size: int | None = None) -> None:
        """Hash the blob anew; raises ModelError naming the file, what was expected and found."""
        path = self.path(sha256)
        try:
            found_size = path.stat().st_size
            if size is not None and found_size != size:
                raise _damaged(path, f"{size} bytes", f"{found_size} bytes")
            found = files.sha256_of(path)
        except FileNotFoundError as exc:
            raise ModelError(
                f"{path} is missing",
                hint="`orchestrate models fetch` gets the missing files of every version",
            ) from exc
        except OSError as exc:
            raise ModelError(f"{path} cannot be read: {exc.strerror}") from exc
        if found != sha256:
            raise _damaged(path, f"sha256 {sha256}", f"sha256 {found}")

    def check(self, sha256: str, size: int) -> Path:
        """Where a blob lies that is safe to send.

        It is hashed once in the life of this object, and again when its size, time or inode
        change. Raises ModelError as `verify` does.
        """
        with self._lock:
            path = self.path(sha256)
            if sha256 not in self._checked or self._checked[sha256] != _stamp(path):
                stamp = _stamp(path)
                self.verify(sha256, size)
                self._checked[sha256] = stamp
            return path

    def remove(self, sha256: str) -> None:
        """Delete the blob if it is there."""
        self.path(sha256).unlink(missing_ok=True)

    def __iter__(self) -> Iterator[Stored]:
        """Every blob, by digest."""
        for path in sorted((self.root / "sha256").glob("??/*")):
            if DIGEST.fullmatch(path.name):
                yield Stored(path.name, path.stat().st_size)


def _stamp(path: Path) -> tuple[int, int, int]:
    try:
        stat = path.stat()
    except OSError:
        return (-1, -1, -1)
    return (stat.st_size, stat.st_mtime_ns, stat.st_ino)


def _read_only(folder: Path, why: str) -> ModelError:
    return ModelError(
        f"cannot write to {folder}: {why}", hint="The store must be a folder that you may write to."
    )


def _damaged(path: Path, expected: str, found: str) -> ModelError:
    return ModelError(
        f"{path} is damaged: expected {expected}, found {found}",
        hint="`orchestrate models verify` names the version it belongs to, "
        "`orchestrate models fetch NAME@VERSION` gets it again",
    )
