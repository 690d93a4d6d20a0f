"""What runs a net on a host: one module or package for each engine kind."""

from __future__ import annotations

import difflib
import importlib
from typing import TYPE_CHECKING, cast

from orchestrator.errors import SettingsError
from orchestrator.fleet.profile import EngineSpec

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
    supported = f"supported: {', '.join(SUPPORTED)}"
    if kind in PLANNED:
        return SettingsError(
            f"engine kind {kind} is not supported yet",
            hint=f"{supported}; kind command ships any program with its own check",
        )
    near = difflib.get_close_matches(kind, SUPPORTED, n=1)
    question = f"did you mean '{near[0]}'? " if near else ""
    return SettingsError(f"there is no engine kind '{kind}'", hint=question + supported)
