"""What the project, its history and its cached facts tell of a version, for its checklist."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from orchestrator.cli import fleet
from orchestrator.pipeline.checklist_facts import Fleet, Host, Result, Wish

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from typing import Any

    from orchestrator.cli.common import Context
    from orchestrator.history.records import HostRecord
    from orchestrator.models.manifest import ModelVersion

# What a host was after a run that knows what is active there.
SETTLED = frozenset({"deployed", "unchanged", "verified", "rolled_back", "failed"})
PASS = "pass"  # noqa: S105 - a verdict


def known_fleet(context: Context, version: ModelVersion) -> Fleet:
    """What the profiles ask for, and where the version is; no host is asked.

    A history that cannot be used costs a warning. Raises InventoryError and SettingsError.
    """
    from orchestrator.fleet import inventory
    from orchestrator.history import open_history

    with open_history(context.project.history_url, warn) as history:
        records = history.outcomes_since(0.0)
        waiting = {wish.host for wish in history.wishes() if wish.model == version.ref}
    hosts = inventory.load(context.project.inventory).hosts
    past: dict[str, list[HostRecord]] = {name: [] for name in hosts}
    for record in records:
        past.setdefault(record.host, []).append(record)
    wanting = {n for n, h in hosts.items() if h.vars.get("orchestrate_model") == version.ref}
    cache = fleet.facts_cache(context)
    found = []
    for name, of_host in past.items():
        facts = cache.get(name)
        found.append(
            Host(
                name=name,
                hardware_class=facts[0].hardware_class if facts else hardware_class(of_host),
                wants=name in wanting,
                waits=name in waiting,
                has=active_kind(of_host, version),
                passed=last_pass(of_host, version),
            )
        )
    return Fleet(wishes(context), tuple(found), tuple(results(records, version)))


def warn(problem: str) -> None:
    """Say that the history cannot be used; the answers are then without it."""
    click.secho(f"warning: {problem}", fg="yellow", err=True)


def wishes(context: Context) -> tuple[Wish, ...]:
    """What the profiles ask for, in their order."""
    return tuple(
        Wish(profile.name, wish.format, wish.precision, wish.variant)
        for profile in context.project.settings.profiles
        for wish in profile.artifacts
    )


def results(records: Sequence[HostRecord], version: ModelVersion) -> Iterator[Result]:
    """What was measured of the version and passed."""
    for record in records:
        if verdict(record, version) == PASS:
            outcome = record.outcome
            yield Result(
                host=record.host,
                hardware_class=outcome.get("hardware_class") or "",
                artifact=kind(outcome["artifact"], version),
                time=record.time,
                metrics=outcome["verify"]["metrics"],
            )


def hardware_class(past: Sequence[HostRecord]) -> str:
    """The class that a host was of when it was last seen; empty where it never was."""
    classes = (str(record.outcome.get("hardware_class") or "") for record in reversed(past))
    return next(filter(None, classes), "")


def active_kind(past: Sequence[HostRecord], version: ModelVersion) -> str:
    """The kind of the version's artifact that a host has since its last run; empty for none."""
    settled = [record.outcome for record in past if record.status in SETTLED]
    if not settled or not _is_active(settled[-1], version):
        return ""
    about = (outcome["artifact"] for outcome in reversed(settled) if is_of(outcome, version))
    last = next(about, None)
    return kind(last, version) if last else "an artifact"


def last_pass(past: Sequence[HostRecord], version: ModelVersion) -> float | None:
    """When the version last passed on a host; None when it did not, or failed since."""
    verdicts = [(verdict(record, version), record.time) for record in past]
    told = [(word, time) for word, time in verdicts if word]
    return told[-1][1] if told and told[-1][0] == PASS else None


def verdict(record: HostRecord, version: ModelVersion) -> str:
    """The verdict of a run on a host, if it was about the version; else empty."""
    verify = record.outcome.get("verify")
    return str(verify["verdict"]) if verify and is_of(record.outcome, version) else ""


def is_of(outcome: Mapping[str, Any], version: ModelVersion) -> bool:
    """Whether a run was about the version on a host."""
    artifact = outcome.get("artifact") or {}
    return (artifact.get("model"), artifact.get("version")) == (version.model, version.version)


def kind(recorded: Mapping[str, Any], version: ModelVersion) -> str:
    """The kind of an artifact that the history names, with its variant where the digest tells."""
    known = {artifact.sha256: artifact.kind for artifact in version.artifacts}
    return known.get(recorded["sha256"]) or f"{recorded['format']} {recorded['precision']}"


def _is_active(outcome: Mapping[str, Any], version: ModelVersion) -> bool:
    """Whether the version was active after a run; older histories tell the release alone."""
    if "active" in outcome:
        return bool(outcome["active"] == version.ref)
    return str(outcome.get("release") or "").startswith(f"{version.model}-{version.version}-")
