"""The container image of a Docker host, as `orchestrate_image` names it. Pure: opens nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.errors import InventoryError

_ID = re.compile(r"sha256:[0-9a-f]{64}")
_DIGEST = re.compile(r"[^\s@]+@sha256:[0-9a-f]{64}")
_NAME = re.compile(r"[a-z0-9][\w.:/-]*", re.IGNORECASE | re.ASCII)
HINT = (
    "Write NAME@sha256:DIGEST, archive:FILE.tar (of `docker save`), build:FOLDER (with a "
    "Dockerfile), or sha256:ID of an image that is there."
)


@dataclass(frozen=True, slots=True)
class ImageSource:
    """Where a Docker host's image comes from.

    `reference` is as the engine takes it: `name@sha256:…` for a digest, `name:tag` for a tag,
    `sha256:…` for an id. `path` is the file of an archive, or the folder of a build.
    """

    kind: Literal["digest", "tag", "id", "archive", "build"]
    reference: str = ""
    path: Path | None = None

    def __str__(self) -> str:
        """As the inventory has it."""
        return self.reference or f"{self.kind}:{self.path}"


def image_source(host: str, text: str, folder: Path) -> ImageSource:
    """What `orchestrate_image` asks for; paths are relative to `folder`, the fleet project.

    Raises InventoryError for what names no image.
    """
    kind, _, rest = text.partition(":")
    if kind in {"archive", "build"} and rest:
        path = (folder / Path(rest).expanduser()).absolute()
        if kind == "archive":
            return ImageSource("archive", path=path)
        return ImageSource("build", path=path)
    if _ID.fullmatch(text):
        return ImageSource("id", text)
    if _DIGEST.fullmatch(text):
        return ImageSource("digest", text)
    if "@" in text or not _NAME.fullmatch(text):
        raise InventoryError(f"{host}: orchestrate_image is '{text}'", hint=HINT)
    tagged = ":" in text.rpartition("/")[2]
    return ImageSource("tag", text if tagged else f"{text}:latest")
