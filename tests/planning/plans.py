"""Plans to test with, made of sample hosts and versions."""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING

from orchestrator.fleet.host import Host
from orchestrator.fleet.profile import ArtifactWish, EngineSpec, Profile
from orchestrator.planning.plan import PlanInputs
from orchestrator.planning.present import Present
from orchestrator.planning.render import Templates
from tests.planning import samples

if TYPE_CHECKING:
    from orchestrator.planning.release import Release

ORT = Profile(
    "ort", "true", (ArtifactWish("onnx"),), "ort.cfg.j2", EngineSpec("onnxruntime"),
    vars={"threads": 2, "colour": "red"},
)  # fmt: skip
TEMPLATES = {
    "ort.cfg.j2": (
        "# {{ model }}@{{ version }} {{ profile }} {{ config }} {{ vars.colour }}\n"
        "execution_provider = cpu\n"
        "intra_op_threads = {{ vars.threads }}\n"
    ),
    "run.sh.j2": "#!/bin/sh\nexec {{ run_line }}\n",
}


def inputs(**changes) -> PlanInputs:
    texts = TEMPLATES | changes.pop("templates", {})
    values = {
        "host": Host("pi-1", ("pis",), {"threads": 3}),
        "groups": {"pis": ("pi-1",)},
        "facts": samples.facts("pi4", python=samples.PYTHON),
        "version": samples.version(samples.artifact(golden=samples.GOLDEN)),
        "profiles": (ORT,),
        "templates": Templates.of(texts),
    }
    return PlanInputs(**(values | changes))


def on_host(release: Release, *, verdict: str | None = "pass", **changes) -> Present:
    """A host on which `release` is active and was judged."""
    lines = [{"what": "activate", "release": release.id}]
    lines += [{"what": "commit", "release": release.id, "verdict": verdict}] if verdict else []
    present = Present(
        current=release.id,
        releases=(release.id,),
        stored=frozenset(b.sha256 for b in release.blobs),
        manifest=release.manifest,
        config=release.texts[release.config],
        sizes={name: file["size"] for name, file in release.manifest["files"].items()},
        audit=tuple(lines),
    )
    return dataclasses.replace(present, **changes)
