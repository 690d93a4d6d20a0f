"""What a version of a model consists of: `artifacts/<model>/<version>/manifest.json`."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMATS = ("katago", "onnx", "tensorrt", "litert", "coreml", "file")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a version.

    `size` is in bytes. `filename` is the name it gets inside a release (KataGo tells formats
    apart by suffix). `memory_mb` is what the engine needs to run it, when known. `requires` are
    facts an engine built for one machine insists on (`hardware_class`, `compute_capability`,
    `tensorrt`). `accuracy` is the report of the build, `{"gate": "pass" | "fail", ...}`.
    """

    format: str
    precision: str
    filename: str
    sha256: str
    size: int
    memory_mb: int | None = None
    requires: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    golden: Golden | None = None
    source: str = ""


@dataclass(frozen=True, slots=True)
class Golden:
    """The answers an artifact must give: a stored file, by digest.

    `.npz` with arrays `input:<name>` and `output:<name>` for tensor formats, `.json` with
    positions and answers for `katago`.
    """

    filename: str
    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """One release of a model: `name@version` and its artifacts."""

    model: str
    version: str
    artifacts: tuple[Artifact, ...]
    yanked: str | None = None

    @property
    def ref(self) -> str:
        """`name@version`."""
        return f"{self.model}@{self.version}"
