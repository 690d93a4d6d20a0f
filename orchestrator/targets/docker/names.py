"""What a Docker host's containers, volumes and network are called, and how they are recognised.

Names are for people and may be changed by them; labels tell what a container is.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

if TYPE_CHECKING:
    from collections.abc import Mapping

Role = Literal["engine", "front", "keeper", "probe"]

CONTAINER = "orchestrate.container"
ROLE = "orchestrate.role"
RELEASE = "orchestrate.release"
RUN = "orchestrate.run"
IMAGE = "orchestrate.image"


def labels(container: str, role: Role) -> dict[str, str]:
    """The labels of everything that belongs to a host and a role."""
    return {CONTAINER: container, ROLE: role}


def filters(container: str, role: Role) -> dict[str, list[str]]:
    """What the engine is asked for to list those."""
    return {"label": [f"{name}={value}" for name, value in labels(container, role).items()]}


def is_ours(document: Mapping[str, Any], container: str) -> bool:
    """Whether an inspected container, volume or network belongs to the host."""
    found = document.get("Labels") or document.get("Config", {}).get("Labels") or {}
    return bool(found.get(CONTAINER) == container)


def keeper(container: str) -> str:
    """The container that the helper runs in."""
    return f"{container}-keeper"


def front(container: str) -> str:
    """The container that holds the ports."""
    return f"{container}-front"


def state_volume(container: str) -> str:
    """The volume for what engines write: tuning files and the like."""
    return f"{container}-state"


def short(release: str) -> str:
    """The last word of a release's id: 12 hex digits of its content."""
    return release.rpartition("-")[2]


def waiting(container: str, release: str) -> str:
    """The container of a release that is not the active one."""
    return f"{container}-{short(release)}"
