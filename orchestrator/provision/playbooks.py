"""The playbooks of a fleet project, or those that come along where it has none."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.errors import UsageError
from orchestrator.fleet import skeleton
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from orchestrator.fleet.project import Project

PROVISION = "provision.yml"
REMOVE = "remove.yml"


def find(project: Project, name: str) -> Path:
    """The playbook `name` of the project, or else the one that comes along."""
    own = project.playbooks / name
    return own if own.is_file() else skeleton.shared("playbooks") / name


def check_tags(playbook: Path, tags: Sequence[str]) -> None:
    """Raise UsageError for a tag that is none of the roles beside a playbook that comes along.

    A playbook of the operator's own may have tags of its own: Ansible knows them.
    """
    if not _is_shipped(playbook):
        return
    known = roles(playbook)
    for tag in tags:
        if tag not in known:
            raise UsageError(
                f"the playbook has no tag '{tag}'",
                hint=did_you_mean(tag, known) or f"Tags are the roles: {', '.join(known)}.",
            )


def roles(playbook: Path) -> list[str]:
    """The names of the roles beside a playbook."""
    return sorted(path.name for path in (playbook.parent / "roles").iterdir() if path.is_dir())


def _is_shipped(playbook: Path) -> bool:
    shipped = skeleton.shared("playbooks") / playbook.name
    return shipped.is_file() and playbook.read_bytes() == shipped.read_bytes()
