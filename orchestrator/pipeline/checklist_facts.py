"""What a checklist has to know of a fleet: wishes of profiles, hosts, results of benchmarks."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.models.manifest import Artifact


@dataclass(frozen=True, slots=True)
class Wish:
    """What a profile would take; `precision` None is any."""

    profile: str
    format: str
    precision: str | None = None
    variant: str = ""

    @property
    def name(self) -> str:
        """`onnx int8`."""
        return " ".join(word for word in (self.format, self.precision, self.variant) if word)

    def takes(self, artifact: Artifact) -> bool:
        """Whether the artifact is of this kind."""
        same = (self.format, self.variant) == (artifact.format, artifact.variant)
        return same and self.precision in {None, artifact.precision}


@dataclass(frozen=True, slots=True)
class Host:
    """A host as far as the version matters to it; `hardware_class` is empty where not known.

    `wants`: the inventory names the version; `waits`: a deploy did not reach it. `has` is the kind
    of the artifact that is active there, empty where none of this version is. `passed` is when it
    last passed there, None when it did not, or failed since.
    """

    name: str
    hardware_class: str = ""
    wants: bool = False
    waits: bool = False
    has: str = ""
    passed: float | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What a smoke benchmark measured of the version on a host, and passed; oldest come first."""

    host: str
    hardware_class: str
    artifact: str
    time: float
    metrics: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Fleet:
    """What the profiles ask for, and what the inventory and the history tell of the version."""

    wishes: tuple[Wish, ...] = ()
    hosts: tuple[Host, ...] = ()
    results: tuple[Result, ...] = ()

    @property
    def concerned(self) -> tuple[Host, ...]:
        """The hosts that want the version, or have it."""
        return tuple(host for host in self.hosts if host.wants or host.waits or host.has)
