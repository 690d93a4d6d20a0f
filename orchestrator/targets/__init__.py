"""How a host is reached, and the commands that run there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from orchestrator.targets.base import Target
    from orchestrator.targets.connection import ConnectionSpec


def connect(spec: ConnectionSpec) -> Target:
    """An open connection to the host, by whatever means its inventory names.

    Raises UnreachableError or one of its kinds.
    """
    if spec.kind == "local":
        from orchestrator.targets.local import LocalTarget  # noqa: PLC0415

        return LocalTarget(spec)
    if spec.kind == "docker":
        from orchestrator.targets import docker  # noqa: PLC0415

        return docker.connect(spec)
    from orchestrator.targets import ssh  # noqa: PLC0415

    return ssh.connect(spec)
