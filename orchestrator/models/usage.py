"""Which blobs hosts use, from what is known of them here."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.models.manifest import ModelVersion

_SETTLED = frozenset({"deployed", "unchanged", "rolled_back"})


def digests_in_use(
    versions: Iterable[ModelVersion],
    wanted: Iterable[str],
    outcomes: Iterable[Sequence[Mapping[str, Any]]],
) -> set[str]:
    """The digests of every file of every version that a host has, or is to get.

    `wanted` are the refs in the inventory. `outcomes` has one sequence a host, newest first, of
    what became of it in its runs, as `deploy --json` tells it. What a host has is the release or
    the previous one of its last run that brought it to a known state, or of a later run.
    """
    refs, releases, digests = set(wanted), set[str](), set[str]()
    for history in outcomes:
        for outcome in history:
            artifact = outcome.get("artifact") or {}
            digests.add(artifact.get("sha256") or "")
            refs.add(f"{artifact.get('model')}@{artifact.get('version')}")
            releases |= {outcome.get("release") or "", outcome.get("previous") or ""}
            if outcome.get("status") in _SETTLED:
                break
    for version in versions:
        prefix = f"{version.model}-{version.version}-"
        if version.ref in refs or any(release.startswith(prefix) for release in releases):
            digests |= {file.sha256 for file in version.files}
    return digests - {""}
