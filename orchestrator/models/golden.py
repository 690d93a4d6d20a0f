"""Whether a file of golden answers has the form that its engine's smoke benchmark reads."""

from __future__ import annotations

import importlib.util
import json
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.models import sanity

if TYPE_CHECKING:
    from pathlib import Path

_TENSORS = "It takes arrays named input:<name> and output:<name>."


def check(path: Path, name: str, format_name: str) -> None:
    """Pass when the golden file fits the format; `name` is what it is called in errors.

    `katago` takes .json with a list of `positions`, the others .npz with arrays `input:<name>`
    and `output:<name>` of the same leading dimension. What goes with a `file` is the business of
    the program that runs it. Raises ModelError.
    """
    if format_name == "file":
        return
    wanted = ".json" if format_name == "katago" else ".npz"
    if not name.endswith(wanted):
        raise ModelError(
            f"golden answers of format {format_name} are a {wanted} file, not {name}",
            hint="It holds positions and answers." if wanted == ".json" else _TENSORS,
        )
    if wanted == ".json":
        _positions(path, name)
    else:
        _tensors(path, name)


def _positions(path: Path, name: str) -> None:
    try:
        document = json.loads(path.read_text(encoding="utf-8"))
    except (ValueError, RecursionError) as exc:
        raise ModelError(f"{name} is not valid JSON: {exc}") from exc
    positions = document.get("positions") if isinstance(document, dict) else None
    if not isinstance(positions, list) or not positions:
        raise ModelError(f"{name} has no positions", hint='It needs a list under "positions".')


def _tensors(path: Path, name: str) -> None:
    members = sanity.check_zip(path, name)
    arrays = [member.removesuffix(".npy") for member in members]
    for kind in ("input:", "output:"):
        if not any(array.startswith(kind) and array != kind for array in arrays):
            raise ModelError(f"{name} has no array named {kind}<name>", hint=_TENSORS)
    stray = [array for array in arrays if not array.startswith(("input:", "output:"))]
    if stray:
        raise ModelError(f"{name} has an array named {stray[0]!r}", hint=_TENSORS)
    if importlib.util.find_spec("numpy") is not None:
        _rows(path, name)


def _rows(path: Path, name: str) -> None:
    import numpy as np  # noqa: PLC0415 - not part of the base installation

    rows: dict[str, int] = {}
    try:
        with np.load(path, allow_pickle=False) as archive:
            for array in archive.files:
                shape = archive[array].shape
                rows[array] = shape[0] if shape else 0
    except ValueError as exc:
        raise ModelError(
            f"{name} cannot be read: {exc}", hint="Save plain numbers with numpy.savez."
        ) from exc
    empty = [array for array, count in rows.items() if count == 0]
    if empty:
        raise ModelError(f"{name}: the array {empty[0]} has no rows")
    if len(set(rows.values())) > 1:
        counts = ", ".join(f"{array} has {count}" for array, count in rows.items())
        raise ModelError(f"{name}: the arrays differ in their number of rows: {counts}")
