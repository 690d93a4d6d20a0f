"""Speed and memory of a version's artifacts on this machine, measured now."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.pipeline import formats, measuring_katago, runners
from orchestrator.pipeline.comparison import ordered
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.machine import processor

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from orchestrator.models.manifest import Artifact, ModelVersion
    from orchestrator.models.store import Store

Found = tuple["Artifact", "dict[str, Any] | str"]


@dataclass(frozen=True, slots=True)
class Engine:
    """A KataGo on this machine, and config keys for it."""

    program: Path
    settings: Mapping[str, str] = field(default_factory=dict)


def remeasure(
    version: ModelVersion, store: Store, *, katago: Engine | None = None, seconds: float = 2.0
) -> Iterator[Found]:
    """What each artifact costs here, as `measured` in a manifest tells it, or why it is not known.

    One after the other, each in a process of its own. `katago` runs the KataGo nets; without it
    they are not measured.
    """
    for artifact in ordered(version.artifacts):
        try:
            path = store.check(artifact.sha256, artifact.size)
            if artifact.format == "katago" and katago is not None:
                found: dict[str, Any] | str = measuring_katago.measure(
                    katago.program,
                    path,
                    artifact.filename,
                    settings=katago.settings,
                    seconds=seconds,
                )
            else:
                found = _measured(artifact, path, seconds)
        except ModelError as exc:
            found = exc.message
        yield artifact, found if isinstance(found, str) else {**found, "cpu": processor()}


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


def _measured(artifact: Artifact, path: Path, seconds: float) -> dict[str, Any] | str:
    if artifact.format == "katago":
        return "no KataGo was named to run it"
    if artifact.format not in formats.FORMATS:
        return f"nothing is known that runs {artifact.format} files here"
    shape = shape_of(artifact.provenance.get("options") or {})
    found = runners.measure(artifact.format, path, shape, seconds=seconds)
    return f"nothing on this machine runs {artifact.format} files" if found is None else found
