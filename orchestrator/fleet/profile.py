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
class DockerSpec:
    """How a Docker host runs the release.

    `compose` is the template of its compose file. `strategy`: `blue-green` starts the new container
    beside the old one, `recreate` ends the old one first, `auto` does the former where the memory
    allows both. `ports` are published, `[IP:]PUBLISHED:TARGET`, on loopback unless an address is
    given; `expose` are ports that containers on `network`, an existing one, reach under the
    container's name. `gpus` is `all`, `none`, or `auto`: all that the engine offers.
    `gpu_memory_mb` is what the engine of nets takes there, guessed from the artifact when None;
    `memory_mb` (MiB) and `cpus` are limits, None for none. `watch` are the seconds that a verified
    container must stay well, answering, before it is confirmed, `drain` those that connections to
    the old one get to end. `front` is the image of the container that holds the ports, empty for
    the host's own; it needs socat.
    """

    compose: str = "docker-compose.yml.j2"
    strategy: str = "auto"
    ports: tuple[str, ...] = ()
    expose: tuple[int, ...] = ()
    network: str = ""
    gpus: str = "auto"
    gpu_memory_mb: int | None = None
    memory_mb: int | None = None
    cpus: float | None = None
    watch: float = 10.0
    drain: float = 30.0
    front: str = ""


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
    docker: DockerSpec = field(default_factory=DockerSpec)
