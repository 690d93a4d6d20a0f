"""What lies in a host's root, read past the orchestrator: the root is a folder of this machine."""

from __future__ import annotations

import contextlib
import json
import os
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any


def version_of(release: str | None) -> str:
    """The version in a release's id, `m-v1-0123abcd`; "none" for no release."""
    return release.split("-", 1)[1].rpartition("-")[0] if release else "none"


class RootHere(ABC):
    """A host whose root can be looked into."""

    @property
    @abstractmethod
    def root(self) -> Path:
        """The orchestrator's root on the host."""

    @property
    def current(self) -> str | None:
        """The release that `current` points at; None without one."""
        with contextlib.suppress(FileNotFoundError):
            return Path(os.readlink(self.root / "current")).name
        return None

    @property
    def version(self) -> str:
        """The version of the release that is active; "none" without one."""
        return version_of(self.current)

    def audit(self) -> list[dict[str, Any]]:
        """The lines of audit.log."""
        with contextlib.suppress(FileNotFoundError):
            lines = (self.root / "audit.log").read_text().splitlines()
            return [json.loads(line) for line in lines if line]
        return []

    def locked(self) -> bool:
        """Whether there is a lock."""
        return (self.root / "lock").exists()

    def undecided(self) -> bool:
        """Whether a switch waits to be confirmed, or is being undone."""
        with contextlib.suppress(FileNotFoundError):  # the lock went while it was looked into
            left = os.listdir(self.root / "lock")
            return any(name.startswith(("armed-", "fired-")) for name in left)
        return False
