"""Golden answers of an artifact: what a host must say to a few positions."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.positions import framed
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.positions import Positions

POSITIONS = 6


def write_golden(net: Net, shape: Shape, positions: Positions, path: Path) -> None:
    """Write `input:<name>` and `output:<name>` of a few positions, of every board that fits.

    The answers are the reference's, in FP32. The same positions give the same bytes.
    """
    batches = positions.fitting(shape).batches
    each = -(-POSITIONS // max(1, len(batches)))
    reference = Reference(net, shape)
    rows: dict[str, list[np.ndarray]] = {}
    for batch in batches:
        inputs = framed(batch.rows(slice(0, each)), shape)
        outputs = reference(inputs)
        given = zip(INPUTS, (inputs.spatial, inputs.global_, inputs.meta), strict=True)
        answered = ((name, getattr(outputs, name)) for name in OUTPUTS)
        for name, values in given:
            if values is not None:
                rows.setdefault(f"input:{name}", []).append(values)
        for name, values in answered:
            rows.setdefault(f"output:{name}", []).append(values)
    arrays: dict[str, Any] = {name: np.concatenate(parts) for name, parts in rows.items()}
    np.savez_compressed(path, **arrays)
