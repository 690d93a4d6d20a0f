"""Images as files of this machine: what `docker save` wrote, and folders with a Dockerfile."""

from __future__ import annotations

import functools
import hashlib
import io
import json
import os
import re
import stat
import tarfile
import threading
import zlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docker.utils.build import exclude_paths

from orchestrator import files
from orchestrator.errors import InventoryError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Progress = Callable[[int, int], None]

SAVE = "Make the file with `docker save NAME -o FILE.tar`."
_SHA256 = re.compile(r"[0-9a-f]{64}")
_WORDS = re.compile(r"[a-z0-9]+(?:[._-][a-z0-9]+)*")
_ENDING = re.compile(r"(\.tar)?(\.t?gz|\.t?bz2|\.t?xz)?$", re.IGNORECASE)
_LONGEST_NAME = 100
_LONGEST_MANIFEST = 4 << 20
_EXECUTABLE = 0o755
_BROKEN = (tarfile.TarError, EOFError, zlib.error, OSError, ValueError)
_reading = threading.Lock()


@dataclass(frozen=True, slots=True)
class Archive:
    """One image in a file of `docker save`: its config's sha256, and the tags it was saved by."""

    digest: str
    tags: tuple[str, ...]


def local_tag(path: Path, digest: str) -> str:
    """The tag that an image made from this file or folder has on every Docker Engine."""
    name = path.name if path.is_dir() else _ENDING.sub("", path.name)
    words = _WORDS.findall(name.lower()[:_LONGEST_NAME])
    return f"orchestrate.local/{'-'.join(words) or 'image'}:{digest[:12]}"


def archive(host: str, path: Path) -> Archive:
    """The image in a file of `docker save`; only its manifest is read.

    Raises InventoryError for what is no such file, or has several images in it.
    """
    try:
        status = path.stat()
        with _reading:  # all hosts ask for the same file at once: the first one reads it
            images = _manifest(path, status.st_size, status.st_mtime_ns)
    except _BROKEN as exc:
        what = exc.strerror if isinstance(exc, OSError) and exc.strerror else "it cannot be read"
        raise InventoryError(f"{host}: {path} is no image archive: {what}", hint=SAVE) from exc
    if len(images) > 1:
        names = ", ".join(image.tags[0] if image.tags else image.digest[:12] for image in images)
        raise InventoryError(
            f"{host}: {path} has {len(images)} images in it: {names}",
            hint="Save one image per file: `docker save NAME -o FILE.tar`.",
        )
    if not images:
        raise InventoryError(
            f"{host}: {path} is no image archive: there is no image in its manifest.json", hint=SAVE
        )
    return images[0]


@functools.lru_cache(maxsize=64)
def _manifest(path: Path, size: int, changed: int) -> tuple[Archive, ...]:  # noqa: ARG001
    with tarfile.open(path, "r:*") as tar:
        for member in tar:
            if os.path.normpath(member.name) == "manifest.json" and member.isfile():
                break
        else:
            return ()
        content = tar.extractfile(member)
        if content is None or member.size > _LONGEST_MANIFEST:
            return ()
        return tuple(_image(entry) for entry in json.loads(content.read()))


def _image(entry: Any) -> Archive:
    digest = _SHA256.search(entry["Config"]) if isinstance(entry, dict) else None
    if digest is None:
        raise ValueError
    return Archive(digest[0], tuple(entry.get("RepoTags") or ()))


@dataclass(frozen=True, slots=True)
class _Part:
    """A path of a build context; `link` is where a symbolic link points to."""

    name: str
    path: Path
    mode: int
    link: str = ""

    @property
    def executable(self) -> bool:
        return stat.S_ISREG(self.mode) and bool(self.mode & stat.S_IXUSR)


def context_digest(host: str, folder: Path) -> str:
    """The sha256 of what a build of the folder is given: names, contents, what is executable.

    Owners, times and other permissions do not count: the engine is not told them either. Raises
    InventoryError where there is nothing to build, or it cannot be read.
    """
    digest = hashlib.sha256()
    try:
        for part in _parts(host, folder):
            kind, content = "folder", ""
            if part.link:
                kind, content = "link", part.link
            elif stat.S_ISREG(part.mode):
                kind, content = "file", files.sha256_of(part.path)
            for text in (part.name, kind, "x" if part.executable else "-", content):
                digest.update(os.fsencode(text) + b"\0")
    except OSError as exc:
        raise _unreadable(host, folder, exc) from exc
    return digest.hexdigest()


def write_context(host: str, folder: Path, out: Path) -> None:
    """Write the folder's build context to `out`, a tar file that is the same wherever it is made.

    Raises InventoryError as `context_digest` does.
    """
    try:
        with tarfile.open(out, "w", format=tarfile.PAX_FORMAT) as tar:
            for part in _parts(host, folder):
                _add(tar, part)
    except OSError as exc:
        raise _unreadable(host, folder, exc) from exc


def _add(tar: tarfile.TarFile, part: _Part) -> None:
    info = tarfile.TarInfo(part.name)
    info.mode = _EXECUTABLE
    if part.link:
        info.type, info.linkname = tarfile.SYMTYPE, part.link
        tar.addfile(info)
    elif stat.S_ISDIR(part.mode):
        info.type = tarfile.DIRTYPE
        tar.addfile(info)
    else:
        with part.path.open("rb") as file:
            info.size = os.fstat(file.fileno()).st_size
            info.mode = _EXECUTABLE if part.executable else files.PUBLIC
            tar.addfile(info, file)


def _parts(host: str, folder: Path) -> Iterator[_Part]:
    """What `docker build` would send, in order of names: `.dockerignore` is honoured."""
    if not (folder / "Dockerfile").is_file():
        raise InventoryError(
            f"{host}: there is no Dockerfile in {folder}",
            hint="Write build:FOLDER with the folder that has the Dockerfile in it.",
        )
    ignored = folder / ".dockerignore"
    text = ignored.read_text(encoding="utf-8", errors="replace") if ignored.is_file() else ""
    lines = [line.strip() for line in text.splitlines()]
    patterns = [line for line in lines if line and not line.startswith("#")]
    for name in sorted(exclude_paths(folder, patterns)):
        path = folder / name
        mode = path.lstat().st_mode
        link = os.readlink(path) if stat.S_ISLNK(mode) else ""  # noqa: PTH115 - as it is written
        if link or stat.S_ISREG(mode) or stat.S_ISDIR(mode):
            yield _Part(name, path, mode, link)


def _unreadable(host: str, folder: Path, exc: OSError) -> InventoryError:
    return InventoryError(
        f"{host}: {exc.filename or folder} cannot be read: {exc.strerror or exc}",
        hint="What the build does not need can be left out by a .dockerignore.",
    )


class Sent(io.FileIO):
    """A file that tells how much of it was read, each MiB and at its end."""

    def __init__(self, path: Path, on_progress: Progress) -> None:
        super().__init__(path)
        self._tell, self._told, self._done = on_progress, -1, 0
        self._total = path.stat().st_size

    def read(self, size: int | None = -1, /) -> bytes:
        """The next bytes."""
        data = super().read(-1 if size is None else size) or b""
        self._done += len(data)
        step = self._done // files.CHUNK if self._done < self._total else self._total
        if step != self._told:
            self._told = step
            self._tell(self._done, self._total)
        return data
