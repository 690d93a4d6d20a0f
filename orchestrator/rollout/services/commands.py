"""A service of the machine, told by the commands that come with a release."""

from __future__ import annotations

from typing import TYPE_CHECKING

from orchestrator.fleet import probe
from orchestrator.targets import commands

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.rollout.session import HostSession
    from orchestrator.targets.base import Target


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
