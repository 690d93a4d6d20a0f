"""What became of one host and of a run of `provision`, in the words of its JSON document."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from orchestrator.rollout.outcome import INTERRUPTED, worst

if TYPE_CHECKING:
    from orchestrator.errors import OrchestrateError
    from orchestrator.planning.readiness import Readiness


class Status(StrEnum):
    """Where a host ended up; WOULD_CHANGE and UNCHANGED are also what `--check` predicts."""

    PROVISIONED = "provisioned"
    UNCHANGED = "unchanged"
    WOULD_CHANGE = "would_change"
    REMOVED = "removed"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    LOCKED = "locked"
    SKIPPED = "skipped"


@dataclass(frozen=True, slots=True)
class Change:
    """A task that changed something, or would; `diff` is a unified diff where one was asked for."""

    role: str
    task: str
    diff: str = ""

    def as_dict(self) -> dict[str, str]:
        """The change in the JSON document."""
        told = {"role": self.role, "task": self.task}
        return told | ({"diff": self.diff} if self.diff else {})


@dataclass(frozen=True, slots=True)
class ProvisionOutcome:
    """One host of a run; `release` is what is active there, which provisioning never touches.

    `advice` are sentences on what Ansible left to the operator. `readiness` is what the host was
    good for when it was looked at last, None where that was not to be found out.
    """

    host: str
    status: Status
    exit_code: int = 0
    changed: tuple[Change, ...] = ()
    advice: tuple[str, ...] = ()
    error: OrchestrateError | None = None
    readiness: Readiness | None = None
    release: str | None = None

    def as_dict(self) -> dict[str, Any]:
        """The host's entry in the JSON document."""
        return {
            "status": str(self.status),
            "release": self.release,
            "changed": [change.as_dict() for change in self.changed],
            "advice": list(self.advice),
            "error": None if self.error is None else self.error.as_dict(),
            "readiness": None if self.readiness is None else self.readiness.as_dict(),
        }


# What a run came to is the first of these that any of its hosts did.
_TELLING = (Status.WOULD_CHANGE, Status.REMOVED, Status.PROVISIONED)


@dataclass(frozen=True, slots=True)
class ProvisionResult:
    """Every host's outcome; a failing host is data here, not an exception.

    After a `check` all changes are predictions, also those of a host that failed. `artifacts` is
    the folder with what ansible-runner kept, empty where Ansible was not run.
    """

    run: str
    hosts: tuple[ProvisionOutcome, ...]
    interrupted: bool = False
    check: bool = False
    artifacts: str = ""

    @property
    def exit_code(self) -> int:
        """The worst host's, or 130 when the operator stopped the run."""
        return INTERRUPTED if self.interrupted else worst(host.exit_code for host in self.hosts)

    @property
    def outcome(self) -> str:
        """interrupted, failed, would_change, removed, provisioned or unchanged."""
        if self.interrupted:
            return "interrupted"
        if self.exit_code:
            return "failed"
        there = {host.status for host in self.hosts}
        return str(next((status for status in _TELLING if status in there), Status.UNCHANGED))

    def as_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "run": self.run,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "artifacts": self.artifacts,
            "hosts": {host.host: host.as_dict() for host in self.hosts},
        }


def refused(
    host: str, error: OrchestrateError, *, exit_code: int | None = None
) -> ProvisionOutcome:
    """The outcome of a host that an error kept from the end; its status follows from the error."""
    code = error.exit_code if exit_code is None else exit_code
    return ProvisionOutcome(host, _REFUSED.get(code, Status.FAILED), exit_code=code, error=error)


_REFUSED = {5: Status.UNREACHABLE, 6: Status.LOCKED}
