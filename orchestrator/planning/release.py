"""The immutable set of files one host gets, named by its content."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.fleet.profile import EngineSpec, VerifySpec
    from orchestrator.models.manifest import Artifact, Golden

MANIFEST_SCHEMA = 1


@dataclass(frozen=True, slots=True)
class Blob:
    """A large file of a release: it lives in the host's store and is hard-linked as `name`."""

    name: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class Release:
    """What a host gets: texts (config, run) and blobs (model, golden answers).

    `id` is `<model>-<version>-<first 12 hex digits of the sha256 of the manifest>`, so the same
    inputs give the same id on every host and every day.
    """

    id: str
    model: str
    version: str
    profile: str
    artifact: Artifact
    engine: EngineSpec
    verify: VerifySpec
    config: str
    texts: Mapping[str, str]
    blobs: tuple[Blob, ...]
    manifest: Mapping[str, Any]

    @property
    def size(self) -> int:
        """Bytes of all files."""
        return sum(b.size for b in self.blobs) + sum(len(t.encode()) for t in self.texts.values())
