"""What runs the active release on a host: a service of the machine, or containers."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from orchestrator.fleet import probe
from orchestrator.targets import commands

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.rollout.session import HostSession
    from orchestrator.targets.base import Target


def of(session: HostSession) -> Service:
    """What runs releases on the session's host."""
    if session.spec.kind == "docker":
        from orchestrator.rollout.containers import ContainerService  # noqa: PLC0415

        return ContainerService(session)
    return CommandService(session)


class Service(Protocol):
    """The steps of a switch that are not files; each raises ServiceError, or as `HostSession`."""

    def prepare(self) -> None:
        """Have what the host must have before it can be asked for its facts."""

    @property
    def untouched(self) -> bool:
        """Whether the host has nothing of ours yet, not even where it could be asked."""

    def facts(self, surveyed: str) -> Facts:
        """The host's facts; `surveyed` is what the survey printed, empty where it is untouched."""

    @property
    def needs_settling(self) -> bool:
        """Whether what runs may differ from what the files say."""

    def settle(self, present: Present, *, patient: bool = False) -> str:
        """Have what runs be what the files say, which are not about to be switched.

        A `patient` one waits until that is well. What went wrong, in one line; empty when nothing.
        """

    def start(self, release: Release, back: str | None, *, mended: bool) -> None:
        """Have the release run that was just activated, and wait until it is well.

        One that is `mended` was active before, with files that were damaged.
        """

    def target(self, release: str) -> Target:
        """Where the smoke benchmark of the release is run."""

    def take_over(self, release: Release, back: str | None) -> None:
        """Have the release, which was verified, answer; it must stay well for a while."""

    def confirm(self, release: Release) -> None:
        """What has to be done just before the switch is confirmed."""

    def watched(self, release: Release) -> bool:
        """Whether `trouble` can tell anything of the release."""

    def trouble(self, release: str) -> str:
        """What is wrong with what runs the active release, in one line; empty when nothing."""


class CommandService:
    """The commands that came with the release (`service:` of its profile), run by the helper."""

    def __init__(self, session: HostSession) -> None:
        self._session = session

    def prepare(self) -> None:
        """See Service."""

    @property
    def untouched(self) -> bool:
        """See Service; a machine can always be asked."""
        return False

    def facts(self, surveyed: str) -> Facts:
        """See Service."""
        return probe.parse(surveyed)

    @property
    def needs_settling(self) -> bool:
        """See Service; the helper runs the commands with each switch."""
        return False

    def settle(self, present: Present, *, patient: bool = False) -> str:  # noqa: ARG002
        """See Service."""
        return ""

    def start(self, release: Release, back: str | None, *, mended: bool) -> None:  # noqa: ARG002
        """See Service."""
        if not release.has_service:
            return
        session = self._session
        session.enter("activate", release.id, "the service takes it over")
        timeout = 2 * release.service.timeout + session.run.command_timeout
        session.ask(commands.serve(session.root, session.run.id, release), timeout=timeout)

    def target(self, release: str) -> Target:  # noqa: ARG002 - the seam
        """See Service."""
        return self._session.target

    def take_over(self, release: Release, back: str | None) -> None:
        """See Service; it answers since it was activated."""

    def confirm(self, release: Release) -> None:
        """See Service."""

    def watched(self, release: Release) -> bool:
        """See Service."""
        return bool(release.service.health)

    def trouble(self, release: str) -> str:
        """See Service."""
        session = self._session
        seconds = session.run.command_timeout / 2
        answers = session.ask(commands.health(session.root, release, seconds))
        told = {answer.tag: answer.text for answer in answers}
        return "" if "healthy" in told else told.get("unhealthy", "its health command did not end")
