"""Which artifact of a version a host gets, and what became of every other one."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from orchestrator import engines
from orchestrator.errors import ModelError, SelectionError
from orchestrator.planning.present import Present
from orchestrator.planning.provisionable import WHEELS, to_own_python, unsupported
from orchestrator.planning.requires import unmet

if TYPE_CHECKING:
    from orchestrator.fleet.facts import Facts
    from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile
    from orchestrator.models.manifest import Artifact, ModelVersion

MIB = 1024 * 1024
# What stays free on the file system of the root: texts, logs, the engine's tuning files.
DISK_RESERVE_MB = 32
# An engine holds the file it reads, the parsed weights and its own layout of them (Winograd
# transforms, prepacked matrices) at the same moment, besides its code and buffers. ONNX Runtime
# 1.31 on a CPU, FP32 nets of 3x3 convolutions: 9, 99 and 198 MiB peak at 84, 353 and 650 MiB.
MEMORY_BASE_MB = 96
MEMORY_PER_SIZE = 3
# What engines say of software that a host lacks.
PYTHON_LACKS = ("is not installed in", "there is no python3", "is older than")
NOT_THERE = ("is not installed", *PYTHON_LACKS)
# What hints say where the host's name is not known.
PROVISION_HOST = "orchestrate provision --limit HOST"


@dataclass(frozen=True, slots=True)
class Candidate:
    """One wish of the profile met with one artifact of the version, or with none.

    `reason` says why it was taken or why not, in one clause.
    """

    wish: ArtifactWish
    artifact: Artifact | None
    taken: bool
    reason: str

    @property
    def name(self) -> str:
        """`onnx int8`; the format alone where the wish leaves the precision open."""
        return self.artifact.kind if self.artifact else wish_name(self.wish)


@dataclass(frozen=True, slots=True)
class Selection:
    """The artifact a host gets with the engine that runs it, and the fate of every candidate."""

    artifact: Artifact
    engine: EngineSpec
    candidates: tuple[Candidate, ...]


def select(
    version: ModelVersion,
    profile: Profile,
    facts: Facts,
    present: Present | None = None,
    *,
    allow_inexact: bool = False,
    python: str = "",
) -> Selection:
    """The first wish of the profile that the version has and the host can run.

    What `present` already holds takes no more room on the disk. `allow_inexact` takes artifacts
    whose accuracy gate failed. `python` is the one that the inventory names and provisioning leaves
    alone, for what is said to do. Raises ModelError for a yanked version and SelectionError, with
    every candidate's reason, when nothing fits.
    """
    if version.yanked is not None:
        raise ModelError(
            f"{version.ref} was yanked: {version.yanked}",
            hint="Name another version in orchestrate_model or with --model.",
            code="yanked",
        )
    candidates, chosen = weigh(
        version, profile, facts, present or Present(), allow_inexact=allow_inexact
    )
    if chosen is None:
        reasons = "; ".join(f"{c.name}: {c.reason}" for c in candidates)
        raise SelectionError(
            f"nothing in {version.ref} fits profile {profile.name} here: {reasons}",
            hint=_way_out(candidates, version, facts, python),
        )
    artifact, engine = chosen
    return Selection(artifact, engine, candidates)


def weigh(
    version: ModelVersion,
    profile: Profile,
    facts: Facts,
    present: Present,
    *,
    allow_inexact: bool = False,
) -> tuple[tuple[Candidate, ...], tuple[Artifact, EngineSpec] | None]:
    """Every candidate's fate and what was chosen, if anything.

    Where the disk is too full for all of them, the first that fits otherwise is taken: one full
    disk must not keep a version from the other hosts, and `preflight` keeps it from this one.
    Raises SettingsError where the profile names an engine kind that is not supported.
    """
    fates, chosen = _weigh(version, profile, facts, present, allow_inexact=allow_inexact)
    if chosen is None:
        roomy = replace(facts, disk=replace(facts.disk, free_mb=0))
        fates, chosen = _weigh(version, profile, roomy, present, allow_inexact=allow_inexact)
    return tuple(_though_full(fate, facts, present) for fate in fates), chosen


def _weigh(
    version: ModelVersion,
    profile: Profile,
    facts: Facts,
    present: Present,
    *,
    allow_inexact: bool,
) -> tuple[list[Candidate], tuple[Artifact, EngineSpec] | None]:
    fates: list[Candidate] = []
    chosen: tuple[Artifact, EngineSpec] | None = None
    chosen_name = ""
    for wish in profile.artifacts:
        matching = [a for a in version.artifacts if _grants(wish, a)]
        if chosen is not None:
            reason = f"not needed: {chosen_name} comes first"
            fates.append(Candidate(wish, matching[0] if matching else None, False, reason))
            continue
        if not matching:
            fates.append(Candidate(wish, None, False, _absent(version, wish)))
        for artifact in matching:
            if chosen is not None:
                reason = f"not needed: {chosen_name} comes first"
                fates.append(Candidate(wish, artifact, False, reason))
                continue
            engine, reason = _engine(wish, profile, facts, artifact)
            reason = reason or _misfit(artifact, facts, present, allow_inexact=allow_inexact)
            if reason or engine is None:
                fates.append(Candidate(wish, artifact, False, reason))
                continue
            chosen = (artifact, engine)
            fates.append(Candidate(wish, artifact, True, _taken(artifact, engine)))
            chosen_name = fates[-1].name
    return fates, chosen


def memory_needed_mb(artifact: Artifact) -> int:
    """MiB of RAM that running the artifact takes: as the manifest says, else by its size."""
    if artifact.memory_mb is not None:
        return artifact.memory_mb
    return MEMORY_BASE_MB + MEMORY_PER_SIZE * artifact.size // MIB


def spec_for(wish: ArtifactWish, profile: Profile) -> EngineSpec | None:
    """What the profile has run a wished artifact; None where no engine is known for its format.

    Raises SettingsError where the profile names an engine kind that is not supported.
    """
    if wish.engine is not None:
        return wish.engine
    if wish.format in engines.get(profile.engine.kind).formats:
        return profile.engine
    return engines.usual(wish.format)


def _grants(wish: ArtifactWish, artifact: Artifact) -> bool:
    same = (wish.format, wish.variant) == (artifact.format, artifact.variant)
    return same and wish.precision in {None, artifact.precision}


def _absent(version: ModelVersion, wish: ArtifactWish) -> str:
    return f"{version.ref} has no {wish_name(wish)} artifact"


def wish_name(wish: ArtifactWish) -> str:
    """`onnx int8`; the format alone where the wish leaves the precision open."""
    return " ".join(word for word in (wish.format, wish.precision, wish.variant) if word)


def _taken(artifact: Artifact, engine: EngineSpec) -> str:
    by = f"runs with {engine.kind}" + (f" at {engine.path}" if engine.path else "")
    if artifact.accuracy.get("gate") == "fail":
        why = artifact.accuracy.get("reason")
        return f"{by}, though its accuracy gate failed" + (f": {why}" if why else "")
    proof = artifact.accuracy.get("reason")
    return by + (f"; accuracy gate passed, {proof}" if proof else "")


def _engine(
    wish: ArtifactWish, profile: Profile, facts: Facts, artifact: Artifact
) -> tuple[EngineSpec | None, str]:
    """The resolved engine for the artifact, and why this host cannot run it with that."""
    spec = spec_for(wish, profile)
    if spec is None:
        return None, (
            f"no engine is known for {artifact.format}; a wish with `engine: {{kind: command, …}}` "
            "has a program of yours run it"
        )
    engine = engines.get(spec.kind)
    if artifact.format not in engine.formats:
        return None, f"{spec.kind} does not run {artifact.format}"
    resolved = engine.resolve(spec, facts)
    return resolved, engine.unfit(resolved, facts, artifact)


def _misfit(artifact: Artifact, facts: Facts, present: Present, *, allow_inexact: bool) -> str:
    """Why the artifact is not for this host, whatever runs it; empty when it is."""
    if artifact.accuracy.get("gate") == "fail" and not allow_inexact:
        why = artifact.accuracy.get("reason")
        return "its accuracy gate failed" + (f": {why}" if why else "")
    return unmet(artifact, facts) or _memory(artifact, facts) or _disk(artifact, facts, present)


def _memory(artifact: Artifact, facts: Facts) -> str:
    total, needed = facts.memory.total_mb, memory_needed_mb(artifact)
    if not total or needed <= total:
        return ""
    about = "" if artifact.memory_mb is not None else "about "
    return f"needs {about}{needed} MiB of RAM, the host has {total}"


def _disk(artifact: Artifact, facts: Facts, present: Present) -> str:
    """Free space 0 is what facts say when it is not known: preflight asks the host again."""
    missing = present.missing_bytes(artifact.sha256, artifact.size)
    if not facts.disk.free_mb or not missing:
        return ""
    needed = -(-missing // MIB) + DISK_RESERVE_MB
    if needed <= facts.disk.free_mb:
        return ""
    return f"needs {needed} MiB of disk, {facts.disk.free_mb} are free"


def _though_full(candidate: Candidate, facts: Facts, present: Present) -> Candidate:
    """The candidate with what its disk lacks, if it was taken all the same."""
    if not candidate.taken or candidate.artifact is None:
        return candidate
    lack = _disk(candidate.artifact, facts, present)
    return replace(candidate, reason=f"{candidate.reason}, though it {lack}") if lack else candidate


def _way_out(
    candidates: tuple[Candidate, ...], version: ModelVersion, facts: Facts, python: str
) -> str:
    if any("accuracy gate failed" in c.reason for c in candidates):
        return "Give --allow-inexact to take what fails the accuracy gate, or add another artifact."
    if all(c.artifact is None for c in candidates):
        return f"orchestrate models add {version.ref} FILE, or add its formats to the profile."
    image = facts.docker_engine.image
    if image and any(said in c.reason for c in candidates for said in NOT_THERE):
        return f"Put it into the image {image}, or name one that has it with orchestrate_image."
    if any(said in c.reason for c in candidates for said in PYTHON_LACKS):
        return _to_python(facts, python)
    if any("katago is not installed" in c.reason for c in candidates):
        return _to_katago(facts)
    return (
        "Mend what the nearest candidate lacks, or add an artifact to the version or a wish "
        "to the profile."
    )


def _to_python(facts: Facts, python: str) -> str:
    """How a host's Python gets what it lacks."""
    other = "or name a Python that has it with orchestrate_python."
    if unsupported(facts) or facts.arch not in WHEELS:
        return f"Install it there, {other}"
    if python:
        return to_own_python(python)
    return f"{PROVISION_HOST} brings it, {other}"


def _to_katago(facts: Facts) -> str:
    """How a host gets katago."""
    if unsupported(facts):
        return "Install katago there, or add an artifact that another engine runs."
    return (
        f"{PROVISION_HOST} brings katago where the inventory names a katago_source; or add an "
        "artifact that another engine runs."
    )
