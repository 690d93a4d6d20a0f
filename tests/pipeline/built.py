"""Artifacts as a build leaves them in a manifest, and as people add them by hand."""

from __future__ import annotations

import hashlib

from orchestrator.models.manifest import Artifact, ModelVersion
from orchestrator.pipeline.gate import FP16_LIMITS

SUFFIXES = {"katago": ".bin.gz", "onnx": ".onnx", "litert": ".tflite", "tensorrt": ".engine"}
MACHINE = {
    "cpu": "AMD EPYC 7763, 2 cores",
    "hardware_class": "cpu-x86_64",
    "threads": 2,
    "batch_size": 1,
    "runtime": "onnxruntime 1.31.1",
}


def by_hand(kind, size=1_000_000, **more):
    """What `models add` makes of a file: `kind` is `onnx int8`, perhaps with a variant."""
    form, precision, *variant = kind.split()
    name = f"{kind} {more.get('requires', '')}"
    return Artifact(
        form,
        precision,
        f"net{SUFFIXES[form]}",
        hashlib.sha256(name.encode()).hexdigest(),
        size,
        variant=" ".join(variant),
        **more,
    )


def built(kind, share=0.5, *, size=1_000_000, speed=10.0, rss=100.0, **more):
    """An artifact whose errors are `share` of every limit, at p99 and at most."""
    measured = {**MACHINE, "evals_per_s": speed, "peak_rss_mb": rss} if speed else {}
    extra = {"accuracy": accuracy(share), "measured": measured} | more
    if " int8" in kind:
        calibration = {"rows": 256, "sha256": "ab" * 32, "source": "self-play"}
        extra = {"provenance": {"calibration": calibration}} | extra
    return by_hand(kind, size, **extra)


def accuracy(share):
    """The report of a build."""
    metrics = {
        name: {"mean": 0.0, "p90": 0.0, "p99": limit.p99 * share, "max": limit.max * share}
        for name, limit in FP16_LIMITS.items()
    }
    return {
        "gate": "fail" if share > 1 else "pass",
        "reason": f"winrate p99 {share * 2:.3g} %, 2 % allowed",
        "positions": 92,
        "boards": {"9x9": 23, "19x19": 69},
        "reference": "net.bin.gz in FP32 by NumPy",
        "metrics": metrics,
    }


def version(*artifacts, ref="go@v1", **more):
    """A version of these artifacts."""
    model, _, name = ref.partition("@")
    return ModelVersion(model, name, artifacts, **more)
