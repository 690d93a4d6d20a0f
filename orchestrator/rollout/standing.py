"""How a host stands: what it should run, what it runs, whether that passed, what drifted."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.fleet.host import Host
    from orchestrator.planning.present import Present


@dataclass(frozen=True, slots=True)
class Standing:
    """One host at a glance.

    `state` is `ok`, `drift` (not what is wanted, or changed by hand), `unverified` (no verdict
    yet: a run was cut off), `failing` (the last verdict was not a pass) or `empty`.
    """

    state: str
    wanted: str | None
    active: str | None
    release: str | None
    verdict: str | None
    since: str | None
    notes: tuple[str, ...]

    def as_dict(self) -> dict[str, Any]:
        """The host's entry in the JSON document."""
        return asdict(self)


def standing(host: Host, present: Present, lock: str | None) -> Standing:
    """The host's standing, from its inventory and what was found on it."""
    wanted = host.vars.get("orchestrate_model")
    manifest = present.manifest
    active = f"{manifest['model']}@{manifest['version']}" if "model" in manifest else None
    last: Mapping[str, Any] = next(
        (
            line
            for line in reversed(present.audit)
            if line.get("release") == present.current and line.get("verdict")
        ),
        {},
    )
    verdict = last.get("verdict")
    drift = _drift(present, wanted, active)
    if present.current is None:
        state = "empty"
    elif verdict not in {None, "pass"}:
        state = "failing"
    elif drift:
        state = "drift"
    else:
        state = "ok" if verdict else "unverified"
    return Standing(
        state=state,
        wanted=wanted,
        active=active,
        release=present.current,
        verdict=verdict,
        since=last.get("when"),
        notes=(*drift, *_lock(lock)),
    )


def _drift(present: Present, wanted: str | None, active: str | None) -> list[str]:
    if present.current is None:
        return []
    notes = []
    if present.current not in present.releases:
        notes.append(f"releases/{present.current} is gone")
    if wanted and active and wanted != active:
        notes.append(f"{wanted} is wanted")
    name = present.manifest.get("config")
    recorded = present.manifest.get("files", {}).get(name, {}).get("sha256")
    if recorded and recorded != hashlib.sha256(present.config.encode()).hexdigest():
        notes.append(f"{name} was changed by hand")
    return notes


def _lock(lock: str | None) -> list[str]:
    if lock is None:
        return []
    try:
        owner = json.loads(lock)
        return [f"locked by {owner['who']} since {owner['since']} ({owner['command']})"]
    except (ValueError, KeyError, TypeError):
        return ["locked"]
