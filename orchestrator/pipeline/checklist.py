"""Is a version ready for the fleet? Seven questions, answered with their evidence."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from itertools import takewhile
from statistics import median
from typing import TYPE_CHECKING, Any

from orchestrator.listing import count, names
from orchestrator.pipeline.comparison import name_of, number, ordered

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.models.manifest import Artifact, ModelVersion
    from orchestrator.pipeline.checklist_facts import Fleet, Host, Wish

SPEEDS = {"visits_per_s": "visits/s", "evals_per_s": "evals/s"}
MEMORY = {"peak_rss_mb": "MiB at most"}
UNKNOWN_CLASS = "unknown"


class Answer(StrEnum):
    """How far a question is settled."""

    YES = "yes"
    PARTLY = "partly"
    NO = "no"


@dataclass(frozen=True, slots=True)
class Point:
    """One question: the answer, what it rests on, and the command to go on with unless yes."""

    question: str
    answer: Answer
    evidence: tuple[str, ...]
    next: str = ""


def checklist(version: ModelVersion, fleet: Fleet) -> tuple[Point, ...]:
    """The seven points, in the order of the questions."""
    return (
        precision(version, fleet),
        calibration(version, fleet),
        export(version, fleet),
        accuracy(version),
        measured(version, fleet, "Is its speed measured on the target?", SPEEDS),
        measured(version, fleet, "Is its memory measured?", MEMORY),
        deployment(version, fleet),
    )


def precision(version: ModelVersion, fleet: Fleet) -> Point:
    """Whether a precision is chosen: hosts have one, or the profiles would take one."""
    question = "Is a precision chosen?"
    there = _kinds(version)
    if not there:
        return _nothing(version, question)
    evidence = [f"there: {', '.join(there)}"]
    running: dict[str, list[str]] = {}
    for host in fleet.hosts:
        if host.has:
            running.setdefault(host.has, []).append(host.name)
    evidence += [f"{kind} runs on {names(hosts)}" for kind, hosts in running.items()]
    if running:
        return Point(question, Answer.YES, tuple(evidence))
    chosen = {profile: _first(version, ws) for profile, ws in _by_profile(fleet).items()}
    evidence += [f"profile {profile}: {kind or 'nothing'}" for profile, kind in chosen.items()]
    if any(chosen.values()):
        evidence.append("no host has shown what fits it")
        return Point(
            question, Answer.PARTLY, tuple(evidence), f"orchestrate plan --model {version.ref}"
        )
    return Point(question, Answer.NO, tuple(evidence), f"orchestrate build {version.ref}")


def calibration(version: ModelVersion, fleet: Fleet) -> Point:
    """Whether INT8 artifacts tell which positions their ranges were learned from."""
    question = "Is calibration data ready?"
    rounded = [a for a in ordered(version.artifacts) if a.precision == "int8"]
    if not rounded:
        asking = [wish for wish in fleet.wishes if wish.precision == "int8"]
        if not asking:
            return Point(question, Answer.YES, ("nothing is int8, and no profile asks for it",))
        profiles = {p: _before_int8(version, ws) for p, ws in _by_profile(fleet).items()}
        askers = dict.fromkeys(wish.profile for wish in asking)
        found = [f"profile {p}: {profiles[p] or 'nothing'} comes before int8" for p in askers]
        return Point(
            question,
            Answer.PARTLY if all(profiles[profile] for profile in askers) else Answer.NO,
            ("there is no int8 artifact", *found),
            f"orchestrate build {version.ref} --precision int8 --calibration PATH",
        )
    told = {name_of(a): _calibrated_with(a) for a in rounded}
    evidence = tuple(f"{kind}: {rows or 'not told'}" for kind, rows in told.items())
    answer = _share(list(map(bool, told.values())))
    build = f"orchestrate build {version.ref} --precision int8 --calibration PATH --again"
    return Point(question, answer, evidence, "" if answer is Answer.YES else build)


def export(version: ModelVersion, fleet: Fleet) -> Point:
    """Whether there is an artifact of each kind that the profiles ask for."""
    question = "Is it exported to the target formats?"
    if not version.artifacts:
        return _nothing(version, question)
    if not fleet.wishes:
        nothing = ("no profile in orchestrate.yml asks for an artifact",)
        return Point(question, Answer.NO, nothing, "orchestrate init DIR")
    asked: dict[str, list[Wish]] = {}
    for wish in fleet.wishes:
        asked.setdefault(wish.name, []).append(wish)
    found = {name: any(map(wishes[0].takes, version.artifacts)) for name, wishes in asked.items()}
    evidence = [
        f"{name}: {'there' if found[name] else 'missing'}, for "
        + names(list(dict.fromkeys(wish.profile for wish in wishes)))
        for name, wishes in asked.items()
    ]
    if all(found.values()):
        return Point(question, Answer.YES, tuple(evidence))
    served = {p: any(found[w.name] for w in ws) for p, ws in _by_profile(fleet).items()}
    without = [profile for profile, something in served.items() if not something]
    evidence.append(f"nothing for {names(without)}" if without else "every profile finds one")
    missing = next(wishes[0] for name, wishes in asked.items() if not found[name])
    answer = Answer.PARTLY if any(found.values()) else Answer.NO
    return Point(question, answer, tuple(evidence), _build(version, missing))


def accuracy(version: ModelVersion) -> Point:
    """Whether every artifact that was made of the net passes its gate."""
    question = "Is the loss of accuracy acceptable?"
    if not version.artifacts:
        return _nothing(version, question)
    gates = {name_of(a): _gate(a) for a in ordered(version.artifacts)}
    evidence = [f"{kind}: {told}" for kind, (_, told) in gates.items()]
    answer = _share([passed for passed, _ in gates.values()])
    if answer is Answer.YES:
        return Point(question, answer, tuple(evidence))
    failed = any(told.startswith("fail") for _, told in gates.values())
    if failed:
        evidence.append("no host gets what failed, unless deploy is told --allow-inexact")
    compare, build = f"orchestrate compare {version.ref}", f"orchestrate build {version.ref}"
    return Point(question, answer, tuple(evidence), compare if failed else build)


def measured(
    version: ModelVersion, fleet: Fleet, question: str, metrics: Mapping[str, str]
) -> Point:
    """Whether a metric was measured on hosts of every hardware class that is to run the version.

    `metrics` are the metric's names, the one to be preferred first, with their units.
    """
    by_class = _on_hosts(fleet, metrics)
    evidence = [f"{where}: {'; '.join(told)}" for where, told in by_class.items()]
    built = _at_build(version, metrics)
    lacking = [h for h in fleet.concerned if (h.hardware_class or UNKNOWN_CLASS) not in by_class]
    if by_class and not lacking:
        return Point(question, Answer.YES, tuple(evidence))
    missing = {host.hardware_class or UNKNOWN_CLASS: host for host in lacking}
    evidence += [f"{where}: not measured" for where in sorted(missing)]
    evidence += [f"where it was built: {', '.join(built)}"] if built else []
    if not evidence:
        evidence.append("not measured anywhere")
    answer = Answer.PARTLY if by_class or built else Answer.NO
    return Point(question, answer, tuple(evidence), _measure(version, lacking))


def deployment(version: ModelVersion, fleet: Fleet) -> Point:
    """Whether the hosts that want the version have it, proven there."""
    question = "Is it deployed by automation?"
    hosts = fleet.concerned
    done = [host for host in hosts if host.has and host.passed is not None]
    unproven = [host for host in hosts if host.has and host.passed is None]
    without = [host for host in hosts if not host.has]
    evidence = _verified(done)
    for told, some in (
        ("not verified there", unproven),
        ("wanted, not there", [host for host in without if not host.waits]),
        ("wanted, and a deploy did not reach it", [host for host in without if host.waits]),
    ):
        evidence += [f"{told}: {names([host.name for host in some])}"] if some else []
    if not hosts:
        evidence.append("no host wants it, and none has it")
    answer = _share([host in done for host in hosts])
    return Point(question, answer, tuple(evidence), _go_on(version, answer, without, unproven))


def _verified(hosts: Sequence[Host]) -> list[str]:
    """A line for each kind of artifact that passed, with its hosts and the latest time."""
    kinds: dict[str, list[Host]] = {}
    for host in hosts:
        kinds.setdefault(host.has, []).append(host)
    return [
        f"{kind}, verified {_time(max(host.passed or 0.0 for host in some))}: "
        + names([host.name for host in some])
        for kind, some in kinds.items()
    ]


def _go_on(
    version: ModelVersion, answer: Answer, without: Sequence[Host], unproven: Sequence[Host]
) -> str:
    if answer is Answer.YES:
        return ""
    if without and all(host.waits for host in without):
        return "orchestrate reconcile"
    if without:
        return "orchestrate deploy" + _limit(without)
    if unproven:
        return "orchestrate verify" + _limit(unproven)
    return f"orchestrate deploy --model {version.ref} --limit HOSTS"


def _measure(version: ModelVersion, lacking: Sequence[Host]) -> str:
    """How to measure what hosts lack."""
    if not lacking:
        return f"orchestrate deploy --model {version.ref} --limit HOSTS"
    having = [host for host in lacking if host.has]
    if having:
        return "orchestrate verify" + _limit(having)
    return _go_on(version, Answer.NO, lacking, ())


def _limit(hosts: Sequence[Host]) -> str:
    """`--limit a,b`, as long as that can be read."""
    few = 5
    return f" --limit {','.join(host.name for host in hosts)}" if len(hosts) <= few else ""


def _on_hosts(fleet: Fleet, metrics: Mapping[str, str]) -> dict[str, list[str]]:
    """By hardware class, what each artifact has shown: the median of its hosts' latest results."""
    latest: dict[tuple[str, str], dict[str, tuple[float, str]]] = {}
    times: dict[tuple[str, str], float] = {}
    for result in fleet.results:
        found = _value(result.metrics, metrics)
        if found is not None:
            key = (result.hardware_class or UNKNOWN_CLASS, result.artifact)
            latest.setdefault(key, {})[result.host] = found
            times[key] = result.time
    told: dict[str, list[str]] = {}
    for where, artifact in sorted(latest):
        shown = latest[where, artifact]
        unit = next(reversed(shown.values()))[1]
        middle = median(value for value, its_unit in shown.values() if its_unit == unit)
        line = f"{artifact} {_digits(middle)} {unit} on {names(list(shown), 3)}"
        told.setdefault(where, []).append(f"{line}, {_time(times[where, artifact])}")
    return told


def _at_build(version: ModelVersion, metrics: Mapping[str, str]) -> list[str]:
    found = ((name_of(a), _value(a.measured, metrics)) for a in ordered(version.artifacts))
    return [f"{kind} {_digits(value[0])} {value[1]}" for kind, value in found if value]


def _value(given: Mapping[str, Any], metrics: Mapping[str, str]) -> tuple[float, str] | None:
    known = ((number(given.get(metric)), unit) for metric, unit in metrics.items())
    return next(((value, unit) for value, unit in known if value is not None), None)


def _gate(artifact: Artifact) -> tuple[bool, str]:
    """Whether the artifact plays like the net, and what that rests on."""
    verdict, reason = artifact.accuracy.get("gate"), artifact.accuracy.get("reason")
    if verdict:
        return verdict == "pass", f"{verdict}: {reason}" if reason else str(verdict)
    if artifact.format == "katago":
        return True, "the net itself"
    return False, "not measured" + (", has golden answers" if artifact.golden else "")


def _calibrated_with(artifact: Artifact) -> str:
    """`256 rows, sha256 0123456789ab…`; empty where the provenance does not tell."""
    data = artifact.provenance.get("calibration")
    if not isinstance(data, dict) or number(data.get("rows")) is None:
        return ""
    digest = str(data.get("sha256") or "")
    words = (
        count(int(data["rows"]), "row"),
        f"sha256 {digest[:12]}…" if digest else "",
        str(data.get("source") or ""),
    )
    return ", ".join(word for word in words if word)


def _first(version: ModelVersion, wishes: Iterable[Wish]) -> str:
    """The first artifact that the wishes would take, whatever the hosts are; empty for none."""
    fitting = (
        artifact.kind
        for wish in wishes
        for artifact in version.artifacts
        if wish.takes(artifact) and artifact.accuracy.get("gate") != "fail"
    )
    return next(fitting, "")


def _before_int8(version: ModelVersion, wishes: Iterable[Wish]) -> str:
    """The first artifact that the wishes ahead of those for INT8 would take; empty for none."""
    return _first(version, takewhile(lambda wish: wish.precision != "int8", wishes))


def _by_profile(fleet: Fleet) -> dict[str, list[Wish]]:
    found: dict[str, list[Wish]] = {}
    for wish in fleet.wishes:
        found.setdefault(wish.profile, []).append(wish)
    return found


def _build(version: ModelVersion, wish: Wish) -> str:
    """How to make what a profile asks for."""
    if wish.format in {"katago", "file"}:
        return f"orchestrate models add {version.ref} SOURCE --format {wish.format}"
    wanted = f" --precision {wish.precision}" if wish.precision else ""
    gpu = " --compute-capability X.Y" if wish.format == "tensorrt" else ""
    return f"orchestrate build {version.ref} --format {wish.format}{wanted}{gpu}"


def _nothing(version: ModelVersion, question: str) -> Point:
    add = f"orchestrate models add {version.ref} SOURCE"
    return Point(question, Answer.NO, (f"{version.ref} has no artifacts",), add)


def _kinds(version: ModelVersion) -> list[str]:
    return list(dict.fromkeys(artifact.kind for artifact in ordered(version.artifacts)))


def _share(settled: Sequence[bool]) -> Answer:
    """Yes when all are, partly when some are."""
    if settled and all(settled):
        return Answer.YES
    return Answer.PARTLY if any(settled) else Answer.NO


def _digits(value: float) -> str:
    return f"{value:.3g}" if value < 1000 else f"{value:.0f}"  # noqa: PLR2004 - three digits


def _time(seconds: float) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M} UTC"
