"""How a host stands: what it should run, what it runs, whether that passed, what drifted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.planning.diff import damage

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
    """The host's standing, from its inventory and what was found on it.

    What was found may be of any shape: a manifest or a verdict that cannot be read is told, not
    raised.
    """
    wanted = _text(host.vars.get("orchestrate_model"))
    release = present.manifest if _is_whole(present.manifest) else None
    active = f"{release['model']}@{release['version']}" if release else None
    last: Mapping[str, Any] = next(
        (
            line
            for line in reversed(present.audit)
            if line.get("release") == present.current and line.get("verdict")
        ),
        {},
    )
    verdict = _text(last.get("verdict"))
    drift = _drift(present, release, wanted, active)
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
        since=_text(last.get("when")),
        notes=(*drift, *_lock(lock)),
    )


def _is_whole(manifest: Mapping[str, Any]) -> bool:
    """Whether manifest.json says what the release is, in the shape that a deploy writes."""
    match manifest:
        case {"model": str(), "version": str(), "config": str(config), "files": dict(files)}:
            entry = files.get(config)
            printable = "".join([manifest["model"], manifest["version"], config]).isprintable()
            return printable and isinstance(entry, dict) and isinstance(entry.get("sha256"), str)
    return False


def _drift(
    present: Present, release: Mapping[str, Any] | None, wanted: str | None, active: str | None
) -> list[str]:
    if present.current is None or present.current not in present.releases or release:
        notes = damage(present)
    else:
        notes = ["manifest.json is damaged"]
    if wanted and active and wanted != active:
        notes.append(f"{wanted} is wanted")
    return notes


def _lock(lock: str | None) -> list[str]:
    if lock is None:
        return []
    try:
        owner = json.loads(lock)
        who, since, command = (_text(owner[key]) for key in ("who", "since", "command"))
    except (ValueError, KeyError, TypeError, RecursionError):
        return ["locked"]
    return [f"locked by {who} since {since} ({command})"]


def _text(value: Any) -> str | None:
    """A word that can be printed; whatever else stands in its place as JSON would show it."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return None if value is None else json.dumps(value, default=str)
