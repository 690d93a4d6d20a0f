"""Speed and memory of a version's artifacts on this machine, measured now."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.pipeline import formats, runners
from orchestrator.pipeline.comparison import ordered
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.machine import processor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from orchestrator.models.manifest import Artifact, ModelVersion
    from orchestrator.models.store import Store

Found = tuple["Artifact", "dict[str, Any] | str"]


def remeasure(version: ModelVersion, store: Store, *, seconds: float = 2.0) -> Iterator[Found]:
    """What each artifact costs here, as `measured` in a manifest tells it, or why it is not known.

    One after the other, each in a process of its own.
    """
    for artifact in ordered(version.artifacts):
        yield artifact, _measured(artifact, store, seconds)


def shape_of(options: Mapping[str, Any]) -> Shape:
    """The shape that the options in a provenance tell; what they leave out is as usual."""
    usual = Shape()
    width, _, height = str(options.get("board", "")).partition("x")
    known = width.isdigit() and height.isdigit()
    return Shape(
        height=int(height) if known else usual.height,
        width=int(width) if known else usual.width,
        masked=bool(options.get("masked", usual.masked)),
        optimism=float(options.get("optimism", usual.optimism)),
        softplus=bool(options.get("softplus", usual.softplus)),
    )


def _measured(artifact: Artifact, store: Store, seconds: float) -> dict[str, Any] | str:
    if artifact.format not in formats.FORMATS:
        return f"{artifact.format} files are not run here; `orchestrate verify` measures on hosts"
    shape = shape_of(artifact.provenance.get("options") or {})
    try:
        path = store.check(artifact.sha256, artifact.size)
        found = runners.measure(artifact.format, path, shape, seconds=seconds)
    except ModelError as exc:
        return exc.message
    if found is None:
        return f"nothing on this machine runs {artifact.format} files"
    return {**found, "cpu": processor()}
