"""How a Docker host runs its release: the compose file, and the order of the old and new container.

A Docker host is one whose facts name a Docker Engine.
"""

from __future__ import annotations

import math
import re
import shlex
from dataclasses import replace
from importlib import resources
from typing import TYPE_CHECKING, Any, NamedTuple

from orchestrator import compose
from orchestrator.errors import InventoryError, SettingsError, TemplateError
from orchestrator.fleet.docker_section import split
from orchestrator.fleet.facts import Memory
from orchestrator.fleet.image import DOCKER_ROOT
from orchestrator.planning.release import COMPOSE, TURN, DockerFiles
from orchestrator.planning.render import FOLDER
from orchestrator.planning.select import memory_needed_mb

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.profile import DockerSpec, EngineSpec, Profile
    from orchestrator.models.manifest import Artifact
    from orchestrator.planning.render import Templates

# Filled in by whoever uses the file: the release's id follows from the file's own digest.
RELEASE, ALIAS = (f"${{{name}}}" for name in compose.VARIABLES)
BLUE_GREEN, RECREATE = "blue-green", "recreate"
# While a release is verified: the old engine, the new one, and the smoke benchmark beside it.
COPIES = 3
# What a process takes on a GPU before it has loaded a net: CUDA's context, cuDNN, cuBLAS.
CUDA_CONTEXT_MB = 512
# Keeps the container of a net that no program was named for.
STAY = "exec tail -f /dev/null"


class Scripts(NamedTuple):
    """`turn` is PID 1 of the engine's container, `front` that of the one with the ports."""

    turn: str
    front: str


def is_docker(facts: Facts) -> bool:
    """Whether the host runs its releases in containers."""
    return bool(facts.docker_engine.version)


def inside(facts: Facts, spec: DockerSpec) -> Facts:
    """The facts as what runs in the container meets them: within its limits of memory and CPUs."""
    if not is_docker(facts):
        return facts
    memory, cpu = facts.memory, facts.cpu
    if spec.memory_mb is not None:
        total = min(memory.total_mb or spec.memory_mb, spec.memory_mb)
        memory = Memory(total, min(memory.available_mb, total))
    if spec.cpus is not None:
        cpu = replace(cpu, cores=max(1, min(cpu.cores, math.floor(spec.cpus))))
    return replace(facts, memory=memory, cpu=cpu)


def compose_scripts() -> Scripts:
    """The two scripts that containers run."""
    folder = resources.files("orchestrator") / "compose"
    texts = (folder.joinpath(f"{name}.sh").read_text("utf-8") for name in Scripts._fields)
    return Scripts(*texts)


def docker_files(
    templates: Templates,
    context: Mapping[str, Any],
    *,
    profile: Profile,
    facts: Facts,
    host: str,
) -> DockerFiles:
    """What only the release of a Docker host has; `context` is that of the other templates.

    Raises InventoryError for an image that is not there yet, SettingsError for a profile whose
    service is started by other means, and TemplateError for a compose template that does not render
    or that asks for what is not supported.
    """
    if not facts.docker_engine.image:
        raise InventoryError(
            f"{host}: its image is not on its Docker Engine yet",
            code="image_missing",
            hint=f"orchestrate plan --limit {host} brings it.",
        )
    _refuse_service(profile, host)
    spec, scripts = profile.docker, compose_scripts()
    if spec.compose not in dict(templates.texts):
        raise TemplateError(
            f"{host}: there is no {FOLDER}/{spec.compose}, which makes the compose file",
            hint="`orchestrate init` in a new folder writes one: copy it from there.",
        )
    ours = compose_context(profile, context["engine"], context["run_line"], facts, scripts.front)
    text = templates.render(spec.compose, {**context, **ours}, host=host)
    try:
        _check(text, spec, host, facts.docker_engine.container)
    except TemplateError as exc:
        lines = templates.lines(spec.compose, {**context, **ours}, host=host)
        raise _at_template(exc, lines, spec.compose) from exc
    image = facts.docker_engine
    return DockerFiles(spec, image.image, image.image_id, compose=text, turn=scripts.turn)


def compose_context(
    profile: Profile, engine: EngineSpec, run_line: str, facts: Facts, front: str
) -> dict[str, Any]:
    """The variables that only the compose template has; `$` is doubled in what may have one.

    `docker` (the profile's section), `container` (its name), `image` and `image_id`, `command` (a
    list of words), `release` and `alias` (place holders for its id and its name on the network),
    `root`, `service` (the profile's), `health` (the test of the health check), `health_timeout`
    (with its unit), `gpus` (none, nvidia or cdi), `gpu_devices` (of cdi), `front_script` and
    `front_ports` (the ports it listens on).
    """
    spec, there = profile.docker, facts.docker_engine
    health, seconds = profile.service.health, profile.service.timeout
    test = ["CMD-SHELL", health] if health else ["CMD", "sh", "turn", "--healthy"]
    targets = [*(int(split(port)[2]) for port in spec.ports), *spec.expose]
    return {
        "docker": spec,
        "container": there.container,
        "image": there.image,
        "image_id": there.image_id,
        "command": [_literal(word) for word in command(engine, run_line)],
        "release": RELEASE,
        "alias": ALIAS,
        "root": DOCKER_ROOT,
        "service": profile.service,
        "health": [_literal(word) for word in test],
        "health_timeout": _duration(seconds) if health else "5s",
        "gpus": gpus(spec, facts),
        "gpu_devices": list(there.gpu_devices),
        "front_script": _literal(front),
        "front_ports": list(dict.fromkeys(targets)),
    }


def command(engine: EngineSpec, run_line: str) -> list[str]:
    """The words of the engine's command line.

    An ONNX net without a program is there for others to use: its container tells what the net
    takes and gives, and stays.
    """
    if engine.kind == "onnxruntime" and not engine.run:
        return ["sh", "-c", f"{run_line} && {STAY}"]
    return shlex.split(run_line)


def gpus(spec: DockerSpec, facts: Facts) -> str:
    """How the container gets its GPUs: `nvidia`, `cdi`, or `none` where it gets none."""
    there = facts.docker_engine
    if spec.gpus == "none" or (spec.gpus == "auto" and not there.offers_gpus):
        return "none"
    return "cdi" if there.gpu_devices and "nvidia" not in there.runtimes else "nvidia"


def strategy(spec: DockerSpec, facts: Facts, artifact: Artifact) -> tuple[str, str]:
    """`blue-green` or `recreate`, and why in one clause.

    What shares its memory with the CPU is measured by the RAM; what is not known to be too small
    is taken to be large enough.
    """
    if spec.strategy != "auto":
        return spec.strategy, "the profile says so"
    size, where = _memory(spec, facts)
    needed = _needed_mb(spec, facts, artifact)
    if not size:
        return BLUE_GREEN, "its memory is not known"
    if COPIES * needed > size:
        return RECREATE, f"{COPIES} x {needed} MiB do not fit into {where} {size} MiB"
    return BLUE_GREEN, f"{COPIES} x {needed} MiB fit into {where} {size} MiB"


def _memory(spec: DockerSpec, facts: Facts) -> tuple[int, str]:
    """The MiB that the copies have to fit into, 0 when unknown, and whose they are."""
    if gpus(spec, facts) != "none":
        smallest = min((gpu.memory_mb for gpu in facts.gpus), default=0)
        if smallest:
            return smallest, "the GPU's"
    return facts.memory.total_mb, "the RAM's"


def _needed_mb(spec: DockerSpec, facts: Facts, artifact: Artifact) -> int:
    """What one copy takes, on the GPU where it uses one."""
    needed = memory_needed_mb(artifact)
    if gpus(spec, facts) == "none" or not facts.gpus:
        return needed
    return spec.gpu_memory_mb or needed + CUDA_CONTEXT_MB


def _refuse_service(profile: Profile, host: str) -> None:
    named = [key for key in ("activate", "deactivate") if getattr(profile.service, key)]
    if named:
        raise SettingsError(
            f"{host}: profile {profile.name} has `service: {named[0]}`, but a container is started "
            "and stopped by orchestrate itself",
            hint=f"Remove `{named[0]}:` (`health:` may stay), or write a profile of its own for "
            "Docker hosts: when: facts.docker_engine.version",
        )


def _check(text: str, spec: DockerSpec, host: str, container: str) -> None:
    document = compose.read(text, source=f"{host}: {COMPOSE}")
    for service in document.services:
        name = container if service == "engine" else f"{container}-{service}"
        given = compose.container_name(document, service)
        if given and given != name:
            raise TemplateError(
                f"{host}: {FOLDER}/{spec.compose}: services.{service}.container_name is "
                f"'{given}', and the container is called '{name}'",
                hint="Take it from the shipped template; orchestrate_container names it.",
            )
    if document.services["engine"].get("entrypoint") != ["sh", TURN]:
        raise TemplateError(
            f"{host}: {FOLDER}/{spec.compose}: services.engine.entrypoint is not [sh, {TURN}], "
            "which ends and starts the engine with its turn",
            hint=f"Write `entrypoint: [sh, {TURN}]`, and the program under `command:`.",
        )
    if "front" in document.services and ALIAS not in text:
        raise TemplateError(
            f"{host}: {FOLDER}/{spec.compose}: services.engine has no alias {ALIAS}, by which the "
            "front reaches it",
            hint="Write under `engine:` as in the shipped template: "
            "networks: {default: {aliases: [{{ alias | tojson }}]}}",
        )


def _at_template(error: TemplateError, lines: tuple[str, ...], template: str) -> TemplateError:
    """The error with places in the template instead of those in the rendered text."""

    def place(match: re.Match[str]) -> str:
        number = int(match[1])
        return (lines[number - 1] if 0 < number <= len(lines) else "") or match[0]

    message = re.sub(rf"{re.escape(COMPOSE)}:(\d+)", place, error.message)
    if COMPOSE in message.replace(f"{FOLDER}/{template}", ""):
        message += f" (rendered from {FOLDER}/{template})"
    return TemplateError(message, code=error.code, hint=error.hint)


def _literal(text: str) -> str:
    """The text as compose files have it, where `$` begins a variable."""
    return text.replace("$", "$$")


def _duration(seconds: float) -> str:
    return f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
