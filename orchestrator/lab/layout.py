"""Where a lab keeps its files inside the fleet project."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path


@dataclass(frozen=True, slots=True)
class Layout:
    """Paths of the lab of `project`; all but `inventory` lie in one folder that `down` deletes."""

    project: Path

    @property
    def folder(self) -> Path:
        """Everything of the lab."""
        return self.project / ".orchestrate" / "lab"

    @property
    def plan(self) -> Path:
        """What was asked for, written before anything is started: token, hosts, link."""
        return self.folder / "plan.json"

    @property
    def running(self) -> Path:
        """What the daemon says once it serves: pid, control port, each host's port and key."""
        return self.folder / "running.json"

    @property
    def log(self) -> Path:
        """The daemon's stdout and stderr."""
        return self.folder / "daemon.log"

    @property
    def client_key(self) -> Path:
        """The private key that every host of the lab lets in."""
        return self.folder / "id_ed25519"

    @property
    def known_hosts(self) -> Path:
        """The hosts' keys, in OpenSSH's format."""
        return self.folder / "known_hosts"

    @property
    def inventory(self) -> Path:
        """The lab's hosts for the operator's commands."""
        return self.project / "inventory" / "lab.yml"

    def host(self, name: str) -> Path:
        """The folder of one host: home/, sysroot/ and bin/."""
        return self.folder / "hosts" / name


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Put `document` at `path` in one step, readable by its owner only."""
    part = path.with_suffix(".part")
    part.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")
    part.chmod(0o600)
    part.replace(path)


def read_json(path: Path) -> dict[str, Any]:
    """The document at `path`; empty when there is none or it is damaged."""
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def make_private(path: Path) -> None:
    """Create the folder `path` and its parents; only the owner may enter it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.mkdir(mode=0o700)
