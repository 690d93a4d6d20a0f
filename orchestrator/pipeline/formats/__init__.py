"""How a net becomes a file of each format: one module a format."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from orchestrator.pipeline.formats.base import Format

FORMATS = ("onnx", "tensorrt", "litert", "coreml")


def get(name: str) -> Format:
    """The format of that name, one of FORMATS; its libraries are loaded when it is used."""
    return cast("Format", importlib.import_module(f"orchestrator.pipeline.formats.{name}").FORMAT)
