"""The containers that run releases on a Docker host, and the front that holds their ports."""

from __future__ import annotations

import contextlib
import hashlib
import json
import re
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from docker.errors import APIError, ImageNotFound, NotFound

from orchestrator import compose as composition
from orchestrator.errors import ServiceError
from orchestrator.last_words import one_line
from orchestrator.targets.docker import keeper, names

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.compose import Compose
    from orchestrator.targets.docker.target import DockerTarget

DEFINITION = "orchestrate.definition"
CONFLICT = 409
LOG_LINES = 20
CHANGING = 5.0  # seconds that a container may take to end or to begin anew
POLL = 0.2


@dataclass(frozen=True, slots=True)
class Container:
    """A container of a release, as the engine describes it.

    One that somebody paused is `paused`, not `running`. `restart` names its restart policy,
    `begun` tells one run of it from the next, `health` is empty where no healthcheck is made.
    """

    id: str
    name: str
    release: str
    image: str
    running: bool
    paused: bool
    exit_code: int
    restart: str
    begun: str
    health: str
    healthcheck: tuple[str, ...]


class Containers:
    """The containers of one Docker host, by the releases that they run."""

    def __init__(self, target: DockerTarget) -> None:
        self._target = target
        self._api = target.api
        self._host = target.spec.name
        self._name = target.spec.container

    def all(self) -> list[Container]:
        """Every container of a release, running or not."""
        listed = self._api.containers(all=True, filters=names.filters(self._name, "engine"))
        found = (keeper.inspect(self._api, each["Id"]) for each in listed)
        return [_container(each) for each in found if each is not None]

    def of(self, release: str) -> Container | None:
        """The container of a release."""
        return next((each for each in self.all() if each.release == release), None)

    def refresh(self, container: Container) -> Container | None:
        """The same container as it is now."""
        found = keeper.inspect(self._api, container.id)
        return None if found is None else _container(found)

    def refuse_strangers(self) -> None:
        """Raise PreflightError where somebody else's container has a name of ours."""
        for name in (self._name, names.front(self._name), names.keeper(self._name)):
            found = keeper.inspect(self._api, name)
            if found is not None and not names.is_ours(found, self._name):
                raise keeper.name_taken(self._host, name)

    def make(self, release: str, compose: Compose, run: str) -> Container:
        """The container of a release, made but not started; it is not restarted when it ends.

        Raises ServiceError where the engine refuses it.
        """
        body = composition.container(compose, "engine", release=release)
        body["Labels"] = {
            **(body.get("Labels") or {}),
            **names.labels(self._name, "engine"),
            names.RELEASE: release,
            names.RUN: run,
        }
        body["HostConfig"]["RestartPolicy"] = {"Name": "no"}
        made = self._create(compose, "engine", body, names.waiting(self._name, release), release)
        wanted = body["Labels"].get(names.IMAGE, "")
        if wanted and made["Image"] != wanted:
            self.remove(_container(made))
            raise ServiceError(
                f"{self._host}: image {body['Image']} is not the one of the release any more",
                code="image_changed",
                hint=f"Deploy again: orchestrate deploy --limit {self._host}",
            )
        return _container(made)

    def start(self, container: Container) -> None:
        """Start or unpause it; raises ServiceError with the engine's own words."""
        try:
            if container.paused:
                self._api.unpause(container.id)
            else:
                self._api.start(container.id)
        except APIError as exc:
            raise self._refused(exc) from exc

    def stop(self, container: Container) -> None:
        """Stop it, in the time that it was given to end."""
        try:
            self._api.stop(container.id)
        except NotFound:
            return

    def remove(self, container: Container) -> None:
        """Remove it, if it is still there."""
        try:
            self._api.remove_container(container.id, force=True, v=True)
        except NotFound:
            return

    def rename(self, container: Container, name: str) -> None:
        """Give it another name; raises PreflightError where a stranger has that."""
        if container.name == name:
            return
        try:
            self._api.rename(container.id, name)
        except APIError as exc:
            if exc.status_code == CONFLICT:
                raise keeper.name_taken(self._host, name) from exc
            raise

    def restart_policy(self, container: Container, policy: str) -> None:
        """Say when the engine starts it again by itself.

        In the moment in which a container ends or begins anew the engine refuses that, so it is
        asked again.
        """
        deadline = time.monotonic() + CHANGING
        while container.restart != policy:
            try:
                self._api.update_container(container.id, restart_policy={"Name": policy})  # type: ignore[arg-type]
            except APIError as exc:
                if isinstance(exc, NotFound) or time.monotonic() >= deadline:
                    raise
                time.sleep(POLL)
            else:
                return

    def last_words(self, container: Container) -> str:
        """How it ended, and the last that it printed."""
        if container.paused:
            return "somebody paused it"
        log = ""
        with contextlib.suppress(APIError):  # not every log can be read, and it may be gone by now
            log = self._api.logs(container.id, tail=LOG_LINES).decode(errors="replace")
        lines = [line for line in log.splitlines() if line.strip()]
        said = f": {one_line(lines[-1])}" if lines else ""
        return f"exit {container.exit_code}{said}"

    def hold_ports(self, compose: Compose, release: str) -> Container | None:
        """The front, which runs as the compose file says; None where that names none.

        One that runs as it should is left alone. Raises ServiceError, a port being taken say.
        """
        if "front" not in compose.services:
            self.let_go_of_ports()
            return None
        found = keeper.inspect(self._api, names.front(self._name))
        body = composition.container(compose, "front", release=release)
        joined = composition.networks(compose, "front", release=release)
        definition = _definition(compose, body, joined)
        if found is not None and _is_as(found, definition, joined):
            with contextlib.suppress(ServiceError):  # else one that is made anew may start
                return self._begun(_container(found))
        self.let_go_of_ports()
        body["Labels"] = {
            **(body.get("Labels") or {}),
            **names.labels(self._name, "front"),
            DEFINITION: definition,
        }
        made = self._create(compose, "front", body, names.front(self._name), release)
        try:
            return self._begun(_container(made))
        except ServiceError:
            self.remove(_container(made))
            raise

    def _begun(self, container: Container) -> Container:
        if container.running:
            return container
        self.start(container)
        return self.refresh(container) or container

    def front_trouble(self) -> str:
        """Why the front does not run, in one line; empty where it does."""
        found = keeper.inspect(self._api, names.front(self._name))
        if found is None:
            return "somebody removed it"
        front = _container(found)
        if front.running and not found["State"]["Restarting"]:
            return ""
        return self.last_words(front)

    def has_front(self) -> bool:
        """Whether there is a front, whatever it does."""
        return keeper.inspect(self._api, names.front(self._name)) is not None

    def let_go_of_ports(self) -> None:
        """Remove the front, if there is one."""
        found = keeper.inspect(self._api, names.front(self._name))
        if found is not None:
            if not names.is_ours(found, self._name):
                raise keeper.name_taken(self._host, names.front(self._name))
            self.remove(_container(found))

    def connections(self, release: str, timeout: float) -> int:
        """How many connections the front has to a release's container."""
        found = keeper.inspect(self._api, names.front(self._name))
        if found is None or not found["State"]["Running"]:
            return 0
        hexadecimal = names.short(release)
        relayed = "cat /proc/[0-9]*/cmdline 2>/dev/null | tr '\\0' '\\n'"
        count = f"{relayed} | grep -c 'TCP:[r]-{hexadecimal}:'"
        told = self._target.inside(found["Id"], user="0").run(count, timeout=timeout)
        return int(told.stdout) if told.stdout.strip().isdecimal() else 0

    def sweep(self) -> None:
        """Remove what probes left behind."""
        for each in self._api.containers(all=True, filters=names.filters(self._name, "probe")):
            if each["State"] != "running":
                self._api.remove_container(each["Id"], force=True)

    def _create(
        self, compose: Compose, service: str, body: dict[str, Any], name: str, release: str
    ) -> dict[str, Any]:
        """A container and the networks that it is in, as the engine describes it."""
        networks = composition.networks(compose, service, release=release)
        self._ensure_networks(compose)
        self._ensure_volumes(compose)
        try:
            made = keeper.create(self._api, body, name)
        except ImageNotFound as exc:
            raise ServiceError(
                f"{self._host}: image {body['Image']} is not on its Docker Engine any more",
                code="image_missing",
                hint=f"Bring it back and start again: orchestrate deploy --limit {self._host}",
            ) from exc
        except APIError as exc:
            if exc.status_code == CONFLICT:
                raise keeper.name_taken(self._host, name) from exc
            raise self._refused(exc) from exc
        joined = set(body.get("NetworkingConfig", {}).get("EndpointsConfig", {}))
        try:
            for network in (name for name in networks if name not in joined):
                aliases = list(networks[network])
                self._api.connect_container_to_network(made["Id"], network, aliases=aliases)
        except APIError as exc:  # a half of it would be taken for whole the next time
            self._api.remove_container(made["Id"], force=True)
            raise self._refused(exc) from exc
        found: dict[str, Any] = self._api.inspect_container(made["Id"])
        return found

    def _ensure_networks(self, compose: Compose) -> None:
        for network in composition.networks_of(compose).values():
            if self._api.networks(names=[f"^{re.escape(network.name)}$"]):
                continue
            if network.external and network.name != self._name:
                raise ServiceError(
                    f"{self._host}: its Docker Engine has no network '{network.name}'",
                    code="no_network",
                    hint=f"There: docker network create {network.name}. Or change `docker.network` "
                    "of the profile.",
                )
            body = network.body
            labels = {**body["Labels"], names.CONTAINER: self._name}
            try:
                self._api.create_network(
                    network.name,
                    driver=body["Driver"],
                    options=body["Options"],
                    internal=body["Internal"],
                    attachable=body["Attachable"],
                    enable_ipv6=body["EnableIPv6"],
                    labels=labels,
                    check_duplicate=True,
                )
            except APIError as exc:
                raise self._refused(exc) from exc

    def _ensure_volumes(self, compose: Compose) -> None:
        for volume in composition.volumes(compose).values():
            with contextlib.suppress(NotFound):
                self._api.inspect_volume(volume.name)
                continue
            if volume.external:
                raise ServiceError(
                    f"{self._host}: its Docker Engine has no volume '{volume.name}'",
                    code="no_volume",
                    hint=f"There: docker volume create {volume.name}. Or change the compose "
                    "template.",
                )
            body = volume.body
            labels = {**body["Labels"], names.CONTAINER: self._name}
            self._api.create_volume(
                volume.name, driver=body["Driver"], driver_opts=body["DriverOpts"], labels=labels
            )

    def _refused(self, exc: APIError) -> ServiceError:
        said = " ".join(str(exc.explanation or exc).split())
        hint = "Look at the compose template, `docker:` of the profile, and the machine."
        code = ""
        if "port is already allocated" in said or "address already in use" in said:
            hint = "Another container or program has the port: change `docker.ports`, or end it."
            code = "port_taken"
        elif "could not select device driver" in said or "nvidia" in said.lower():
            hint = "Install the NVIDIA Container Toolkit there, or set `docker.gpus: none`."
            code = "no_gpu_runtime"
        elif "address pool" in said:
            hint = "There: docker network prune. Or widen default-address-pools of its daemon.json."
            code = "no_addresses"
        elif "no space left" in said:
            hint = f"Look at the disk: orchestrate facts --limit {self._host} --refresh"
            code = "space"
        return ServiceError(f"{self._host}: the container is refused: {said}", code=code, hint=hint)


def _definition(
    compose: Compose, body: Mapping[str, Any], joined: Mapping[str, tuple[str, ...]]
) -> str:
    """What tells one front from the next.

    The host's own image is left out: what a front does is its script, so it stays, and with it
    every connection, when the engine comes in a new image.
    """
    services, told = compose.services, dict(body)
    if services["front"].get("image") == services["engine"].get("image"):
        del told["Image"]
    return hashlib.sha256(json.dumps([told, joined], sort_keys=True).encode()).hexdigest()


def _is_as(found: Mapping[str, Any], definition: str, joined: Mapping[str, object]) -> bool:
    """Whether a front is as it should be, but for having been stopped."""
    labels, state = found["Config"]["Labels"] or {}, found["State"]
    there = found["NetworkSettings"]["Networks"]
    return bool(
        labels.get(DEFINITION) == definition
        and joined.keys() <= there.keys()
        and not state["Restarting"]
    )


def _container(found: Mapping[str, Any]) -> Container:
    state, config = found["State"], found["Config"]
    return Container(
        id=found["Id"],
        name=found["Name"].removeprefix("/"),
        release=(config["Labels"] or {}).get(names.RELEASE, ""),
        image=found["Image"],
        running=bool(state["Running"]) and not state["Paused"],
        paused=bool(state["Paused"]),
        exit_code=int(state["ExitCode"]),
        restart=found["HostConfig"]["RestartPolicy"]["Name"] or "no",
        begun=f"{state['StartedAt']} {found['RestartCount']}",
        health=state.get("Health", {}).get("Status", ""),
        healthcheck=tuple((config.get("Healthcheck") or {}).get("Test") or ()),
    )
