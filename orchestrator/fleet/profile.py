"""A profile: which hosts, which artifacts, which config, engine and smoke benchmark."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping


@dataclass(frozen=True, slots=True)
class EngineSpec:
    """What runs the net. `command` is gtp or analysis for katago.

    `run` is the command line of kind `command`; `path` overrides the program found on the host.
    """

    kind: str
    command: str = ""
    run: str = ""
    path: str = ""


@dataclass(frozen=True, slots=True)
class VerifySpec:
    """How the smoke benchmark judges.

    `min_ratio` of the hardware class's baseline; `max_error` against the golden answers
    (absolute; the engine's default when None); `max_rss_mb` in MiB; `timeout` in seconds;
    `visits` for katago; `command` for kind `command`, run in the release folder.
    """

    min_ratio: float = 0.8
    max_error: float | None = None
    max_rss_mb: int | None = None
    timeout: float = 120.0
    visits: int = 50
    command: str = ""


@dataclass(frozen=True, slots=True)
class ServiceSpec:
    """Shell commands that let a service run the active release; empty ones do nothing.

    `activate` is run after every switch, also back, in the folder of the release that is then
    active; `health` is asked again and again until it exits 0, at most `timeout` seconds after;
    `deactivate` is run when nothing is active any more.
    """

    activate: str = ""
    health: str = ""
    deactivate: str = ""
    timeout: float = 60.0


@dataclass(frozen=True, slots=True)
class ArtifactWish:
    """One entry of a profile's `artifacts:`; precision None takes any. `engine` overrides.

    Artifacts of a variant are taken only where it is named.
    """

    format: str
    precision: str | None = None
    engine: EngineSpec | None = None
    variant: str = ""


@dataclass(frozen=True, slots=True)
class Profile:
    """One entry of `profiles:` in orchestrate.yml.

    `engine` runs the artifacts whose format its kind can run; for the others the usual engine of
    the format is taken (onnx: onnxruntime), unless the wish names its own.
    `vars` are handed to the config template.
    """

    name: str
    when: str
    artifacts: tuple[ArtifactWish, ...]
    config: str
    engine: EngineSpec
    verify: VerifySpec = field(default_factory=VerifySpec)
    vars: Mapping[str, Any] = field(default_factory=dict)
    service: ServiceSpec = field(default_factory=ServiceSpec)
