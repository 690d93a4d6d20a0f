"""The seam: what runs the active release on a host."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.planning.present import Present
    from orchestrator.planning.release import Release
    from orchestrator.targets.base import Target


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
