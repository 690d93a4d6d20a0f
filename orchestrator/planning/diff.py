"""What lies between a host as it is and the release it should have."""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

from orchestrator.planning.release import COMPOSE, TURN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from orchestrator.planning.present import Present
    from orchestrator.planning.profiles import ProfileChoice
    from orchestrator.planning.release import Blob, Release
    from orchestrator.planning.select import Selection

Action = Literal["deploy", "verify", "unchanged"]
STEPS: dict[Action, tuple[str, ...]] = {
    "deploy": ("preflight", "stage", "activate", "verify", "commit"),
    "verify": ("verify", "commit"),
    "unchanged": (),
}
ID_LENGTH = len("sha256:") + 12  # of an image's id, as people read it


@dataclass(frozen=True, slots=True)
class HostPlan:
    """What one host should get, why, and what has to be done for it.

    `action` is `deploy` (what is missing or damaged of it is sent, then it is switched to),
    `verify` (it is active but never passed here, or a switch is not confirmed: a run was cut off)
    or `unchanged`. `steps` are the states to go through. `bytes_to_send` counts missing blobs, less
    what arrived of them before a cut, and texts. `config_diff` is a unified diff, empty when the
    config stays. `strategy` is `blue-green` or `recreate` on a Docker host and empty elsewhere;
    `strategy_reason` is a clause.
    """

    host: str
    choice: ProfileChoice
    selection: Selection
    release: Release
    present: Present
    action: Action
    steps: tuple[str, ...]
    bytes_to_send: int
    config_diff: str
    reasons: tuple[str, ...]
    strategy: str = ""
    strategy_reason: str = ""

    @property
    def switches_container(self) -> bool:
        """Whether a container takes over from another, so that the strategy matters."""
        return bool(self.strategy) and self.action == "deploy" and self.present.current is not None


def compare(
    host: str, choice: ProfileChoice, selection: Selection, release: Release, present: Present
) -> HostPlan:
    """The plan that brings the host from `present` to `release`."""
    action = _action(release, present)
    blobs = sum(present.missing_bytes(b.sha256, b.size) for b in release.blobs)
    return HostPlan(
        host=host,
        choice=choice,
        selection=selection,
        release=release,
        present=present,
        action=action,
        steps=STEPS[action],
        bytes_to_send=_texts_size(release) + blobs if action == "deploy" else 0,
        config_diff=config_diff(release, present),
        reasons=(*_reasons(action, release, present), *_undecided(choice)),
    )


def unwell(plan: HostPlan, trouble: str) -> HostPlan:
    """The plan of a host whose service has `trouble`: what was to stay is switched to anew.

    Other plans, and all where the trouble is empty, are as they were.
    """
    if plan.action != "unchanged" or not trouble:
        return plan
    return replace(
        plan,
        action="deploy",
        steps=STEPS["deploy"],
        bytes_to_send=_texts_size(plan.release),
        reasons=(f"the service is down: {trouble}", *_undecided(plan.choice)),
    )


def missing_blobs(release: Release, present: Present) -> tuple[Blob, ...]:
    """The blobs that have to be sent, in whole or in part."""
    return tuple(b for b in release.blobs if b.sha256 not in present.stored)


def config_diff(release: Release, present: Present) -> str:
    """The unified diff from the active config to the new one."""
    before, after = present.config, release.texts[release.config]
    old = str(present.manifest.get("config", release.config))
    return "".join(
        difflib.unified_diff(
            before.splitlines(keepends=True),
            after.splitlines(keepends=True),
            f"{present.current}/{old}" if present.current else "nothing",
            f"{release.id}/{release.config}",
        )
    )


def _action(release: Release, present: Present) -> Action:
    if present.current != release.id or damage(present):
        return "deploy"
    return "unchanged" if present.passed(release.id) and present.armed is None else "verify"


def damage(present: Present) -> list[str]:
    """What of the active release is not as it was made: files that are gone, cut or changed."""
    if present.current is None or present.current not in present.releases:
        return [] if present.current is None else [f"releases/{present.current} is gone"]
    files = present.manifest.get("files")
    if not isinstance(files, dict):
        return ["manifest.json is damaged"]
    found = []
    config = present.manifest.get("config")
    for name, file in files.items():
        entry = file if isinstance(file, dict) else {}
        if name not in present.sizes:
            found.append(f"{name} is missing")
        elif name == config and _sha256(present.config) != entry.get("sha256"):
            found.append(f"{name} was changed by hand")
        elif present.sizes[name] != entry.get("size"):
            found.append(f"{name} has another size")
        elif name in present.replaced:
            found.append(f"{name} was replaced")
    return found


def _texts_size(release: Release) -> int:
    return sum(len(text.encode()) for text in release.texts.values())


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode(errors="replace")).hexdigest()


def _reasons(action: Action, release: Release, present: Present) -> list[str]:
    if action == "unchanged":
        return [f"{release.id} is active and passed here"]
    if action == "verify":
        return [_unverified(release, present)]
    reasons = damage(present)
    if present.current == release.id:
        return reasons
    if release.id in present.releases:
        reasons.append("the release is on the host already")
    if present.current is None:
        return [*reasons, "nothing is active"]
    if not present.manifest:
        return [*reasons, f"{present.current} is active"]
    was, now = (
        f"{m.get('model')}@{m.get('version')}" for m in (present.manifest, release.manifest)
    )
    wanted = [] if was == now else [f"{now} is wanted, {was} is active"]
    return [*reasons, *wanted, *changes(release, present)]


def _unverified(release: Release, present: Present) -> str:
    if present.armed is not None:
        return f"run {present.armed.run} has not confirmed its switch to {present.armed.release}"
    return f"{release.id} is active but no verdict says that it passed here"


def changes(release: Release, present: Present, verb: str = "changes") -> list[str]:
    """What the new manifest says otherwise than the one on the host, which may lack anything.

    `verb` is what the config, the model ... do: `rpi.cfg changes`, or `rpi.cfg would change`.
    """
    old, new = present.manifest, release.manifest
    found = []
    if old.get("artifact") != new["artifact"]:
        before, after = (_kind(m.get("artifact")) for m in (old, new))
        found.append(f"the model {verb}: {before} → {after}")
    if _file(old, old.get("config")) != _file(new, release.config):
        found.append(f"{release.config} {verb}")
    if old.get("image") != new.get("image"):
        before, after = (_image(m.get("image")) for m in (old, new))
        found.append(f"the image {verb}: {before} → {after}")
    parts = ("profile", "engine", "verify", "service", "docker")
    found += [f"{part} {verb}" for part in parts if old.get(part) != new.get(part)]
    if not found and _ref(old) == _ref(new):
        runs = f"{COMPOSE} or {TURN}" if release.is_docker else "the run script"
        found.append(f"the golden answers or {runs} {verb}")
    return found


def _image(image: Any) -> str:
    """An image by its reference, and by the id that a tag stood for."""
    if not isinstance(image, dict):
        return "none"
    reference, identity = str(image.get("reference")), str(image.get("id"))
    return reference if "sha256:" in reference else f"{reference} ({identity[:ID_LENGTH]})"


def _ref(manifest: Mapping[str, Any]) -> str:
    return f"{manifest.get('model')}@{manifest.get('version')}"


def _kind(artifact: Any) -> str:
    if not isinstance(artifact, dict):
        return "unknown"
    return f"{artifact.get('format')} {artifact.get('precision')}"


def _file(manifest: Mapping[str, Any], name: Any) -> Any:
    files = manifest.get("files")
    return files.get(name) if isinstance(files, dict) else None


def _undecided(choice: ProfileChoice) -> list[str]:
    return [
        f"profile {fate.profile} was passed over, its condition fails: {fate.reason}"
        for fate in choice.fates
        if fate.fate == "error"
    ]
