"""Containers as what runs the active release (see Service): two beside each other in a switch.

The files say which release is whose turn (`turn.sh`, `front.sh` in compose/); here containers are
made, started, named and stopped to match. All of it may be cut off anywhere, and done again.
"""

from __future__ import annotations

import logging
import time
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from orchestrator import compose as composition
from orchestrator.errors import (
    CommandError,
    HaltedError,
    HostError,
    InventoryError,
    LockedError,
    OrchestrateError,
    PreflightError,
    ServiceError,
    TransferError,
    UnreachableError,
)
from orchestrator.events import Progress
from orchestrator.files import write_atomically
from orchestrator.fleet import probe
from orchestrator.fleet.facts import Facts
from orchestrator.fleet.image import image_source
from orchestrator.last_words import one_line
from orchestrator.planning.containers import RECREATE, strategy
from orchestrator.planning.preflight import foreign_image, preflight_error
from orchestrator.planning.release import COMPOSE
from orchestrator.rollout.services.container_watch import POLL, UNHEALTHY, ContainerWatch
from orchestrator.targets import commands
from orchestrator.targets.docker import images, info, keeper, names
from orchestrator.targets.docker.containers import Containers
from orchestrator.targets.docker.engine import explained

if TYPE_CHECKING:
    from orchestrator.compose import Compose
    from orchestrator.fleet.facts import DockerEngine
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.rollout.session import HostSession
    from orchestrator.targets.base import Target
    from orchestrator.targets.docker.containers import Container
    from orchestrator.targets.docker.images import Image
    from orchestrator.targets.docker.target import DockerTarget

_LOG = logging.getLogger(__name__)
NOT_KEPT = "no"


class ContainerService:
    """See Service."""

    def __init__(self, session: HostSession) -> None:
        self._session = session
        self._name = session.spec.container
        self._facts: Facts | None = None
        self._image: Image | None = None
        self._composed: dict[str, Compose] = {}

    @property
    def _target(self) -> DockerTarget:
        target: DockerTarget = self._session.target  # type: ignore[assignment]
        return target

    @property
    def _containers(self) -> Containers:
        return Containers(self._target)

    @property
    def _watch(self) -> ContainerWatch:
        return ContainerWatch(self._target, self._session.pause)

    def prepare(self) -> None:
        """See Service: the image is found or brought, and the keeper runs."""
        session, source = self._session, self._session.spec.image
        assert source is not None  # noqa: S101 - connection_spec sees to it
        api, host = self._target.api, session.name
        with explained(session.spec):
            self._containers.refuse_strangers()
            if session.run.images == "bring":
                self._image = images.bring(
                    api,
                    source,
                    host=host,
                    allow_tag=session.run.allow_tag,
                    on_progress=self._progress,
                )
            else:
                try:
                    self._image = images.find(api, source, host=host, allow_tag=True)
                except (InventoryError, TransferError):
                    if not self._target.keeper_image:  # else what is there can be asked without it
                        raise
            if self._target.keeper_image:
                return
            if self._image is None:
                if keeper.has_volume(api, self._name):
                    raise PreflightError(
                        f"{host}: its keeper is gone, and image {source}, to make it anew, is not "
                        "on its Docker Engine",
                        code="image_missing",
                        hint=f"`orchestrate plan --limit {host}` brings it, and changes nothing "
                        "that runs.",
                    )
                return
            keeper.make(api, self._name, self._image.id, host, self._engine(self._image))
            self._target.find_keeper()

    @property
    def untouched(self) -> bool:
        """See Service: without an image there was nothing to make a keeper of."""
        return not self._target.keeper_image

    def _engine(self, image: Image) -> DockerEngine:
        """The engine's facts, with the image that is about to run there; raises PreflightError."""
        session = self._session
        engine = replace(
            info.engine_facts(self._target.api, session.spec),
            image=image.reference,
            image_id=image.id,
            image_arch=image.arch,
        )
        if refused := preflight_error(session.name, foreign_image(engine, engine.arch)):
            raise refused
        return engine

    def _progress(self, done: int, total: int) -> None:
        session = self._session
        session.run.publish(
            Progress(run=session.run.id, host=session.name, what="image", done=done, total=total)
        )

    def facts(self, surveyed: str) -> Facts:
        """See Service: of the image that is wanted, which the keeper may not have yet."""
        spec, image = self._session.spec, self._image
        warnings: list[str] = []
        with explained(spec):
            try:
                if image is None:
                    engine = info.engine_facts(self._target.api, spec)
                else:
                    engine = self._engine(image)
                    if image.id != self._target.keeper_image:
                        surveyed = self._probed(image, engine)
            except HostError as exc:
                if self._session.run.images == "bring":
                    raise
                # What runs can be asked, and put back, whatever image is wanted by now.
                engine = info.engine_facts(self._target.api, spec)
                warnings.append(f"the image that is wanted does not run: {one_line(exc.message)}")
        if self.untouched:
            lacking = "its image is not there yet, so what is in it is not known: `plan` brings it"
            self._facts = Facts(arch=engine.arch, docker_engine=engine, warnings=(lacking,))
            return self._facts
        facts = probe.parse(surveyed)
        facts = replace(facts, warnings=(*facts.warnings, *warnings))
        if engine.offers_gpus and not facts.gpus:
            lacking = "the Docker Engine offers GPUs, but nvidia-smi in a container tells of none"
            facts = replace(facts, warnings=(*facts.warnings, lacking))
        self._facts = replace(facts, docker_engine=engine)
        return self._facts

    def _probed(self, image: Image, engine: DockerEngine) -> str:
        """What the probe prints in a container of the image, which is removed again."""
        session, api = self._session, self._target.api
        name = f"{self._name}-probe-{session.run.id}"
        made = keeper.started(api, self._name, name, image.id, session.name, engine, role="probe")
        try:
            target = self._target.inside(made, user="0")
            script = commands.survey(session.root, session.spec.python)
            seconds = session.run.command_timeout
            return target.run(commands.SHELL, stdin=script, timeout=seconds).stdout
        finally:
            api.remove_container(made, force=True)

    @property
    def needs_settling(self) -> bool:
        """See Service."""
        return True

    def settle(self, present: Present, *, patient: bool = False) -> str:
        """See Service."""
        try:
            with explained(self._session.spec):
                self._settle(present, patient=patient)
        except (UnreachableError, LockedError, HaltedError):
            raise
        except OrchestrateError as exc:
            return one_line(exc.message)
        return ""

    def _settle(self, present: Present, *, patient: bool) -> None:
        containers, active = self._containers, present.current
        kept, removed = None, []
        if active is not None:
            found = containers.of(active)
            if found is None or not found.running:
                lacked = "is gone" if found is None else f"ended: {containers.last_words(found)}"
                self._session.enter("lock", active, f"its container {lacked}; it is started again")
            kept = self._begun(active)
            containers.restart_policy(kept, keeper.KEPT)
        # Somebody may have started an old compose file by hand: one for each release is enough.
        others = [each for each in containers.all() if kept is None or each.id != kept.id]
        others.sort(key=lambda each: each.name != names.waiting(self._name, each.release))
        places = {release for release in present.releases if release != active}
        for other in others:
            containers.restart_policy(other, NOT_KEPT)
            if other.running or other.paused:
                containers.stop(other)
            if other.release in places:
                places.remove(other.release)
                containers.rename(other, names.waiting(self._name, other.release))
            else:
                removed.append(other)
                containers.remove(other)
        if kept is None or active is None:
            containers.let_go_of_ports()
        else:
            containers.rename(kept, self._name)
            containers.hold_ports(self._compose(active), active)
            self._write_out(active)
            if self._facts is not None and not patient:
                self._target.renew_keeper(kept.image, self._facts.docker_engine)
            if patient:
                self._watch.await_health(kept, self._session.run.command_timeout)
        containers.sweep()
        self._remove_images({each.image for each in removed})

    def _remove_images(self, used: set[str]) -> None:
        """Remove images that only removed containers used, and that can be brought again."""
        source = self._session.spec.image
        if source is not None and source.kind != "id":
            for image in used:
                images.remove_unused(self._target.api, image)

    def _write_out(self, release: str) -> None:
        """Leave here the compose file that plain `docker compose` would run the same with."""
        folder = self._session.run.compose_files
        if folder is not None:
            path = folder / quote(self._session.name, safe="") / COMPOSE
            text = composition.filled(self._compose_text(release), release)
            try:
                path.parent.mkdir(parents=True, exist_ok=True)
                write_atomically(path, text.encode(), durable=False)
            except OSError as exc:
                name = self._session.name
                _LOG.warning("warning: %s: its compose file is not written here: %s", name, exc)

    def _begun(self, release: str) -> Container:
        """The container of a release, made if it is gone and started if it does not run."""
        containers = self._containers
        found = containers.of(release)
        if found is not None and not found.running:
            try:
                containers.start(found)
            except ServiceError:  # its network is another one by now, say
                containers.remove(found)
                found = None
        if found is None:
            found = containers.make(release, self._compose(release), self._session.run.id)
            containers.start(found)
        return found

    def start(self, release: Release, back: str | None, *, mended: bool) -> None:
        """See Service: beside the container that still answers, or after that one ended."""
        session, containers = self._session, self._containers
        with explained(session.spec):
            self._bring_front(release)
            others = [c for c in containers.all() if c.running and c.release != release.id]
            if others and self._alone(release):
                session.enter("activate", release.id, "the old container's engine is ended first")
                self._mark("alone")
                self._watch.await_end(others)
            found = containers.of(release.id)
            again = mended or (found is not None and found.health == UNHEALTHY)
            if found is not None and found.running and back == release.id and again:
                session.enter("activate", release.id, "its container is started anew")
                containers.stop(found)
            else:
                session.enter("activate", release.id, "its container starts")
            begun = self._begun(release.id)
            if not containers.has_front():  # a port that is taken is told before the benchmark
                containers.hold_ports(self._compose(release.id), release.id)
            self._watch.await_health(begun, release.service.timeout)

    def _bring_front(self, release: Release) -> None:
        """Have the image of the front, where the profile names one, on the engine."""
        if release.docker is not None and release.docker.front:
            source = image_source(self._session.name, release.docker.front, Path())
            images.bring(
                self._target.api,
                source,
                host=self._session.name,
                allow_tag=False,
                on_progress=self._progress,
            )

    def _alone(self, release: Release) -> bool:
        if release.docker is None or self._facts is None:
            return False
        return strategy(release.docker, self._facts, release.artifact)[0] == RECREATE

    def _mark(self, name: str) -> None:
        session = self._session
        done = session.target.run(
            commands.mark(session.root, session.run.id, name), timeout=session.run.command_timeout
        )
        if done.exit_status == commands.NOT_OURS:
            raise LockedError(
                f"{session.name} went back by itself just now",
                code="lock_lost",
                hint=f"See what is there: orchestrate status --limit {session.name}",
            )
        if done.exit_status != 0:
            raise ServiceError(
                f"{session.name}: its volume cannot be written: {one_line(done.stderr)}",
                hint=f"Look at the disk: orchestrate facts --limit {session.name} --refresh",
            )

    def target(self, release: str) -> Target:
        """See Service: inside the release's container."""
        with explained(self._session.spec):
            found = self._containers.of(release)
            if found is None or not found.running:
                raise self._watch.ended(found)
        return self._watch.inside(found)

    def take_over(self, release: Release, back: str | None) -> None:
        """See Service: new connections go to it, those to the old container may end."""
        session, containers = self._session, self._containers
        spec = release.docker
        assert spec is not None  # noqa: S101 - of Docker hosts every release has one
        with explained(session.spec):
            found = containers.of(release.id)
            if found is None or not found.running:
                raise self._watch.ended(found)
            front = containers.hold_ports(self._compose(release.id), release.id)
            self._mark("serving")
            told = f"it answers; watched for {spec.watch:g} s"
            session.enter("verify", release.id, told)
            begun = time.monotonic()
            while (passed := time.monotonic() - begun) < max(spec.watch, spec.drain):
                if passed >= spec.watch and not self._connections(back, release.id):
                    break
                self._watch.still_well(found)
                self._watch.check_front(front)
                session.pause(POLL)
            self._watch.check_front(front)

    def _connections(self, back: str | None, release: str) -> int:
        if back is None or back == release:
            return 0
        return self._containers.connections(back, self._session.run.command_timeout)

    def confirm(self, release: Release) -> None:
        """See Service: from now on the engine starts it again by itself."""
        with explained(self._session.spec):
            found = self._containers.of(release.id)
            if found is None or not found.running:
                raise self._watch.ended(found)
            self._containers.restart_policy(found, keeper.KEPT)

    def watched(self, release: Release) -> bool:  # noqa: ARG002 - the seam
        """See Service."""
        return True

    def trouble(self, release: str) -> str:
        """See Service; what a cut-off run left running beside it is trouble too."""
        with explained(self._session.spec):
            found = self._containers.of(release)
            if found is None:
                return "its container is gone"
            if not found.running:
                return f"its container ended: {self._containers.last_words(found)}"
            if found.health == UNHEALTHY:
                return f"its container is unhealthy: {self._watch.unhealthy(found)}"
            for other in self._containers.all():
                if other.running and other.release != release:
                    return f"the container of {other.release} runs beside it"
            if found.name != self._name or found.restart != keeper.KEPT:
                return f"its container, {found.name}, was not put in its place"
            return self._trouble_of_front(release)

    def _trouble_of_front(self, release: str) -> str:
        if "front" not in self._compose(release).services:
            return ""
        said = self._containers.front_trouble()
        name = names.front(self._name)
        return f"{name}, which holds its ports, does not run: {said}" if said else ""

    def _compose(self, release: str) -> Compose:
        if release not in self._composed:
            text = self._compose_text(release)
            self._composed[release] = composition.read(text, source=f"{release}/{COMPOSE}")
        return self._composed[release]

    def _compose_text(self, release: str) -> str:
        session = self._session
        path = f"{session.root}/releases/{release}/{COMPOSE}"
        done = session.target.run(commands.read_file(path), timeout=session.run.command_timeout)
        if done.exit_status != 0:
            raise CommandError(
                f"{session.name}: {path} cannot be read: {one_line(done.stderr)}",
                hint=f"Deploy anew: orchestrate deploy --limit {session.name}",
            )
        return done.stdout
