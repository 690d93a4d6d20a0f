"""Files that are there whole or not at all, and their digests."""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

Advance = Callable[[int], None]
CHUNK = 1 << 20
READ_ONLY = 0o444
PUBLIC = 0o644


def sha256_of(path: Path) -> str:
    """The hexadecimal SHA-256 of a file, read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def copy(stream: IO[bytes], out: IO[bytes], advance: Advance = lambda _: None) -> tuple[str, int]:
    """Digest and size of what was copied; `advance` is told the bytes so far."""
    digest, size = hashlib.sha256(), 0
    while chunk := stream.read(CHUNK):
        out.write(chunk)
        digest.update(chunk)
        size += len(chunk)
        advance(size)
    return digest.hexdigest(), size


def write_atomically(path: Path, data: bytes, *, mode: int = PUBLIC, durable: bool = True) -> None:
    """Put `data` at `path`: whoever reads it sees the old content or the new, never a part.

    Without `durable` a power cut may take the new content, which then costs no wait for the disk.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), mode)
            if durable:
                sync(file)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    if durable:
        sync_folder(path.parent)


def sync(file: IO[bytes]) -> None:
    """Have what was written to `file` on the disk."""
    file.flush()
    os.fsync(file.fileno())


def sync_folder(folder: Path) -> None:
    """Have the names in `folder` on the disk."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Nobody else who asks for the same lock file is inside this block, in any process."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("ab") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
