"""Why a host gets what it gets, told from the facts to the bytes; also when it gets nothing."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import InputError
from orchestrator.planning.containers import BLUE_GREEN
from orchestrator.planning.diff import ID_LENGTH, missing_blobs
from orchestrator.planning.plan import choice_for, plan_for, release_for, selection_for
from orchestrator.planning.select import weigh
from orchestrator.sizes import human_size

if TYPE_CHECKING:
    from collections.abc import Iterable

    from orchestrator.fleet.facts import Facts
    from orchestrator.planning.diff import HostPlan
    from orchestrator.planning.plan import PlanInputs
    from orchestrator.planning.profiles import ProfileFate
    from orchestrator.planning.select import Candidate

_MARKS = {"chosen": "✓", "error": "!", "no match": "✗", "not needed": "·"}


@dataclass(frozen=True, slots=True)
class Explanation:
    """Why a host gets what it gets: `lines` to read, `document` for programs.

    `plan` is None and `error` says why when the host can get nothing; what was found out before
    that is told nevertheless.
    """

    lines: tuple[str, ...]
    document: dict[str, Any]
    plan: HostPlan | None = None
    error: InputError | None = None


def explain(inputs: PlanInputs) -> Explanation:
    """The way from the host's facts to its plan, or to the error that ends it; never raises it."""
    lines = _host(inputs)
    document: dict[str, Any] = {
        "host": inputs.host.name,
        "wanted": inputs.version.ref,
        "hardware_class": inputs.facts.hardware_class,
    }
    try:
        choice = choice_for(inputs)
        document |= {"profile": choice.profile.name, "profiles": [asdict(f) for f in choice.fates]}
        lines += ["", "profiles (the first whose condition holds)", *_fates(choice.fates)]
        candidates, _ = weigh(
            inputs.version,
            choice.profile,
            inputs.facts,
            inputs.present,
            allow_inexact=inputs.allow_inexact,
        )
        document["candidates"] = [candidate_document(c) for c in candidates]
        lines += ["", f"artifacts of {inputs.version.ref}, in the order of {choice.profile.name}"]
        lines += _candidates(candidates)
        selection = selection_for(inputs, choice)
        release = release_for(inputs, choice, selection)
    except InputError as exc:
        said = exc.message.splitlines()
        lines += ["", *(f"error: {line}" for line in said)]
        lines += [f"  hint: {exc.hint}"] if exc.hint else []
        return Explanation(tuple(lines), {**document, "error": exc.as_dict()}, error=exc)
    plan = plan_for(inputs, choice, selection, release)
    lines += ["", *_outcome(plan)]
    return Explanation(tuple(lines), {**document, **plan_document(plan), "error": None}, plan)


def plan_document(plan: HostPlan) -> dict[str, Any]:
    """A plan as `plan --json` and `explain --json` show it."""
    release = plan.release
    return {
        "action": plan.action,
        "steps": list(plan.steps),
        "release": release.id,
        "previous": plan.present.current,
        "profile": release.profile,
        "artifact": {
            "model": release.model,
            "version": release.version,
            **release.manifest["artifact"],
        },
        "engine": release.manifest["engine"],
        "config": release.config,
        "config_diff": plan.config_diff,
        "bytes_to_send": plan.bytes_to_send,
        "candidates": [candidate_document(c) for c in plan.selection.candidates],
        "reasons": list(plan.reasons),
        **_docker_document(plan),
    }


def _docker_document(plan: HostPlan) -> dict[str, Any]:
    """What only the plan of a Docker host says."""
    if not plan.release.is_docker:
        return {}
    switches = plan.switches_container
    return {
        "image": plan.release.image,
        "strategy": plan.strategy if switches else None,
        "strategy_reason": plan.strategy_reason if switches else None,
    }


def container_switch(plan: HostPlan) -> str:
    """How one container takes over from another; empty where none does."""
    if not plan.switches_container:
        return ""
    if plan.strategy == BLUE_GREEN:
        return f"new container beside the old one ({plan.strategy})"
    return f"the old container is stopped first ({plan.strategy}): {plan.strategy_reason}"


def candidate_document(candidate: Candidate) -> dict[str, Any]:
    """A candidate's fate as the JSON output shows it."""
    artifact = candidate.artifact
    return {
        "format": candidate.wish.format,
        "precision": artifact.precision if artifact else candidate.wish.precision,
        "sha256": artifact.sha256 if artifact else None,
        "taken": candidate.taken,
        "reason": candidate.reason,
    }


def _host(inputs: PlanInputs) -> list[str]:
    host, facts = inputs.host, inputs.facts
    groups = f" in {', '.join(host.groups)}" if host.groups else ""
    return [
        f"{host.name}{groups}",
        f"  wanted    {inputs.version.ref}",
        f"  active    {inputs.present.current or 'nothing'}",
        f"  class     {facts.hardware_class or 'unknown'}",
        f"  hardware  {_hardware(facts)}",
        *([f"  image     {_image(facts)}"] if facts.docker_engine.version else []),
        f"  runtimes  {_runtimes(facts)}",
        *(f"  warning   {warning}" for warning in facts.warnings),
    ]


def _image(facts: Facts) -> str:
    there = facts.docker_engine
    identity = "" if there.image_id == there.image else f", {there.image_id[:ID_LENGTH]}"
    return f"{there.image}{identity} (Docker Engine {there.version})"


def _hardware(facts: Facts) -> str:
    parts = [
        facts.board.model,
        facts.arch,
        f"{facts.cpu.cores} cores" if facts.cpu.cores > 1 else "1 core",
        f"{facts.memory.total_mb} MiB RAM" if facts.memory.total_mb else "",
        f"{facts.disk.free_mb} MiB free" if facts.disk.free_mb else "",
        *(f"{gpu.name} (compute capability {gpu.compute_capability})" for gpu in facts.gpus),
    ]
    return ", ".join(part for part in parts if part)


def _runtimes(facts: Facts) -> str:
    katago, python = facts.katago, facts.python
    parts = [
        f"katago {katago.version} ({katago.backend}) at {katago.path}" if katago.path else "",
        f"onnxruntime {python.onnxruntime} in {python.path}" if python.onnxruntime else "",
        f"TensorRT {facts.tensorrt}" if facts.tensorrt else "",
        f"TensorRT-RTX {facts.tensorrt_rtx}" if facts.tensorrt_rtx else "",
        f"CUDA {facts.cuda}" if facts.cuda else "",
    ]
    return ", ".join(part for part in parts if part) or "none found"


def _fates(fates: Iterable[ProfileFate]) -> list[str]:
    rows = [(_MARKS[f.fate], f.profile, f"{f.fate}: {f.reason}") for f in fates]
    return _table(rows)


def _candidates(candidates: Iterable[Candidate]) -> list[str]:
    rows = []
    for c in candidates:
        idle = c.reason.startswith("not needed")
        mark = _MARKS["chosen" if c.taken else "not needed" if idle else "no match"]
        rows.append((mark, c.name, c.reason))
    return _table(rows)


def _table(rows: list[tuple[str, str, str]]) -> list[str]:
    width = max((len(name) for _, name, _ in rows), default=0)
    return [f"  {mark} {name:<{width}}  {text}" for mark, name, text in rows]


def _outcome(plan: HostPlan) -> list[str]:
    release = plan.release
    engine = release.engine
    program = " ".join(word for word in (engine.path or engine.run, engine.command) if word)
    model = release.blobs[0]
    kind = f"{release.artifact.format} {release.artifact.precision}"
    lines = [
        f"release     {release.id}",
        f"  artifact  {model.name}, {kind}, {human_size(model.size)}, sha256 {model.sha256[:12]}",
        f"  engine    {engine.kind}" + (f": {program}" if program else ""),
        f"  config    {release.config} from templates/{plan.choice.profile.config}",
        f"  action    {plan.action}" + (f": {' → '.join(plan.steps)}" if plan.steps else ""),
        *(f"            because {reason}" for reason in plan.reasons),
        *(f"  switch    {how}" for how in [container_switch(plan)] if how),
    ]
    if plan.action == "deploy":
        lines.append(f"  to send   {human_size(plan.bytes_to_send)}: {_sent(plan)}")
    if plan.config_diff:
        news = plan.config_diff if plan.present.config else release.texts[release.config]
        lines += ["", release.config, *(f"  {line}" for line in news.splitlines())]
    return lines


def _sent(plan: HostPlan) -> str:
    parts = []
    for blob in missing_blobs(plan.release, plan.present):
        have = blob.size - plan.present.missing_bytes(blob.sha256, blob.size)
        resumed = f", {human_size(have)} there already" if have else ""
        parts.append(f"{blob.name} ({human_size(blob.size)}{resumed})")
    return ", ".join([*parts, *plan.release.texts])
