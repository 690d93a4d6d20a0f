"""The artifacts of a version side by side: size, speed, accuracy, as its manifest tells them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

from orchestrator.models.manifest import FORMATS, PRECISIONS
from orchestrator.pipeline.gate import FP16_LIMITS, Limits

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from orchestrator.models.manifest import Artifact, ModelVersion

KINDS = ("p99", "max")


@dataclass(frozen=True, slots=True)
class Row:
    """One artifact next to the reference; None is what was not measured, or cannot be compared.

    `errors` hold for each metric of the gate its `p99` and `max`, NaN where they are no finite
    numbers, `shares` the larger of the two in units of its limit: above 1 it fails. `gate` is
    `pass`, `fail` or empty. `peak_rss_mb` is in MiB, `load_s` in seconds.
    """

    artifact: Artifact
    size_ratio: float | None = None
    evals_per_s: float | None = None
    speed_ratio: float | None = None
    load_s: float | None = None
    peak_rss_mb: float | None = None
    errors: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    shares: Mapping[str, float] = field(default_factory=dict)
    gate: str = ""
    reason: str = ""
    conditions: str = ""

    @property
    def name(self) -> str:
        """The artifact, for people."""
        return name_of(self.artifact)


@dataclass(frozen=True, slots=True)
class Comparison:
    """The rows of a version, by format and precision.

    `reference` is the artifact that ratios are against, None where there is no FP32. `accuracy_of`
    names what accuracy was measured against, each once.
    """

    ref: str
    rows: tuple[Row, ...]
    reference: Artifact | None
    accuracy_of: tuple[str, ...] = ()

    @property
    def measured_on(self) -> dict[str, list[str]]:
        """Names of rows by the machine and the runtime that their speed was measured with."""
        found: dict[str, list[str]] = {}
        for row in self.rows:
            if row.evals_per_s is not None:
                found.setdefault(row.conditions or "an unknown machine", []).append(row.name)
        return found

    @property
    def metrics(self) -> list[str]:
        """The metrics that any row has, in the gate's order."""
        return [metric for metric in FP16_LIMITS if any(metric in row.shares for row in self.rows)]

    @property
    def telling(self) -> list[str]:
        """The metrics, the one that is nearest to its limit in any row first."""
        shares = [row.shares for row in self.rows]
        worst = {m: max(known[m] for known in shares if m in known) for m in self.metrics}
        return sorted(worst, key=lambda metric: -worst[metric])

    def document(self) -> dict[str, Any]:
        """The comparison for JSON; what is not known is null."""
        reference = self.reference
        return {
            "ref": self.ref,
            "reference": reference and {"artifact": reference.kind, "sha256": reference.sha256},
            "accuracy_of": list(self.accuracy_of),
            "limits": {m: {k: getattr(v, k) for k in KINDS} for m, v in FP16_LIMITS.items()},
            "artifacts": [_document(row) for row in self.rows],
        }


def compare(
    version: ModelVersion,
    measured: Mapping[str, Mapping[str, Any]] | None = None,
    limits: Limits = FP16_LIMITS,
) -> Comparison:
    """Every artifact of a version next to its ONNX FP32, or to its largest FP32 without one.

    `measured` holds newer measurements by sha256, in the place of the manifest's.
    """
    newer = measured or {}
    artifacts = tuple(
        replace(artifact, measured=newer.get(artifact.sha256, artifact.measured))
        for artifact in ordered(version.artifacts)
    )
    reference = reference_of(artifacts)
    rows = tuple(_row(artifact, reference, limits) for artifact in artifacts)
    told = (str(artifact.accuracy.get("reference") or "") for artifact in version.artifacts)
    return Comparison(version.ref, rows, reference, tuple(filter(None, dict.fromkeys(told))))


def ordered(artifacts: Iterable[Artifact]) -> list[Artifact]:
    """The artifacts by format, precision (the wider first), variant and what they require."""
    return sorted(
        artifacts,
        key=lambda a: (
            FORMATS.index(a.format),
            PRECISIONS.index(a.precision),
            a.variant,
            sorted((key, str(value)) for key, value in a.requires.items()),
        ),
    )


def name_of(artifact: Artifact) -> str:
    """`onnx int8`, with the GPU behind it where it is an engine for one: `tensorrt fp16 8.6`."""
    capability = artifact.requires.get("compute_capability")
    return f"{artifact.kind} {capability}" if capability else artifact.kind


def reference_of(artifacts: Sequence[Artifact]) -> Artifact | None:
    """The ONNX FP32, the usual one before its variants; else the largest FP32; None without any."""
    full = [artifact for artifact in artifacts if artifact.precision == "fp32"]
    return max(full, key=_as_reference, default=None)


def number(value: Any) -> float | None:
    """The value where it is a finite number, else None: manifests are written by hand as well."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not math.isfinite(value):
        return None
    return float(value)


def _as_reference(artifact: Artifact) -> tuple[bool, bool, int]:
    onnx = artifact.format == "onnx"
    return onnx, onnx and not artifact.variant, artifact.size


def _row(artifact: Artifact, reference: Artifact | None, limits: Limits) -> Row:
    speed = artifact.measured
    base = reference.measured if reference else {}
    errors = _errors(artifact, limits)
    return Row(
        artifact=artifact,
        size_ratio=artifact.size / reference.size if reference else None,
        evals_per_s=number(speed.get("evals_per_s")),
        speed_ratio=_speed_ratio(speed, base) if _same_board(artifact, reference) else None,
        load_s=number(speed.get("load_s")),
        peak_rss_mb=number(speed.get("peak_rss_mb")),
        errors=errors,
        shares={metric: _share(values, limits, metric) for metric, values in errors.items()},
        gate=str(artifact.accuracy.get("gate") or ""),
        reason=str(artifact.accuracy.get("reason") or ""),
        conditions=_conditions(speed),
    )


def _same_board(artifact: Artifact, reference: Artifact | None) -> bool:
    """Whether both were made for one board, as far as they tell: a small one is quick to answer."""
    options = [each.provenance.get("options") for each in (artifact, reference) if each]
    boards = {each["board"] for each in options if isinstance(each, dict) and "board" in each}
    return len(boards) <= 1


def _speed_ratio(speed: Mapping[str, Any], base: Mapping[str, Any]) -> float | None:
    """How many times as fast; None where they were not measured alike."""
    fast, slow = number(speed.get("evals_per_s")), number(base.get("evals_per_s"))
    alike = all(speed.get(key) == base.get(key) for key in ("cpu", "hardware_class", "threads"))
    return fast / slow if fast is not None and slow and alike else None


def _errors(artifact: Artifact, limits: Limits) -> dict[str, dict[str, float]]:
    metrics = artifact.accuracy.get("metrics")
    if not isinstance(metrics, dict):
        return {}
    found = {}
    for metric in limits:
        spread = metrics.get(metric)
        if isinstance(spread, dict):
            values = {kind: number(spread.get(kind)) for kind in KINDS}
            found[metric] = {k: math.nan if v is None else v for k, v in values.items()}
    return found


def _share(errors: Mapping[str, float], limits: Limits, metric: str) -> float:
    shares = [errors[kind] / getattr(limits[metric], kind) for kind in KINDS]
    return max(shares) if all(map(math.isfinite, shares)) else math.inf


def _conditions(speed: Mapping[str, Any]) -> str:
    """`AMD EPYC 7763, 1 thread, batch of 8, onnxruntime 1.31.1`; what is not known is left out."""
    threads = speed.get("threads")
    batch = speed.get("batch_size")
    words = (
        speed.get("cpu") or speed.get("hardware_class"),
        threads and f"{threads} thread{'' if threads == 1 else 's'}",
        batch and f"batch of {batch}",
        speed.get("runtime"),
    )
    return ", ".join(str(word) for word in words if word)


def _document(row: Row) -> dict[str, Any]:
    artifact = row.artifact
    return {
        "artifact": artifact.kind,
        "format": artifact.format,
        "precision": artifact.precision,
        "variant": artifact.variant,
        "requires": dict(artifact.requires),
        "sha256": artifact.sha256,
        "size": artifact.size,
        "size_ratio": row.size_ratio,
        "evals_per_s": row.evals_per_s,
        "speed_ratio": row.speed_ratio,
        "load_s": row.load_s,
        "peak_rss_mb": row.peak_rss_mb,
        "measured_on": row.conditions,
        "gate": row.gate or None,
        "reason": row.reason,
        "errors": {m: {k: number(v) for k, v in e.items()} for m, e in row.errors.items()},
        "shares_of_limits": {metric: number(share) for metric, share in row.shares.items()},
    }
