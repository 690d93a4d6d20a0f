"""The container image of a Docker host, as `orchestrate_image` names it. Pure: opens nothing."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from orchestrator.errors import InventoryError

DOCKER_ROOT = "/opt/orchestrate"  # in every container: where the host's volume is
_ID = re.compile(r"sha256:[0-9a-f]{64}")
_WORD = r"[a-z0-9]+(?:(?:\.|__?|-+)[a-z0-9]+)*"
_NAME = re.compile(
    rf"(?P<name>(?:(?:[A-Za-z0-9.-]+|\[[0-9A-Fa-f:]+\])(?::\d+)?/)?{_WORD}(?:/{_WORD})*)"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}))?(?P<digest>@sha256:[0-9a-f]{64})?"
)
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
    found = _NAME.fullmatch(text)
    if not found or (found["name"] == "sha256" and not found["digest"]):
        raise InventoryError(f"{host}: orchestrate_image is '{text}'", hint=HINT)
    if found["digest"]:
        return ImageSource("digest", text)
    return ImageSource("tag", text if found["tag"] else f"{text}:latest")
