"""How a host stands: what it should run, what it runs, whether that passed, what drifted."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.errors import HostError, InputError
from orchestrator.planning.diff import HostPlan, changes, damage
from orchestrator.rollout import this_process
from orchestrator.rollout.project_lock import SWITCHING
from orchestrator.rollout.runner import ThreadRunner

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from orchestrator.fleet.host import Host
    from orchestrator.planning.present import Present
    from orchestrator.rollout.task import Surveyed

Plan = HostPlan | InputError | None


@dataclass(frozen=True, slots=True)
class Standing:
    """One host at a glance.

    `state` is `ok`, `drift` (not what is wanted, changed by hand, or its service is down),
    `unconfirmed` (in the middle of a switch: a run is at work, or was cut off), `unverified` (no
    verdict yet), `failing` (the last verdict was not a pass) or `empty`.
    """

    state: str
    wanted: str | None
    active: str | None
    release: str | None
    verdict: str | None
    since: str | None
    notes: tuple[str, ...]

    @property
    def as_it_should_be(self) -> bool:
        """Whether there is nothing to do; so it is where nothing is wanted and nothing active."""
        return self.state == "ok" or (self.state == "empty" and self.wanted is None)

    def as_dict(self) -> dict[str, Any]:
        """The host's entry in the JSON document."""
        return asdict(self)


def standing(
    host: Host,
    present: Present,
    lock: str | None,
    *,
    lock_age: int | None = None,
    plan: Plan = None,
    service: str | None = None,
) -> Standing:
    """The host's standing, from its inventory and what was found on it.

    `plan` is what a deploy would do, or why it could not; `service` why the service that runs the
    active release is not well, empty or None when nothing is known against it. `lock_age` is for
    how many seconds nothing was heard of whoever holds the `lock`. What was found may be of any
    shape: a manifest or a verdict that cannot be read is told, not raised.
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
    drift = [*_drift(present, release, wanted, active), *_would_change(present, active, plan)]
    drift += [f"the service is down: {_text(service)}"] if service else []
    owner = lock_owner(lock, lock_age)
    if present.armed is not None:
        state = "unconfirmed"
    elif present.current is None:
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
        notes=(
            *_unconfirmed(present, owner),
            *drift,
            *_by_itself(present),
            *_no_plan(plan),
            *_lock(lock, owner),
        ),
    )


def services(surveyed: Sequence[Surveyed], parallel: int) -> dict[str, str]:
    """What speaks against the services of these hosts, by host; empty for one that is well.

    Hosts whose active release has no health command are left out. The sessions must be open.
    Raises KeyboardInterrupt when the operator stops it.
    """
    asked = [s for s in surveyed if _is_watched(s.present.manifest)]
    runner = ThreadRunner(parallel)
    said = runner.run(_health, asked)
    if runner.interrupted:
        raise KeyboardInterrupt
    return {s.task.host.name: word or "" for s, word in zip(asked, said, strict=True)}


def _is_watched(manifest: Mapping[str, Any]) -> bool:
    """Whether the host can tell how what runs the release is: by its command, or its container."""
    service = manifest.get("service")
    return "docker" in manifest or (isinstance(service, dict) and bool(service.get("health")))


def _health(surveyed: Surveyed) -> str:
    assert surveyed.present.current is not None  # noqa: S101
    try:
        return surveyed.session.health(surveyed.present.current)
    except HostError as exc:
        return f"it cannot be asked: {exc.message}"


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


def _would_change(present: Present, active: str | None, plan: Plan) -> list[str]:
    """What a deploy of the very version that is active would make otherwise."""
    if not isinstance(plan, HostPlan) or active is None or present.current == plan.release.id:
        return []
    if active != f"{plan.release.model}@{plan.release.version}":
        return []
    return changes(plan.release, present, "would change")


def _no_plan(plan: Plan) -> list[str]:
    if not isinstance(plan, InputError):
        return []
    return [f"cannot plan: {_text(plan.message.splitlines()[0] if plan.message else plan.code)}"]


def _unconfirmed(present: Present, owner: Mapping[str, Any]) -> list[str]:
    """What becomes of the switch that nobody has confirmed yet."""
    armed = present.armed
    if armed is None:
        return []
    release, run, back = _text(armed.release), _text(armed.run), _text(armed.back or "nothing")
    if is_at_work(owner):
        command = f" ({_text(owner['command'])})" if "command" in owner else ""
        by = _text(owner.get("run"))
        return [f"run {by}{command} is at work: {release} is not confirmed yet"]
    if _is_cut_off(owner):
        cut = f"run {run} was cut off before {release} was confirmed: orchestrate resume"
        return [f"{cut}; else the host goes back to {back} by itself"]
    return [
        f"switched to {release} by run {run}, not confirmed; the host goes back to {back} by itself"
    ]


def lock_owner(lock: str | None, age: int | None) -> Mapping[str, Any]:
    """Who holds the lock, with the seconds of their silence as `age`; empty where not known."""
    try:
        owner = json.loads(lock or "{}")
    except (ValueError, RecursionError):
        return {}
    return {**owner, "age": age} if isinstance(owner, dict) else {}


def is_at_work(owner: Mapping[str, Any]) -> bool:
    """Whether the owner of a lock has given a sign of life within the time that it has for that."""
    lease, age = owner.get("lease"), owner.get("age")
    if not isinstance(lease, int) or not isinstance(age, int):
        return False
    return 0 <= age <= lease and not this_process.is_gone(owner)


def _is_cut_off(owner: Mapping[str, Any]) -> bool:
    """Whether the owner of a lock is no more: its process is gone, or was silent for too long."""
    lease, age = owner.get("lease"), owner.get("age")
    silent = isinstance(lease, int) and isinstance(age, int) and age > lease
    return silent or this_process.is_gone(owner)


def _by_itself(present: Present) -> list[str]:
    """What the host undid since the last commit, without being told."""
    for line in reversed(present.audit):
        if line.get("by") == "host":
            when, reason = _text(line.get("when")), _text(line.get("reason"))
            return [f"went back by itself at {when}: {reason}"]
        if line.get("what") == "commit":
            break
    return []


def _lock(lock: str | None, owner: Mapping[str, Any]) -> list[str]:
    if lock is None:
        return []
    if not {"who", "since", "command"} <= owner.keys():
        return ["locked"]
    who, since, command = (_text(owner[key]) for key in ("who", "since", "command"))
    cut = owner["command"] in tuple(SWITCHING) and _is_cut_off(owner)
    more = ", cut off: orchestrate resume" if cut else ""
    return [f"locked by {who} since {since} ({command}{more})"]


def _text(value: Any) -> str | None:
    """A word that can be printed; whatever else stands in its place as JSON would show it."""
    if isinstance(value, str):
        return value.encode(errors="replace").decode()
    return None if value is None else json.dumps(value, default=str)
