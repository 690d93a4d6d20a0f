"""Libraries that not every installation carries, imported where they are first needed."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError

if TYPE_CHECKING:
    from types import ModuleType


def need(module: str, extra: str) -> ModuleType:
    """The module, imported now; `extra` is the one of this package that installs it.

    Raises ModelError where it is not installed, or is and cannot be loaded.
    """
    try:
        return importlib.import_module(module)
    except (ImportError, OSError) as exc:
        absent = isinstance(exc, ModuleNotFoundError) and exc.name == module.partition(".")[0]
        why = "is not installed" if absent else f"cannot be loaded: {exc}"
        raise ModelError(
            f"this needs the {extra} extra: {module} {why}",
            hint=f"pip install 'orchestrate-nets[{extra}]'",
        ) from exc
