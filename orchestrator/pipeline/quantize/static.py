"""Static INT8 by ONNX Runtime's quantizer: weights and what layers read, with fixed ranges.

This is the INT8 of integer arithmetic. The ranges are those seen in calibration rows.
"""

from __future__ import annotations

import contextlib
import io
import logging
from typing import TYPE_CHECKING, Any

from orchestrator.errors import ModelError
from orchestrator.files import write_atomically
from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.positions import framed
from orchestrator.pipeline.quantize.layers import layers
from orchestrator.pipeline.quantize.weights import halved, silent
from orchestrator.pipeline.runners import slices
from orchestrator.pipeline.tensors import INPUTS

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from orchestrator.pipeline.interpreters.onnx import StoredWeight
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.quantize.weights import Progress

METHODS = {"minmax": "MinMax", "entropy": "Entropy", "percentile": "Percentile"}
PERCENTILE = 99.99
# Rows whose activations are in memory at once: 300 MB for 18 blocks of 384 channels.
ROWS_AT_ONCE = 8


def write_static(
    net: Net,
    path: Path,
    shape: Shape,
    calibration: Positions,
    *,
    method: str = "minmax",
    kept: Collection[str] = (),
    stored: Mapping[str, StoredWeight] | None = None,
    progress: Progress = silent,
) -> None:
    """Write the net to `path` with int8 weights, by channel, and int8 inputs of layers.

    `method`, one of METHODS, tells how an activation's range follows from what calibration rows
    show. `kept` layers are computed in FP32, with weights as in `stored`, or else float16; products
    of two computed tensors, norms, pooling and softmax always are in FP32.

    Raises ModelError where no row fits the shape.
    """
    rows = calibration.fitting(shape)
    if not rows.count:
        raise ModelError(
            f"no calibration row is on a board that {shape.width}x{shape.height} takes",
            hint="Give rows of that board with --calibration.",
        )
    every = layers(net, shape.optimism)
    if stored is None:
        stored = {name: halved(every[name]) for name in kept}
    model = onnx_graph.build(net, shape, stored={n: w for n, w in stored.items() if n in kept})
    metadata = list(model.metadata_props)
    quantization = need("onnxruntime.quantization", "onnx")
    scratch = path.with_name(f"{path.name}.static")
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it advises to preprocess, which changes the graph
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            quantization.quantize_static(
                model,
                scratch,
                _Rows(rows, shape, method, progress),
                op_types_to_quantize=["Conv", "MatMul"],
                per_channel=True,
                activation_type=quantization.QuantType.QInt8,
                weight_type=quantization.QuantType.QInt8,
                nodes_to_quantize=[name for name in every if name not in kept],
                calibrate_method=getattr(quantization.CalibrationMethod, METHODS[method]),
                extra_options={"CalibStridedMinMax": 1, "CalibPercentile": PERCENTILE},
            )
        made = need("onnx", "onnx").load(scratch)
    finally:
        logging.disable(before)
        scratch.unlink(missing_ok=True)
    del made.metadata_props[:]
    made.metadata_props.extend(metadata)
    write_atomically(path, made.SerializeToString(deterministic=True))


class _Rows:
    """Calibration rows as ONNX Runtime asks for them: in parts, each one run of the net."""

    def __init__(self, positions: Positions, shape: Shape, method: str, progress: Progress) -> None:
        self._parts = [
            part for batch in positions for part in slices(framed(batch, shape), ROWS_AT_ONCE)
        ]
        self._next, self._end = 0, len(self._parts)
        self._what, self._progress = f"calibrating by {method}", progress

    def __len__(self) -> int:
        return len(self._parts)

    def set_range(self, start_index: int, end_index: int) -> None:
        """Give these parts next: what was seen before is summed up by then, not kept."""
        self._next, self._end = start_index, end_index

    def get_next(self) -> dict[str, Any] | None:
        """The inputs of the next run."""
        if self._next >= self._end:
            return None
        part, self._next = self._parts[self._next], self._next + 1
        self._progress(self._what, self._next, len(self._parts))
        given = zip(INPUTS, (part.spatial, part.global_, part.meta), strict=True)
        return {name: values for name, values in given if values is not None}
