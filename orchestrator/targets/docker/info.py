"""What a Docker Engine says of itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.fleet.facts import DockerEngine
from orchestrator.targets.docker.trouble import explained

if TYPE_CHECKING:
    import docker

    from orchestrator.targets.connection import ConnectionSpec


def engine_facts(api: docker.APIClient, spec: ConnectionSpec) -> DockerEngine:
    """The engine's facts; those of the host's image stay empty. Raises as `explained`.

    `api` of the facts is the version that is spoken with it. Devices of CDI are told from API 1.50
    on, and unknown before.
    """
    with explained(spec, "asking the Docker Engine what it is"):
        said: dict[str, Any] = api.info()
    return DockerEngine(
        version=str(said.get("ServerVersion") or ""),
        api=api.api_version,
        storage_driver=str(said.get("Driver") or ""),
        runtimes=tuple(sorted(said.get("Runtimes") or ())),
        cdi=tuple(sorted(_cdi(said.get("DiscoveredDevices") or ()))),
        rootless="name=rootless" in (said.get("SecurityOptions") or ()),
        container=spec.container,
        arch=str(said.get("Architecture") or ""),
    )


def _cdi(devices: list[dict[str, Any]] | tuple[()]) -> set[str]:
    return {str(each["ID"]) for each in devices if each.get("Source") == "cdi" and each.get("ID")}
