"""`orchestrate facts`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

from orchestrator.cli.common import Context, host_options, one_line, pass_context, table

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rich.console import Console

    from orchestrator.errors import OrchestrateError
    from orchestrator.fleet.facts import DockerEngine, Facts
    from orchestrator.planning.readiness import Readiness

_SHORT_ID = 19  # characters of an image's id that tell it apart, `sha256:` among them


@click.command("facts")
@host_options
@click.option("--refresh", is_flag=True, help="Ask the hosts even if their facts are fresh.")
@pass_context
def command(context: Context, groups: tuple[str, ...], limit: str | None, refresh: bool) -> int:
    """Show what the hosts are: board, GPU, runtimes, engines, and what they are ready for.

    A host serves the first profile whose condition holds; below the table stands what is missing
    for that, with the command that brings it.
    Facts that are younger than `facts_max_age` come from the cache.
    """
    from orchestrator.cli import fleet
    from orchestrator.planning.readiness import readiness
    from orchestrator.rollout.outcome import worst

    inventory, hosts = fleet.choose(context, groups, limit)
    cache = fleet.facts_cache(context)
    max_age = context.project.settings.facts_max_age
    known: dict[str, Facts] = {}
    if not refresh:
        for host in hosts:
            entry = cache.get(host.name)
            if entry is not None and entry[1] <= max_age:
                known[host.name] = entry[0]
    unknown = [host for host in hosts if host.name not in known]
    failed: dict[str, OrchestrateError] = {}
    if unknown:
        survey = fleet.look(context, "facts", unknown)
        known |= {s.task.host.name: s.facts for s in survey.surveyed}
        failed = {f.task.host.name: f.error for f in survey.failed}
    code = worst(error.exit_code for error in failed.values())
    profiles = context.project.settings.profiles
    found = {
        host.name: readiness(host, known[host.name], inventory.groups, profiles)
        for host in hosts
        if host.name in known
    }
    if context.json:
        context.emit({"exit_code": code, **document(known, failed, found)})
    else:
        show(context.console, known, failed, found)
    return code


def document(
    known: Mapping[str, Facts],
    failed: Mapping[str, OrchestrateError],
    found: Mapping[str, Readiness],
) -> dict[str, Any]:
    """The JSON document: every fact of every host, and how ready it is."""
    from orchestrator.fleet import probe

    hosts: dict[str, Any] = {
        name: {**probe.to_dict(facts), "readiness": found[name].as_dict()}
        for name, facts in known.items()
    }
    return {"hosts": hosts | {name: {"error": e.as_dict()} for name, e in failed.items()}}


def show(
    console: Console,
    known: Mapping[str, Facts],
    failed: Mapping[str, OrchestrateError],
    found: Mapping[str, Readiness],
) -> None:
    """Print one line a host, one more for each Docker host, and what hosts lack."""
    from rich.text import Text

    from orchestrator.cli.readiness import serves, tell

    rows = table(
        *("host", "class", "board or GPU", "cpu", "RAM", "disk", "engines", "serves", "heat")
    )
    for name in failed:
        rows.add_row(Text(name, "bold"), Text("?", "magenta"), *[""] * 7)
    for name, facts in known.items():
        rows.add_row(
            Text(name, "bold"),
            facts.hardware_class,
            facts.board.model or ", ".join(gpu.name for gpu in facts.gpus),
            f"{facts.cpu.cores}x {facts.arch}",
            f"{facts.memory.total_mb / 1024:.1f} GiB",
            f"{facts.disk.free_mb / 1024:.1f} GiB free",
            Text(engines(facts)),
            serves(found[name]),
            heat(facts),
        )
    console.print(rows)
    for name, error in failed.items():
        told = one_line(error.message, error.hint)
        named = told if told.startswith(name) else f"{name}: {told}"
        console.print(Text(named, "magenta"), soft_wrap=True)
    for name, facts in known.items():
        if facts.docker_engine.version:
            console.print(Text(f"{name}: {docker_engine(facts.docker_engine)}"))
        for warning in facts.warnings:
            console.print(Text(f"{name}: {warning}", "yellow"))
    tell(console, found)


def engines(facts: Facts) -> str:
    """The engines found on the host, in a few words."""
    parts = [
        f"katago {facts.katago.version} {facts.katago.backend}" if facts.katago.path else "",
        f"onnxruntime {facts.python.onnxruntime}" if facts.python.onnxruntime else "",
        f"TensorRT {facts.tensorrt}" if facts.tensorrt else "",
        f"TensorRT-RTX {facts.tensorrt_rtx}" if facts.tensorrt_rtx else "",
        f"docker {facts.docker}" if facts.docker else "",
    ]
    return ", ".join(part for part in parts if part) or "none"


def docker_engine(engine: DockerEngine) -> str:
    """What a Docker host's engine is, how containers there get GPUs, and the host's image."""
    kinds = [engine.storage_driver, "rootless" if engine.rootless else ""]
    ways = {
        "CDI": bool(engine.gpu_devices),
        "runtime nvidia": "nvidia" in engine.runtimes,
    }
    gpus = " or ".join(name for name, there in ways.items() if there)
    image = engine.image or engine.image_id
    if engine.image_id and engine.image_id != image:
        image += f" ({engine.image_id[:_SHORT_ID]})"
    parts = [
        f"Docker Engine {engine.version} (API {engine.api}), "
        + ", ".join(kind for kind in kinds if kind),
        f"NVIDIA GPUs by {gpus}" if gpus else "no known way to NVIDIA GPUs",
        f"container {engine.container}",
        f"image {image}" if image else "",
    ]
    return "; ".join(part for part in parts if part)


def heat(facts: Facts) -> str:
    """The temperature, and whether the board throttles itself."""
    celsius = facts.thermal.temperature_c
    text = "" if celsius is None else f"{celsius:.0f} °C"
    return f"{text} throttled".strip() if facts.thermal.throttled else text
