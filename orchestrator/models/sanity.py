"""Whether a file is what its format says, as far as reading it once can tell."""

from __future__ import annotations

import gzip
import re
import zipfile
import zlib
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.files import CHUNK
from orchestrator.models import onnx_file

if TYPE_CHECKING:
    from pathlib import Path

_TOKENS = 512


def check(path: Path, format_name: str, name: str) -> None:
    """Pass when the file looks like its format, read in bounded memory.

    `name` is what the file is called in errors. Raises ModelError for one that is empty,
    truncated, damaged or of another format. TensorRT engines and plain files are only seen not to
    be empty.
    """
    if path.stat().st_size == 0:
        raise ModelError(f"{name} is empty", hint="Look at where it comes from.")
    if format_name == "katago":
        _katago(path, name)
    elif format_name == "onnx":
        onnx_file.check(path, name)
    elif format_name == "litert":
        _litert(path, name)
    elif format_name == "coreml":
        check_zip(path, name)


def check_zip(path: Path, name: str) -> list[str]:
    """The names of a zip's members, each of which unpacks with the right CRC."""
    try:
        with zipfile.ZipFile(path) as archive:
            broken = archive.testzip()
            if broken is not None:
                raise ModelError(f"{name} is damaged: its member {broken} does not unpack")
            return archive.namelist()
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as exc:
        raise ModelError(f"{name} is no whole zip file: {exc}", hint="Get it again.") from exc


def _katago(path: Path, name: str) -> None:
    """A KataGo net is gzip; its first tokens are its name and its version (cpp/.../desc.cpp)."""
    try:
        with gzip.open(path, "rb") as stream:
            head = stream.read(_TOKENS)
            while stream.read(CHUNK):
                pass
    except (OSError, EOFError, zlib.error) as exc:
        raise ModelError(
            f"{name} is no whole gzip file: {exc}",
            hint="A KataGo net is a .bin.gz or .txt.gz; get it again.",
        ) from exc
    if not re.match(rb"\s*[!-~]+\s+[0-9]{1,3}\s", head):
        raise ModelError(
            f"{name} is no KataGo net: it does not start with a name and a version",
            hint="Give another --format if it is something else.",
        )


def _litert(path: Path, name: str) -> None:
    """A TFLite model is a FlatBuffer with the file identifier TFL3 (schema.fbs)."""
    with path.open("rb") as file:
        head = file.read(8)
    if head[4:] != b"TFL3":
        raise ModelError(f"{name} is no TFLite model: it lacks the mark TFL3")
