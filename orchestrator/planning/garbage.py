"""Which releases on a host are no longer of use."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from orchestrator.planning.way_back import way_back

if TYPE_CHECKING:
    from orchestrator.planning.present import Present


def superseded(present: Present, active: str, keep: int) -> tuple[str, ...]:
    """The releases to remove now that `active` is committed, the least useful first.

    `keep` counts the releases that stay, `active` among them. Those stay whose commit is the
    latest; one whose last verdict is no pass goes before all that passed. Never removed, even when
    more than `keep` stay: `active`, what `current` points at, what a rollback would go back to, and
    both ends of a switch that is not confirmed yet. `present` may be from before `active`
    was staged or its commit written.
    """
    kept = _needed(present, active) & {active, *present.releases}
    committed = _last_commits(present)

    def use(release: str) -> tuple[bool, int]:
        return present.passed(release), committed.get(release, -1)

    others = sorted((r for r in present.releases if r not in kept), key=use)
    return tuple(others[: max(0, len(others) - max(0, keep - len(kept)))])


def _needed(present: Present, active: str) -> set[str | None]:
    """The releases that must stay; None among them where one of the roles is not filled."""
    now = replace(present, current=active)
    commit = {"what": "commit", "release": active, "verdict": "pass"}
    committed = replace(now, audit=(*present.audit, commit))
    needed = {active, present.current, way_back(now), way_back(committed)}
    if present.armed is not None:
        needed |= {present.armed.release, present.armed.back}
    return needed


def _last_commits(present: Present) -> dict[str, int]:
    """Where in the audit log each release was last committed."""
    return {
        line["release"]: place
        for place, line in enumerate(present.audit)
        if line.get("what") == "commit" and isinstance(line.get("release"), str)
    }
