"""The compose file of a release: read, filled in, and translated for the Docker Engine API.

Only one-container services `engine` and `front` are understood, and of the Compose Specification
what can be said of one container; everything else is refused, never ignored. Where Docker
Compose's versions understand a thing differently, it is refused too.
"""

from __future__ import annotations

from orchestrator.compose.document import (
    Compose,
    Resource,
    container,
    container_name,
    networks,
    networks_of,
    read,
    volumes,
)
from orchestrator.compose.interpolation import VARIABLES, alias, filled

__all__ = [
    "VARIABLES",
    "Compose",
    "Resource",
    "alias",
    "container",
    "container_name",
    "filled",
    "networks",
    "networks_of",
    "read",
    "volumes",
]
