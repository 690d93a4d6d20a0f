"""What became of one host and of a run, in the words of `deploy --json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from orchestrator.errors import OrchestrateError
    from orchestrator.models.manifest import Artifact
    from orchestrator.verify.result import Verification


class Status(StrEnum):
    """Where a host ended up."""

    DEPLOYED = "deployed"
    UNCHANGED = "unchanged"
    VERIFIED = "verified"
    ROLLED_BACK = "rolled_back"
    FAILED = "failed"
    UNREACHABLE = "unreachable"
    LOCKED = "locked"
    SKIPPED = "skipped"


# Worst first: the exit code that a host in this state asks for, before its own is known.
WORST_FIRST = (4, 3, 6, 5, 0)
INTERRUPTED = 130
BACK = 3  # failed, and on a verified release again, or on none as before
NOWHERE = 4  # in neither state


@dataclass(frozen=True, slots=True)
class HostOutcome:
    """One host of a run.

    `release` is what is active now, `active` the `name@version` in it, `previous` the release that
    was active before the run. `tried` is the release the run was about; `artifact`, `engine` and
    `config` are that one's.
    `exit_code` is what this host alone would make the command exit with. `seconds` are per state.
    """

    host: str
    status: Status
    exit_code: int = 0
    release: str | None = None
    active: str | None = None
    previous: str | None = None
    tried: str | None = None
    profile: str | None = None
    hardware_class: str | None = None
    model: str | None = None
    version: str | None = None
    artifact: Artifact | None = None
    engine: str | None = None
    config: str | None = None
    bytes_sent: int = 0
    verification: Verification | None = None
    error: OrchestrateError | None = None
    seconds: Mapping[str, float] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        """The host's entry in the JSON document."""
        return {
            "status": str(self.status),
            "release": self.release,
            "active": self.active,
            "previous": self.previous,
            "tried": self.tried,
            "profile": self.profile,
            "hardware_class": self.hardware_class,
            "artifact": None
            if self.artifact is None
            else {
                "model": self.model,
                "version": self.version,
                "format": self.artifact.format,
                "precision": self.artifact.precision,
                "sha256": self.artifact.sha256,
            },
            "engine": self.engine,
            "config": self.config,
            "bytes_sent": self.bytes_sent,
            "verify": None
            if self.verification is None
            else {
                "verdict": str(self.verification.verdict),
                "reason": self.verification.reason,
                "metrics": dict(self.verification.metrics),
                "detail": self.verification.detail,
            },
            "error": None if self.error is None else self.error.as_dict(),
            "seconds": {k: round(v, 3) for k, v in self.seconds.items()},
        }


@dataclass(frozen=True, slots=True)
class RunResult:
    """Every host's outcome; a failing host is data here, not an exception.

    `aborted` says why some hosts were not begun, or put back; None when all had their turn.
    `declined` tells that this was the operator's no to a question between two batches.
    """

    run: str
    hosts: tuple[HostOutcome, ...]
    interrupted: bool = False
    aborted: str | None = None
    declined: bool = False

    @property
    def exit_code(self) -> int:
        """The worst of the hosts': 4 > 3 > 6 > 5 > 0; 130 when interrupted."""
        return INTERRUPTED if self.interrupted else worst(h.exit_code for h in self.hosts)

    @property
    def outcome(self) -> str:
        """`failed`, `interrupted`, or what all hosts are: `deployed` where they differ."""
        if self.interrupted:
            return "interrupted"
        if self.exit_code:
            return "failed"
        statuses = {h.status for h in self.hosts}
        return str(statuses.pop()) if len(statuses) == 1 else "deployed"

    def as_dict(self) -> dict[str, Any]:
        """The JSON document."""
        return {
            "run": self.run,
            "outcome": self.outcome,
            "exit_code": self.exit_code,
            "aborted": self.aborted,
            "hosts": {h.host: h.as_dict() for h in self.hosts},
        }


def worst(codes: Iterable[int]) -> int:
    """The exit code that outranks the others."""
    given = set(codes)
    return next((code for code in WORST_FIRST if code in given), 0)
