"""What runs the active release on a host: a service of the machine, or containers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.rollout.services.commands import CommandService

if TYPE_CHECKING:
    from orchestrator.rollout.services.base import Service
    from orchestrator.rollout.session import HostSession


def of(session: HostSession) -> Service:
    """What runs releases on the session's host."""
    if session.spec.kind == "docker":
        from orchestrator.rollout.services.containers import ContainerService  # noqa: PLC0415

        return ContainerService(session)
    return CommandService(session)
