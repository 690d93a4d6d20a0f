"""Where model files come from: a path, an http(s) URL, a member of a Python wheel.

Each kind of source is one module with a `fetch` of the same signature.
"""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

from orchestrator.errors import ModelError

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.models.sources.base import Fetched, OnProgress

_SHA256 = re.compile(r"[0-9a-f]{64}")


def fetch(
    source: str,
    destination: Path,
    *,
    sha256: str | None = None,
    progress: OnProgress = lambda _done, _total: None,
    base: Path | None = None,
) -> Fetched:
    """The file that `source` names, whole and hashed, in the folder `destination`.

    `sha256` is what the file must have; a URL may carry it as `#sha256=...`, as pip's do, and
    must have one. A relative path starts at `base`, or in the working folder. What stands in
    `destination` after an error is at most the part of a download that a next try resumes.
    Raises ModelError.
    """
    source, in_fragment = _split_fragment(source)
    sha256 = (sha256 or in_fragment or "").lower() or None
    if sha256 is not None and not _SHA256.fullmatch(sha256):
        raise ModelError(f"{sha256!r} is not a sha256", hint="It has 64 hexadecimal digits.")
    if in_fragment and sha256 != in_fragment.lower():
        raise ModelError(f"two different sha256 are given for {source}")
    try:
        if source.startswith(("http://", "https://")):
            from orchestrator.models.sources import http  # noqa: PLC0415 - httpx is slow to import

            return http.fetch(source, destination, sha256, progress)
        if source.startswith("wheel:"):
            from orchestrator.models.sources import wheel  # noqa: PLC0415 - seldom needed

            return wheel.fetch(source, destination, sha256, progress)
        from orchestrator.models.sources import local  # noqa: PLC0415 - one of three

        return local.fetch(source, destination, sha256, progress, base=base)
    except OSError as exc:
        cause = exc.strerror or str(exc)
        raise ModelError(f"{source} cannot be fetched: {cause}: {exc.filename or ''}") from exc


def name_of(source: str) -> str:
    """The file name that `fetch` would give; empty where that is known only afterwards."""
    source, _ = _split_fragment(source)
    if source.startswith(("http://", "https://")):
        return PurePosixPath(unquote(urlsplit(source).path)).name
    name = PurePosixPath(source.rpartition("!")[2] if source.startswith("wheel:") else source).name
    return "" if source.startswith("wheel:") and any(c in name for c in "*?[") else name


def _split_fragment(source: str) -> tuple[str, str]:
    plain, mark, digest = source.rpartition("#sha256=")
    return (plain, digest) if mark else (source, "")
