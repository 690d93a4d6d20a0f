"""What is on a host before anything is done to it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


# What audit.log says of a switch that was confirmed, or undone.
DECISIONS = frozenset({"commit", "revert"})


@dataclass(frozen=True, slots=True)
class Armed:
    """A switch that nobody has confirmed yet: the host itself goes from `release` back to `back`.

    `back` is None where nothing was active before; `run` is the one that switched.
    """

    run: str
    release: str
    back: str | None


@dataclass(frozen=True, slots=True)
class Present:
    """The root of a host as it was found; the default is a host that never had a release.

    `current` is the release that `current` points at, `releases` the complete ones, oldest first.
    `stored` are the sha256 digests of the verified blobs, `parts` the bytes that have arrived of
    the others. `manifest`, `config` and `sizes` are manifest.json, parsed, the config's text, and
    the sizes in bytes of all files of the current release. `audit` are the commits in audit.log and
    its last lines, oldest first, each with `release` and `verdict` where it has them. `armed` is
    the switch that is still unconfirmed. `replaced` are the blobs of the current release that are
    not what was staged, by inode and time of change; `lacks` the programs that the helper needs
    and the host has not.
    """

    current: str | None = None
    releases: tuple[str, ...] = ()
    stored: frozenset[str] = frozenset()
    parts: Mapping[str, int] = field(default_factory=dict)
    manifest: Mapping[str, Any] = field(default_factory=dict)
    config: str = ""
    sizes: Mapping[str, int] = field(default_factory=dict)
    audit: tuple[Mapping[str, Any], ...] = ()
    armed: Armed | None = None
    replaced: tuple[str, ...] = ()
    lacks: tuple[str, ...] = ()

    @property
    def half_switched(self) -> bool:
        """Whether a switch was cut off between leaving the way back and switching."""
        return self.armed is not None and self.armed.release != self.current

    @property
    def decision(self) -> Mapping[str, Any]:
        """The last commit or revert in audit.log; empty before the first."""
        lines = (line for line in reversed(self.audit) if line.get("what") in DECISIONS)
        return next(lines, {})

    def passed(self, release: str) -> bool:
        """Whether the last verdict on `release` here was a pass."""
        verdicts = [
            line["verdict"]
            for line in self.audit
            if line.get("release") == release and line.get("verdict")
        ]
        return bool(verdicts) and verdicts[-1] == "pass"

    def missing_bytes(self, sha256: str, size: int) -> int:
        """How much of a blob of `size` bytes has still to be sent."""
        if sha256 in self.stored:
            return 0
        return max(0, size - self.parts.get(sha256, 0))
