"""How a net becomes a file of each format: one module a format."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

from orchestrator.pipeline.extras import need
from orchestrator.pipeline.formats.quiet import quiet

if TYPE_CHECKING:
    from orchestrator.pipeline.formats.base import Format

FORMATS = ("onnx", "tensorrt", "litert", "coreml")


def get(name: str) -> Format:
    """The format of that name, one of FORMATS; its libraries are loaded when it is used."""
    return cast("Format", importlib.import_module(f"orchestrator.pipeline.formats.{name}").FORMAT)


def load(name: str) -> None:
    """Load what the format needs; raises ModelError where that is not installed."""
    with quiet():
        for library in get(name).libraries:
            need(library, get(name).extra)
