"""A Docker host as a target: what runs there runs in its keeper."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import PreflightError
from orchestrator.targets.docker import info, keeper, names
from orchestrator.targets.docker.execution import ContainerTarget

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    import docker

    from orchestrator.fleet.facts import DockerEngine
    from orchestrator.targets.base import Completed, Part
    from orchestrator.targets.connection import ConnectionSpec
    from orchestrator.targets.docker.engine import Engine


class DockerTarget:
    """An open connection to a Docker Engine, and to the keeper of one host there."""

    def __init__(self, spec: ConnectionSpec, engine: Engine) -> None:
        """`keeper_image` is the id of the image that the keeper runs; empty before there is one."""
        self.spec = spec
        self.engine = engine
        self.keeper_image = ""
        self._keeper: ContainerTarget | None = None
        self.find_keeper()

    @property
    def api(self) -> docker.APIClient:
        """The Docker Engine's API."""
        return self.engine.api

    def find_keeper(self) -> None:
        """Use the keeper that is there, started if it was stopped.

        One that somebody removed is made again of the image that a container of a release has: in
        it a switch that nobody confirmed is undone, for its timer went with the old one.
        """
        found = keeper.find(self.api, self.spec.container, self.spec.name) or self._made_again()
        self._keeper = None
        if found is not None:
            self._keeper = self.inside(found["Id"], user="0")
            self.keeper_image = found["Image"]

    def renew_keeper(self, image: str, engine: DockerEngine) -> None:
        """Have the keeper run an image that works; raises CommandError, and the old one stays."""
        if self.keeper_image != image:
            keeper.renew(self.api, self.spec.container, image, self.spec.name, engine)
            self.find_keeper()

    def _made_again(self) -> dict[str, Any] | None:
        """A keeper made now, or one that was about to take its place; None without a release."""
        api, name, host = self.api, self.spec.container, self.spec.name
        if left := api.containers(all=True, filters=names.filters(name, "keeper")):
            api.rename(left[0]["Id"], names.keeper(name))
        elif left := api.containers(all=True, filters=names.filters(name, "engine")):
            engine = info.engine_facts(api, self.spec)
            keeper.make(api, name, left[0]["ImageID"], host, engine)
        return keeper.find(api, name, host)

    def inside(self, container: str, user: str = "") -> ContainerTarget:
        """One of the host's containers as a target of its own; see ContainerTarget."""
        return ContainerTarget(self.api, self.spec.name, container, user)

    def run(
        self,
        command: str,
        *,
        stdin: bytes = b"",
        timeout: float,
        on_line: Callable[[str], None] | None = None,
    ) -> Completed:
        """See Target."""
        return self._kept().run(command, stdin=stdin, timeout=timeout, on_line=on_line)

    def upload(
        self,
        command: str,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """See Target."""
        return self._kept().upload(command, chunks, timeout=timeout, on_sent=on_sent)

    def store(
        self,
        part: Part,
        chunks: Iterable[bytes],
        *,
        timeout: float,
        on_sent: Callable[[int], None],
    ) -> Completed:
        """See Target."""
        return self._kept().store(part, chunks, timeout=timeout, on_sent=on_sent)

    def close(self) -> None:
        """See Target."""
        self.engine.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _kept(self) -> ContainerTarget:
        if self._keeper is None:
            raise PreflightError(
                f"{self.spec.name}: nothing was ever deployed there",
                code="no_keeper",
                hint=f"orchestrate deploy --limit {self.spec.name}",
            )
        return self._keeper
