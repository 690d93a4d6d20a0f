"""The keeper: a small container that holds a host's volume, in which the helper runs.

It stays, with the timer of an unconfirmed switch in it. When it starts anew, after the engine or
the machine did, a switch that nobody confirmed is undone before anything else.
"""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, NotFound

from orchestrator.errors import CommandError, PreflightError
from orchestrator.fleet.image import DOCKER_ROOT
from orchestrator.targets.docker import names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from docker import APIClient

    from orchestrator.fleet.facts import DockerEngine

STATE = "/state"
# Not `unless-stopped`: an engine that was killed takes what it then stops for stopped by hand
# (seen with Docker 20.10), and would leave the host without what it was to keep.
KEPT = "always"
CONFLICT = 409
SCRIPT = f"""trap 'exit 0' TERM
chmod 1777 {STATE}
cd {DOCKER_ROOT} || exit 1
for guard in lock/armed-*/guard.sh lock/fired-*/guard.sh; do
    [ ! -f "$guard" ] || sh "$guard" boot </dev/null
done
while :; do
    sleep 3600 &
    wait $!
done
"""
# To write in a volume whoever owns what is in it, to hand it on, and to end what was left running.
CAPABILITIES = ["CHOWN", "DAC_OVERRIDE", "FOWNER", "KILL"]


def body(
    container: str,
    image: str,
    *,
    role: names.Role = "keeper",
    gpus: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """What the engine is told to make a keeper; as `probe` it only waits for a while.

    `gpus` is a `gpu_request`.
    """
    script = SCRIPT if role == "keeper" else "trap 'exit 0' TERM; sleep 300 & wait $!"
    return {
        "Image": image,
        "Entrypoint": ["sh", "-c", script],
        "Cmd": [],
        "User": "0",
        "Labels": {**names.labels(container, role), names.IMAGE: image},
        "Healthcheck": {"Test": ["NONE"]},
        "HostConfig": {
            "Mounts": [
                {"Type": "volume", "Source": container, "Target": DOCKER_ROOT},
                {"Type": "volume", "Source": names.state_volume(container), "Target": STATE},
            ],
            "RestartPolicy": {"Name": KEPT if role == "keeper" else "no"},
            "NetworkMode": "none",
            "ReadonlyRootfs": True,
            "Tmpfs": {"/tmp": ""},  # noqa: S108 - in the container
            "CapDrop": ["ALL"],
            "CapAdd": CAPABILITIES,
            "SecurityOpt": ["no-new-privileges"],
            **({"DeviceRequests": [gpus]} if gpus else {}),
        },
    }


def has_volume(api: APIClient, container: str) -> bool:
    """Whether the volume is there, with what was ever deployed in it."""
    try:
        api.inspect_volume(container)
    except NotFound:
        return False
    return True


def gpu_request(engine: DockerEngine) -> dict[str, Any] | None:
    """How a container asks for all GPUs of an engine; None where it offers none."""
    if "nvidia" in engine.runtimes:
        return {"Driver": "nvidia", "Count": -1, "Capabilities": [["gpu", "utility"]]}
    devices = list(engine.gpu_devices)
    return {"Driver": "cdi", "DeviceIDs": devices} if devices else None


def find(api: APIClient, container: str, host: str) -> dict[str, Any] | None:
    """The keeper as the engine describes it, running; None where there is none."""
    found = inspect(api, names.keeper(container))
    if found is None:
        return None
    if not names.is_ours(found, container):
        raise name_taken(host, names.keeper(container))
    if found["State"]["Paused"]:
        api.unpause(found["Id"])
    elif not found["State"]["Running"]:
        start(api, found["Id"], host)
    return found


def make(api: APIClient, container: str, image: str, host: str, engine: DockerEngine) -> None:
    """A keeper that runs, made now with its volumes.

    Raises PreflightError where one of them is there and somebody else's.
    """
    for volume in (container, names.state_volume(container)):
        with contextlib.suppress(NotFound):
            if not names.is_ours(api.inspect_volume(volume), container):
                raise name_taken(host, volume, "volume")
            continue
        api.create_volume(volume, labels={names.CONTAINER: container})
    started(api, container, names.keeper(container), image, host, engine)


def renew(api: APIClient, container: str, image: str, host: str, engine: DockerEngine) -> None:
    """Have the keeper run another image, which is known to work, in a moment without a switch.

    The old one goes when the new one runs. Raises CommandError, and the old one stays.
    """
    name, new = names.keeper(container), f"{names.keeper(container)}-new"
    if (left := inspect(api, new)) is not None:
        if not names.is_ours(left, container):
            raise name_taken(host, new)
        api.remove_container(new, force=True)
    started(api, container, new, image, host, engine)
    api.remove_container(name, force=True)
    api.rename(new, name)


def started(
    api: APIClient,
    container: str,
    name: str,
    image: str,
    host: str,
    engine: DockerEngine,
    role: names.Role = "keeper",
) -> str:
    """The id of a keeper, or probe, that runs: with the GPUs, or without where they do not work."""
    request = gpu_request(engine)
    for gpus in [request, None] if request else [None]:
        try:
            made = create(api, body(container, image, role=role, gpus=gpus), name)
        except APIError as exc:
            if exc.status_code != CONFLICT:
                raise
            made = inspect(api, name) or {}
            if not names.is_ours(made, container):  # else another command made it just now
                raise name_taken(host, name) from exc
        try:
            start(api, made["Id"], host)
        except CommandError:
            api.remove_container(made["Id"], force=True)
            if gpus is None:
                raise
        else:
            break
    return str(made["Id"])


def create(api: APIClient, body: Mapping[str, Any], name: str) -> dict[str, Any]:
    """A container of that name, made but not started: `Id` and `Warnings`."""
    made: dict[str, Any] = api.create_container_from_config(body, name)  # type: ignore[no-untyped-call]
    return made


def start(api: APIClient, container: str, host: str) -> None:
    """Start a keeper, or a probe; raises CommandError that says what its image lacks."""
    try:
        api.start(container)
    except APIError as exc:
        said = " ".join(str(exc.explanation or exc).split())
        raise CommandError(
            f"{host}: the image does not start: {said}",
            code="image_unfit",
            hint="It needs a POSIX sh, and coreutils or busybox; a GPU needs the NVIDIA "
            "Container Toolkit on the machine.",
        ) from exc


def inspect(api: APIClient, container: str) -> dict[str, Any] | None:
    """A container of a name or whole id as the engine describes it; None where there is none."""
    try:
        found: dict[str, Any] = api.inspect_container(container)
    except NotFound:
        return None
    # The engine takes a name such as `cafe` for the beginning of an id, too.
    return found if container in (found["Id"], found["Name"].removeprefix("/")) else None


def name_taken(host: str, name: str, kind: str = "container") -> PreflightError:
    """The error for what is somebody else's and bears a name of ours; it is never removed."""
    return PreflightError(
        f"{host}: a {kind} that is not orchestrate's is called '{name}'",
        code="name_taken",
        hint="Rename or remove it, or give this host another orchestrate_container.",
    )
