"""Hosts that are a Docker Engine and a container there.

engine      how the engine is reached; tunnel: through SSH
images      the host's image, found or brought
keeper      the container that the helper runs in; execution: commands in a container
containers  those that run releases, and the front that holds their ports
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.targets.docker.engine import explained, open_engine
from orchestrator.targets.docker.target import DockerTarget

if TYPE_CHECKING:
    from orchestrator.targets.connection import ConnectionSpec


def connect(spec: ConnectionSpec) -> DockerTarget:
    """An open connection to the host's Docker Engine.

    Raises UnreachableError or one of its kinds.
    """
    engine = open_engine(spec)
    try:
        with explained(spec):
            return DockerTarget(spec, engine)
    except BaseException:
        engine.close()
        raise
