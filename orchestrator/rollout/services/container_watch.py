"""Whether containers are well: waited for, asked, and told of in the words of their own."""

from __future__ import annotations

import contextlib
import shlex
import time
from typing import TYPE_CHECKING

from orchestrator.errors import CommandError, ServiceError, UnreachableError
from orchestrator.last_words import one_line
from orchestrator.targets.docker import names
from orchestrator.targets.docker.containers import Containers
from orchestrator.targets.docker.engine import explained
from orchestrator.targets.docker.execution import ContainerTarget

if TYPE_CHECKING:
    from collections.abc import Callable

    from docker import APIClient

    from orchestrator.targets.base import Completed, Target
    from orchestrator.targets.docker.containers import Container
    from orchestrator.targets.docker.target import DockerTarget

POLL = 0.5
UNHEALTHY = "unhealthy"  # as the Docker Engine says it
SIGKILLED = 137  # how a command ends whose container does
ENDS_WITHIN = 2.0  # seconds from then on, until the Docker Engine says so
ENDING = 20.0  # seconds that an engine gets to end when another needs the machine for itself


class ContainerWatch:
    """What is known of a host's containers; `pause` waits, and raises when all has to stop."""

    def __init__(self, target: DockerTarget, pause: Callable[[float], None]) -> None:
        self._target = target
        self._pause = pause
        self._host = target.spec.name
        self._name = target.spec.container
        self._containers = Containers(target)

    def await_end(self, others: list[Container]) -> None:
        """Wait until the engines in these containers have ended; the containers wait themselves."""
        deadline = time.monotonic() + ENDING
        for other in others:
            while self._engine_runs(other):
                if time.monotonic() >= deadline:
                    raise ServiceError(
                        f"{self._host}: the engine in {other.name} does not end",
                        code="old_engine_stays",
                        hint=f"Its own words: docker logs {other.name}",
                    )
                self._pause(POLL)

    def _engine_runs(self, container: Container) -> bool:
        now = self._containers.refresh(container)
        if now is None or not now.running:
            return False
        with contextlib.suppress(UnreachableError, CommandError):  # it is just starting anew
            inside = self._target.inside(now.id)
            return inside.run("[ -e /tmp/engine ]", timeout=10).exit_status == 0
        return True

    def await_health(self, begun: Container, seconds: float) -> None:
        """Wait until its own healthcheck is content, or raise ServiceError."""
        deadline = time.monotonic() + seconds
        while True:
            now = self._containers.refresh(begun)
            if now is None or not now.running:
                raise self.ended(now)
            said = self.unhealthy(now)
            if not said:
                return
            if time.monotonic() >= deadline:
                raise ServiceError(
                    f"{self._host}: its container is not healthy after {seconds:g} s: {said}",
                    code="unhealthy",
                    hint=f"Its own words: docker logs {now.name}",
                )
            self._pause(POLL)

    def still_well(self, container: Container) -> None:
        """Raise ServiceError where it ended, began anew or became unhealthy since."""
        now = self._containers.refresh(container)
        if now is None or not now.running or now.begun != container.begun:
            raise self.ended(now)
        if now.health == UNHEALTHY:
            raise ServiceError(
                f"{self._host}: its container became unhealthy: {self.unhealthy(now)}",
                code="unhealthy",
                hint=f"Its own words: docker logs {now.name}",
            )

    def check_front(self, front: Container | None) -> None:
        """Raise ServiceError where the front, if there is one, ended or began anew since."""
        now = front and self._containers.refresh(front)
        if front is None or (now is not None and now.running and now.begun == front.begun):
            return
        said = "somebody removed it" if now is None else self._containers.last_words(now)
        raise ServiceError(
            f"{self._host}: {front.name}, which holds its ports, ended: {said}",
            code="front_ended",
            hint=f"Its own words: docker logs {front.name}. With ports the image needs socat, or "
            "`docker.front` of the profile names one that has it.",
        )

    def unhealthy(self, container: Container) -> str:
        """What its healthcheck says now, asked without waiting for the engine's own interval."""
        kind, *test = container.healthcheck or ("NONE",)
        line = shlex.join(test) if kind == "CMD" else " ".join(test)
        if kind == "NONE" or not line:
            return ""
        try:
            done = self._target.inside(container.id).run(line, timeout=10)
        except UnreachableError:
            return "it is just ending"
        except CommandError as exc:
            return one_line(exc.message)
        said = one_line((done.stdout + done.stderr).strip()) or f"exit {done.exit_status}"
        return said if done.exit_status else ""

    def ended(self, container: Container | None) -> ServiceError:
        """The error for a container that ended, or that is gone."""
        said = "somebody removed it"
        name = names.waiting(self._name, "RELEASE")
        if container is not None:
            said, name = self._containers.last_words(container), container.name
        return ServiceError(
            f"{self._host}: its container ended: {said}",
            code="container_ended",
            hint=f"Its own words: docker logs {name}",
        )

    def _end_of(self, container: Container) -> Callable[[], ServiceError | None]:
        def ended() -> ServiceError | None:
            deadline = time.monotonic() + ENDS_WITHIN
            with explained(self._target.spec):
                while True:
                    now = self._containers.refresh(container)
                    if now is None or not now.running:
                        return self.ended(now)
                    if time.monotonic() >= deadline:
                        return None
                    self._pause(POLL)

        return ended

    def inside(self, container: Container) -> Target:
        """A container as a target, whose own end is told where it cuts off a command."""
        return _Watched(self._target.api, self._host, container.id, self._end_of(container))


class _Watched(ContainerTarget):
    """A container whose own end is told where it cut off a command."""

    def __init__(
        self, api: APIClient, host: str, container: str, ended: Callable[[], ServiceError | None]
    ) -> None:
        super().__init__(api, host, container)
        self._ended = ended

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """See Target; raises ServiceError too."""
        try:
            done = super().run(command, stdin=stdin, timeout=timeout, on_line=on_line)
        except UnreachableError:
            if ended := self._ended():
                raise ended from None
            raise
        if done.exit_status == SIGKILLED and (ended := self._ended()):
            raise ended
        return done
