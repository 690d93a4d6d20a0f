"""A file from a web server, resumed after a cut.

Ranges, If-Range, validators and 416 are those of RFC 9110, sections 13.1.5, 14 and 15.5.17.
"""

from __future__ import annotations

import fcntl
import netrc
import os
import re
import time
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import unquote

import httpx

from orchestrator import files
from orchestrator.errors import ModelError
from orchestrator.models.sources.base import Fetched, OnProgress, expect

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

ATTEMPTS = 5
_WORTH_RETRYING = frozenset({408, 425, 429, 500, 502, 503, 504})
_RANGE_ANSWERS = frozenset({206, 416})
_CREDENTIAL = re.compile(
    r"(^|[-_])(token|sig|signature|secret|password|credential|key)$", re.IGNORECASE
)
_TIMEOUT = httpx.Timeout(30.0, connect=15.0)


def fetch(
    source: str,
    destination: Path,
    sha256: str | None,
    progress: OnProgress,
    *,
    pause: Callable[[float], None] = time.sleep,
) -> Fetched:
    """The file at the URL, downloaded to `<sha256>.part` and resumed there by a later call.

    A broken connection is tried again up to `ATTEMPTS` times in a row without a byte of progress,
    after a `pause` in seconds that doubles. Raises ModelError without a sha256, when the server
    refuses, or when what it sends is not the file.
    """
    url = _url(source)
    if sha256 is None:
        raise ModelError(
            f"the sha256 of {public(url)} is not given",
            hint="Give --sha256, from where the file is published: it proves that it is the file.",
        )
    part = destination / f"{sha256}.part"
    with part.open("a+b") as file:
        _claim(file, url)
        resumed = file.seek(0, os.SEEK_END) > 0
        _download(url, file, part.with_suffix(".validator"), progress, pause)
        found = files.sha256_of(part)
        if found != sha256 and resumed:
            file.truncate(0)
            _download(url, file, part.with_suffix(".validator"), progress, pause)
            found = files.sha256_of(part)
        part.with_suffix(".validator").unlink(missing_ok=True)
        try:
            expect(found, sha256, public(url))
        except ModelError:
            part.unlink()
            raise
        size = file.seek(0, os.SEEK_END)
    return Fetched(part, _filename(url), sha256, size, public(url))


@dataclass(frozen=True, slots=True)
class _Answer:
    """What the server is about to send: bytes from `start` on, of `total` or nobody knows."""

    start: int
    total: int | None


def _url(source: str) -> httpx.URL:
    try:
        url = httpx.URL(source)
    except httpx.InvalidURL as exc:
        raise ModelError(f"{source} is not a valid URL: {exc}") from exc
    if url.userinfo:
        raise ModelError(
            f"the URL of {url.host} carries a user name or password",
            hint="Put it into ~/.netrc: a command line can be read by others.",
        )
    return url


def public(url: httpx.URL) -> str:
    """The URL as it may be shown and recorded: without parameters when one is a credential."""
    if any(_CREDENTIAL.search(name) for name in url.params):
        return str(url.copy_with(query=None))
    return str(url)


def _filename(url: httpx.URL) -> str:
    return PurePosixPath(unquote(url.path)).name


def _claim(file: BinaryIO, url: httpx.URL) -> None:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError as exc:
        raise ModelError(
            f"{public(url)} is being downloaded by another orchestrate",
            hint="Wait for it to finish.",
        ) from exc


def _download(
    url: httpx.URL,
    file: BinaryIO,
    validator: Path,
    progress: OnProgress,
    pause: Callable[[float], None],
) -> None:
    """Append to `file` until the server has no more; tries again while there is progress."""
    failures = 0
    with httpx.Client(timeout=_TIMEOUT, follow_redirects=True, auth=_netrc()) as client:
        while True:
            before = file.seek(0, os.SEEK_END)
            try:
                _receive(client, url, file, validator, progress)
            except (httpx.TransportError, _TryAgainError) as exc:
                grown = file.seek(0, os.SEEK_END) > before
                failures = 1 if grown else failures + 1
                if failures >= ATTEMPTS:
                    raise ModelError(
                        f"{public(url)} cannot be fetched: {_cause(exc)}",
                        hint="The same command resumes where this one stopped.",
                    ) from exc
                pause(0.5 * 2 ** (failures - 1))
            except httpx.HTTPError as exc:
                raise ModelError(f"{public(url)} cannot be fetched: {_cause(exc)}") from exc
            else:
                return


class _TryAgainError(Exception):
    """The server cannot answer just now."""


class _OutOfStepError(_TryAgainError):
    """What the server would send does not follow what is here: begin at the first byte."""


def _receive(
    client: httpx.Client, url: httpx.URL, file: BinaryIO, validator: Path, progress: OnProgress
) -> None:
    have = file.seek(0, os.SEEK_END)
    headers = {"Accept-Encoding": "identity"}
    if have:
        headers["Range"] = f"bytes={have}-"
        if validator.exists():
            headers["If-Range"] = validator.read_text(encoding="latin-1")
    with client.stream("GET", url, headers=headers) as response:
        try:
            answer = _understand(response, have, public(url))
        except _OutOfStepError:
            file.truncate(0)
            raise
        if answer is None:
            return
        file.truncate(answer.start)
        _remember(response, validator)
        done = answer.start
        progress(done, answer.total)
        for chunk in response.iter_raw():
            file.write(chunk)
            done += len(chunk)
            progress(done, answer.total)
        file.flush()


def _understand(response: httpx.Response, have: int, url: str) -> _Answer | None:
    """What is coming; None when all of it is here already. Raises for any other answer."""
    status = response.status_code
    if status == httpx.codes.OK:
        length = response.headers.get("Content-Length", "")
        return _Answer(0, int(length) if length.isdigit() else None)
    if status in _RANGE_ANSWERS:
        start, total = _range(response)
        if status == httpx.codes.PARTIAL_CONTENT and start == have:
            return _Answer(have, total)
        if status == httpx.codes.REQUESTED_RANGE_NOT_SATISFIABLE and total == have:
            return None
        raise _OutOfStepError(f"the server does not go on from byte {have}")
    if status in _WORTH_RETRYING:
        raise _TryAgainError(f"the server says {_status(response)}")
    raise ModelError(
        f"{url} cannot be fetched: the server says {_status(response)}", hint=_hint(response)
    )


def _range(response: httpx.Response) -> tuple[int | None, int | None]:
    """First byte and total size of `Content-Range: bytes 5-9/10`, `bytes */10`."""
    header = response.headers.get("Content-Range", "")
    covered = re.fullmatch(r"bytes (?:(\d+)-\d+|\*)/(\d+|\*)", header)
    if covered is None:
        return None, None
    start, total = covered.groups()
    return (int(start) if start else None, int(total) if total != "*" else None)


def _remember(response: httpx.Response, validator: Path) -> None:
    """Keep what tells a later request whether the file is still the same; weak ETags do not."""
    etag = response.headers.get("ETag", "")
    strong = etag if etag.startswith('"') else response.headers.get("Last-Modified", "")
    if strong:
        validator.write_text(strong, encoding="latin-1")
    else:
        validator.unlink(missing_ok=True)


def _status(response: httpx.Response) -> str:
    return f"{response.status_code} {response.reason_phrase}".strip()


def _hint(response: httpx.Response) -> str:
    if response.status_code in {httpx.codes.UNAUTHORIZED, httpx.codes.FORBIDDEN}:
        return "A user name and password for this server belong into ~/.netrc."
    return "Look at the URL."


def _cause(error: Exception) -> str:
    return str(error) or type(error).__name__


def _netrc() -> httpx.NetRCAuth | None:
    try:
        return httpx.NetRCAuth()
    except FileNotFoundError:
        return None
    except netrc.NetrcParseError as exc:
        raise ModelError(f"~/.netrc cannot be read: {exc.msg} on line {exc.lineno}") from exc
