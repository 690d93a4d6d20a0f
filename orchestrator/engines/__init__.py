"""What runs a net: one module or package for each engine kind, and clients for applications.

    from orchestrator.engines import KataGo, Query

`KataGo`, `Query`, `Search` and `Analysis` are imported when they are asked for.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any, cast

from orchestrator.errors import SettingsError
from orchestrator.fleet.profile import EngineSpec
from orchestrator.spelling import did_you_mean

if TYPE_CHECKING:
    from orchestrator.engines.base import Engine
    from orchestrator.engines.katago.analysis import Query
    from orchestrator.engines.katago.client import KataGo, Search
    from orchestrator.engines.katago.results import Analysis

__all__ = ["PLANNED", "SUPPORTED", "Analysis", "KataGo", "Query", "Search", "get", "usual"]

SUPPORTED = ("command", "katago", "onnxruntime")
PLANNED = ("litert", "tensorrt")

_USUAL = {
    "katago": EngineSpec("katago", command="gtp"),
    "onnx": EngineSpec("onnxruntime"),
}
_LAZY = {
    "Analysis": "orchestrator.engines.katago.results",
    "KataGo": "orchestrator.engines.katago.client",
    "Query": "orchestrator.engines.katago.analysis",
    "Search": "orchestrator.engines.katago.client",
}


def __getattr__(name: str) -> Any:
    if name not in _LAZY:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(_LAZY[name]), name)


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
