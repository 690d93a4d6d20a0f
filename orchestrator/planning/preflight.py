"""What on a host speaks against its plan, before a byte is sent to it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import PreflightError
from orchestrator.planning.containers import is_docker
from orchestrator.planning.diff import missing_blobs
from orchestrator.planning.select import DISK_RESERVE_MB, MIB, memory_needed_mb

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from orchestrator.fleet.facts import DockerEngine, Facts
    from orchestrator.planning.diff import HostPlan

# Room for the texts, the lock, the audit log and what a file system needs for itself.
SPARE_MB = 1
# The lock, its timer and heartbeat, the audit log, the release's folder and the store's.
SPARE_INODES = 24
HOT_C = 80.0
SKEW_S = 300
# Machines as the kernel names them, and the images that run there, as Docker names those.
ARCHITECTURES = {
    "x86_64": ("amd64", "386"),
    "i386": ("386",),
    "i686": ("386",),
    "aarch64": ("arm64", "arm"),
    "arm64": ("arm64", "arm"),
    "armv6l": ("arm",),
    "armv7l": ("arm",),
    "armv8l": ("arm",),
    "amd64": ("amd64", "386"),
}
MINUTE, HOUR, DAY = 60, 3600, 86400


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing on a host that speaks against its plan.

    `what` is a code: space, inodes, memory, temperature, clock, permission or runtime, and on
    Docker hosts also no_gpu_runtime or wrong_architecture. The message does not name the host. One
    that `blocks` keeps the host from being touched; the others are warnings.
    """

    what: str
    message: str
    hint: str
    blocks: bool


def preflight(plan: HostPlan, facts: Facts, *, now: float) -> tuple[Problem, ...]:
    """What speaks against the plan on a host with these facts; what blocks comes first.

    `now` is this machine's time in seconds since the epoch when the facts were asked for. A host
    that nothing is done to has no problems.
    """
    if not plan.steps:
        return ()
    found = [
        *_permission(facts),
        *_runtime(plan, facts),
        *_gpu_runtime(plan, facts),
        *foreign_image(facts.docker_engine, facts.arch),
        *_space(plan, facts),
        *_inodes(plan, facts),
        *_memory(plan, facts),
        *_memory_limit(plan),
        *_ports(plan),
        *_temperature(facts),
        *_clock(facts, now),
    ]
    return tuple(sorted(found, key=lambda problem: not problem.blocks))


def preflight_error(host: str, problems: Iterable[Problem]) -> PreflightError | None:
    """One error for all the problems that block; None when none does.

    Its code is the problem's own where there is one, else `preflight`.
    """
    blocking = [problem for problem in problems if problem.blocks]
    if not blocking:
        return None
    return PreflightError(
        f"{host} cannot take the release: " + "; ".join(p.message for p in blocking),
        code=blocking[0].what if len(blocking) == 1 else "",
        hint=" ".join(dict.fromkeys(p.hint for p in blocking)),
    )


def _permission(facts: Facts) -> Iterator[Problem]:
    if not facts.disk.writable:
        yield Problem(
            "permission",
            "the root cannot be written",
            "Set orchestrate_root to a folder the user may write, or ansible_become: true.",
            blocks=True,
        )


def _runtime(plan: HostPlan, facts: Facts) -> Iterator[Problem]:
    lacks = plan.present.lacks
    if lacks:
        where = "in the image" if is_docker(facts) else "on the host"
        yield Problem(
            "runtime",
            f"{', '.join(lacks)} {'is' if len(lacks) == 1 else 'are'} missing",
            f"Install coreutils, or busybox 1.33 or newer, {where}.",
            blocks=True,
        )


def _gpu_runtime(plan: HostPlan, facts: Facts) -> Iterator[Problem]:
    wanted = is_docker(facts) and plan.choice.profile.docker.gpus == "all"
    if wanted and not facts.docker_engine.offers_gpus:
        yield Problem(
            "no_gpu_runtime",
            f"profile {plan.choice.profile.name} wants GPUs, the Docker Engine offers none",
            "Install the NVIDIA Container Toolkit there (nvidia-ctk runtime configure, then "
            "restart Docker), or write `gpus: auto` in the profile's `docker:`.",
            blocks=True,
        )


def foreign_image(engine: DockerEngine, machine: str) -> Iterator[Problem]:
    """What speaks against an image for other machines; a 32-bit one runs on those of its family."""
    image, family = engine.image_arch, ARCHITECTURES.get(machine, (machine,))
    if image and machine and image not in family:
        yield Problem(
            "wrong_architecture",
            f"the image {engine.image} is for {image}, the machine is {machine}",
            f"Name an image for {family[0]} with orchestrate_image.",
            blocks=True,
        )


def _space(plan: HostPlan, facts: Facts) -> Iterator[Problem]:
    """What lies there stays there, so nothing is counted as freed."""
    free = facts.disk.free_mb
    written = -(-(plan.bytes_to_send + _sent_again(plan)) // MIB)
    needed = written + SPARE_MB
    if free < needed:
        yield Problem(
            "space",
            f"{free} MiB are free at the root, {needed} MiB are needed",
            "Make room there, or set orchestrate_root to a larger file system.",
            blocks=True,
        )
    elif free < written + DISK_RESERVE_MB:
        yield Problem(
            "space",
            f"{free - written} MiB will be left free at the root",
            "Engines write logs and tuning files: make room there soon.",
            blocks=False,
        )


def _sent_again(plan: HostPlan) -> int:
    """Bytes of stored blobs that may turn out damaged: their copy in the release was replaced."""
    files = plan.present.manifest.get("files")
    entries = files if isinstance(files, dict) else {}
    suspected = {
        entry.get("sha256")
        for entry in (entries.get(name) for name in plan.present.replaced)
        if isinstance(entry, dict)
    }
    stored = plan.present.stored
    return sum(b.size for b in plan.release.blobs if b.sha256 in suspected & stored)


def _inodes(plan: HostPlan, facts: Facts) -> Iterator[Problem]:
    free = facts.disk.free_inodes
    if free is None:
        return
    needed = SPARE_INODES
    if "stage" in plan.steps:
        # A blob takes one, and its folder in the store another; a hard link takes none.
        needed += len(plan.release.texts) + 2 * len(missing_blobs(plan.release, plan.present))
    if free < needed:
        yield Problem(
            "inodes",
            f"{free} more files fit on the file system of the root, {needed} are needed",
            "Remove small files there, or set orchestrate_root to another file system.",
            blocks=True,
        )


def _memory(plan: HostPlan, facts: Facts) -> Iterator[Problem]:
    available, needed = facts.memory.available_mb, memory_needed_mb(plan.selection.artifact)
    if available and available < needed:
        yield Problem(
            "memory",
            f"{available} MiB of RAM are free, the model needs "
            f"{'' if plan.selection.artifact.memory_mb is not None else 'about '}{needed}",
            "Stop what else runs there: the smoke benchmark may run out of memory.",
            blocks=False,
        )


def _memory_limit(plan: HostPlan) -> Iterator[Problem]:
    """The engine and its smoke benchmark run in one container."""
    limit = plan.choice.profile.docker.memory_mb if plan.release.is_docker else None
    needed = 2 * memory_needed_mb(plan.selection.artifact)
    if limit is not None and limit < needed:
        yield Problem(
            "memory",
            f"the container may take {limit} MiB, the model and its smoke benchmark need about "
            f"{needed}",
            "Raise `memory_mb:` in the profile's `docker:`.",
            blocks=False,
        )


def _ports(plan: HostPlan) -> Iterator[Problem]:
    """An engine that speaks on stdin listens on no port, whatever the profile publishes."""
    release, spec = plan.release, plan.choice.profile.docker
    if not release.is_docker or not (spec.ports or spec.expose):
        return
    if release.engine.kind != "command" and not release.engine.run:
        yield Problem(
            "ports",
            f"nothing listens on the profile's ports: {release.engine.kind} is asked on its stdin",
            "Name the program that listens and runs it: `engine: {kind: command, run: …}`, or "
            "remove `ports:` and `expose:`.",
            blocks=False,
        )


def _temperature(facts: Facts) -> Iterator[Problem]:
    thermal = facts.thermal
    hot = thermal.temperature_c is not None and thermal.temperature_c >= HOT_C
    if not hot and not thermal.throttled:
        return
    said = [f"{thermal.temperature_c:.0f} °C"] if hot else []
    if thermal.throttled:
        said.append("throttled" + (f" ({thermal.detail})" if thermal.detail else ""))
    yield Problem(
        "temperature",
        "the host is " + ", ".join(said),
        "A slow result would be inconclusive: let it cool, or look at its power supply.",
        blocks=False,
    )


def _clock(facts: Facts, now: float) -> Iterator[Problem]:
    skew = facts.clock - now
    if facts.clock and abs(skew) > SKEW_S:
        yield Problem(
            "clock",
            f"its clock is {_duration(abs(skew))} {'ahead' if skew > 0 else 'behind'}",
            "Set it (timedatectl set-ntp true): the times in its audit.log are wrong.",
            blocks=False,
        )


def _duration(seconds: float) -> str:
    """`7 min`, `3 h 5 min`, `40 days`."""
    if seconds >= 2 * DAY:
        return f"{seconds / DAY:.0f} days"
    minutes = round(seconds / MINUTE)
    hours, minutes = divmod(minutes, HOUR // MINUTE)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min"
