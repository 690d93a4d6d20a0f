"""INT8 files of a net as they are asked for: one mode, or the best of them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from orchestrator.pipeline.quantize import modes
from orchestrator.pipeline.quantize.search import STATIC_MIXED, most_static, search
from orchestrator.pipeline.quantize.weights import silent

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.quantize.search import Trial
    from orchestrator.pipeline.quantize.weights import Progress

AUTO = "auto"
CHOICES = (AUTO, *modes.MODES, STATIC_MIXED)


@dataclass(frozen=True, slots=True)
class Quantized:
    """What was written: its mode, and the layers kept in float.

    `tried` are the files that were looked at on the way, each with size and verdict.
    """

    mode: str
    kept: tuple[str, ...]
    tried: tuple[Trial, ...] = ()

    def document(self) -> dict[str, Any]:
        """What the provenance of the file tells of it; the builder adds the calibration rows."""
        found: dict[str, Any] = {"mode": self.mode, "kept": list(self.kept)}
        return found | ({"tried": [t.document() for t in self.tried]} if self.tried else {})


def write_int8(
    net: Net,
    path: Path,
    shape: Shape,
    *,
    calibration: Positions,
    check: Positions,
    mode: str = AUTO,
    progress: Progress = silent,
) -> Quantized:
    """Write the net to `path` as an INT8 ONNX file.

    `mode` is one of `modes.MODES`; or `auto`: the first weights-only file, from cheap to costly,
    that passes the gate at `check`; or `static-mixed`: as many layers in integer arithmetic as
    pass. Where nothing passes these give what comes closest. The others do not look at `check`.

    The same arguments give the same bytes, on one machine with one number of threads. Raises
    ModelError for a mode that there is not, and for positions that do not fit the shape.
    """
    source = modes.Source(net, shape, calibration, progress)
    if mode in {AUTO, STATIC_MIXED}:
        choice = (search if mode == AUTO else most_static)(source, path, check)
        mode, kept, tried = choice.chosen.mode, choice.chosen.kept, choice.tried
    else:
        kept, tried = modes.write(source, path, mode), ()
    return Quantized(mode, kept, tried)
