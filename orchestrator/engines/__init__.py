"""What runs a net on a host: one module or package for each engine kind."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from orchestrator.errors import SettingsError
from orchestrator.fleet.profile import EngineSpec
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from orchestrator.engines.base import Engine

SUPPORTED = ("command", "katago", "onnxruntime")
PLANNED = ("litert", "tensorrt")

_USUAL = {
    "katago": EngineSpec("katago", command="gtp"),
    "onnx": EngineSpec("onnxruntime"),
}


def get(kind: str) -> Engine:
    """The engine of a kind; raises SettingsError where there is none."""
    if kind not in SUPPORTED:
        raise _unsupported(kind)
    return cast("Engine", importlib.import_module(f"orchestrator.engines.{kind}").ENGINE)


def usual(artifact_format: str) -> EngineSpec | None:
    """What runs a format where the profile names no engine for it; None where nothing does."""
    return _USUAL.get(artifact_format)


def _unsupported(kind: str) -> SettingsError:
    supported = f"Supported: {', '.join(SUPPORTED)}."
    if kind in PLANNED:
        return SettingsError(
            f"engine kind {kind} is not supported yet",
            hint=f"{supported} Kind command ships any program with its own check.",
        )
    hint = f"{did_you_mean(kind, SUPPORTED)} {supported}".lstrip()
    return SettingsError(f"there is no engine kind '{kind}'", hint=hint)
