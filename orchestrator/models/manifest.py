"""What a version of a model consists of: `artifacts/<model>/<version>/manifest.json`."""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, replace
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

import yaml

from orchestrator import schema
from orchestrator.errors import ModelError
from orchestrator.files import write_atomically

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

SCHEMA = 1
MANIFEST = "manifest.json"
FORMATS = ("katago", "onnx", "tensorrt", "litert", "coreml", "file")
PRECISIONS = ("fp32", "fp16", "int8")


@dataclass(frozen=True, slots=True)
class Artifact:
    """One file of a version.

    `size` is in bytes. `filename` is the name it gets inside a release (KataGo tells formats
    apart by suffix). `memory_mb` is what the engine needs to run it, when known. `requires` are
    facts an engine built for one machine insists on (`hardware_class`, `compute_capability`,
    `tensorrt`). `variant` tells apart files of one format and precision that are made for
    different uses, such as `9x9`; the usual one has none.

    What `orchestrate build` made says so: `accuracy` is its report against the FP32 reference,
    `{"gate": "pass" | "fail", ...}`, `measured` its speed and memory on the machine that built it,
    `provenance` what it was made from, with what.
    """

    format: str
    precision: str
    filename: str
    sha256: str
    size: int
    memory_mb: int | None = None
    variant: str = ""
    requires: Mapping[str, Any] = field(default_factory=dict)
    accuracy: Mapping[str, Any] = field(default_factory=dict)
    measured: Mapping[str, Any] = field(default_factory=dict)
    provenance: Mapping[str, Any] = field(default_factory=dict)
    golden: Golden | None = None
    source: str = ""

    @property
    def kind(self) -> str:
        """`onnx int8`, with the variant behind it where there is one."""
        return " ".join(word for word in (self.format, self.precision, self.variant) if word)


@dataclass(frozen=True, slots=True)
class Golden:
    """The answers an artifact must give: a stored file, by digest.

    `.npz` with arrays `input:<name>` and `output:<name>` for tensor formats, `.json` with
    positions and answers for `katago`.
    """

    filename: str
    sha256: str
    size: int
    source: str = ""


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

    @property
    def files(self) -> tuple[Artifact | Golden, ...]:
        """Everything that must lie in the store, each file once."""
        files = [f for a in self.artifacts for f in (a, a.golden) if f is not None]
        return tuple({f.sha256: f for f in files}.values())


def read(path: Path, source: str = "") -> ModelVersion:
    """The version that a manifest.json describes; `source` names the file in errors.

    Raises ModelError, with the line, for a file that is missing, breaks the schema or was made by
    a newer orchestrate.
    """
    source = source or str(path)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as exc:
        raise ModelError(f"{source}: there is no such manifest") from exc
    except (OSError, UnicodeDecodeError) as exc:
        raise ModelError(f"{source}: cannot be read: {exc}") from exc
    return parse(text, source)


def parse(text: str, source: str) -> ModelVersion:
    """The version that the text of a manifest describes; raises ModelError, with the line."""
    try:
        document = json.loads(text, parse_int=_integer, parse_float=_number, parse_constant=_number)
    except (ValueError, RecursionError) as exc:
        line = f":{exc.lineno}" if isinstance(exc, json.JSONDecodeError) else ""
        cause = exc.msg if isinstance(exc, json.JSONDecodeError) else str(exc)
        raise ModelError(
            f"{source}{line}: not valid JSON: {cause}",
            hint="Take the file from git again; `orchestrate models add` writes it, not people.",
        ) from exc
    made_by = document.get("schema") if isinstance(document, dict) else None
    if isinstance(made_by, int) and made_by > SCHEMA:
        raise ModelError(
            f"{source}: made by a newer orchestrate (schema {made_by}, this one knows {SCHEMA})",
            hint="Upgrade orchestrate.",
        )
    if schema.problems(document, _json_schema()):
        schema.check(document, _json_schema(), source=source, lines=_lines(text), error=ModelError)
    return from_document(document)


def validate(version: ModelVersion) -> dict[str, Any]:
    """The version's manifest as JSON values; raises ModelError when it would break the schema."""
    document = to_document(version)
    schema.check(document, _json_schema(), source=version.ref, error=ModelError)
    return document


def write(path: Path, version: ModelVersion) -> None:
    """Put the manifest at `path`, whole or not at all; raises ModelError when it is not valid."""
    document = validate(version)
    path.parent.mkdir(parents=True, exist_ok=True)
    text = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False)
    write_atomically(path, (text + "\n").encode())


def from_document(document: Mapping[str, Any]) -> ModelVersion:
    """The version that a parsed manifest, checked against the schema, describes."""
    return ModelVersion(
        model=document["model"],
        version=document["version"],
        artifacts=tuple(_artifact(entry) for entry in document["artifacts"]),
        yanked=document.get("yanked"),
    )


def to_document(version: ModelVersion) -> dict[str, Any]:
    """The manifest as JSON values: keys always in the same order, what is not known left out."""
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "model": version.model,
        "version": version.version,
    }
    if version.yanked is not None:
        document["yanked"] = version.yanked
    document["artifacts"] = [entry(artifact) for artifact in version.artifacts]
    return document


def _artifact(entry: Mapping[str, Any]) -> Artifact:
    artifact = Artifact(**{key: value for key, value in entry.items() if key != "golden"})
    golden = entry.get("golden")
    return replace(artifact, golden=Golden(**golden)) if golden else artifact


def entry(artifact: Artifact) -> dict[str, Any]:
    """An artifact as the manifest and --json show it."""
    said = {
        "format": artifact.format,
        "precision": artifact.precision,
        "filename": artifact.filename,
        "sha256": artifact.sha256,
        "size": artifact.size,
        "memory_mb": artifact.memory_mb,
        "variant": artifact.variant,
        "requires": dict(artifact.requires),
        "accuracy": dict(artifact.accuracy),
        "measured": dict(artifact.measured),
        "provenance": dict(artifact.provenance),
        "source": artifact.source,
    }
    golden = artifact.golden
    if golden is not None:
        said["golden"] = _known(
            {
                "filename": golden.filename,
                "sha256": golden.sha256,
                "size": golden.size,
                "source": golden.source,
            }
        )
    return _known(said)


def _known(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if value not in (None, "", {})}


def _number(text: str) -> float:
    """The number; raises ValueError for what only Python reads as one, or is beyond its floats."""
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is no number")
    return number


def _integer(text: str) -> int:
    """The integer, which every reader can turn into a float; raises ValueError."""
    _number(text)
    return int(text)


def _lines(text: str) -> dict[schema.Path, int]:
    """JSON is YAML but for odd corners, such as tabs: there the lines are not known."""
    try:
        return schema.yaml_lines(text)
    except yaml.YAMLError:
        return {}


@cache
def _json_schema() -> dict[str, Any]:
    file = resources.files(__package__) / "manifest.schema.json"
    document: dict[str, Any] = json.loads(file.read_text(encoding="utf-8"))
    return document
