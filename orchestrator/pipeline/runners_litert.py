"""What runs a LiteRT file here and gives its raw outputs: its interpreter, on the CPU."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.runners import sliced
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Outputs

if TYPE_CHECKING:
    from pathlib import Path

    from numpy.typing import NDArray

    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.tensors import InputArrays, OutputArrays

    Floats = NDArray[np.float32]

EXTRA = "build"


class LiteRT:
    """A LiteRT file on the CPU; `threads` 0 leaves their number to LiteRT.

    Rows are given `batch` at a time, the number that the file is made for; the last ones are filled
    up. Raises ModelError where the file does not load, or has other inputs and outputs than
    `tensors` tells.
    """

    def __init__(self, path: Path, shape: Shape, *, threads: int = 0) -> None:
        self.name, self.shape = path.name, shape
        library = need("ai_edge_litert.interpreter", EXTRA)
        try:
            self._interpreter: Any = library.Interpreter(str(path), num_threads=threads or None)
            self._ask: Any = self._interpreter.get_signature_runner()
        except (ValueError, RuntimeError, OSError) as exc:
            raise ModelError(f"{path} does not load: {_line(exc)}") from exc
        takes = self._ask.get_input_details()
        gives = self._ask.get_output_details()
        if not (set(INPUTS[:2]) <= set(takes) <= set(INPUTS) and set(OUTPUTS) <= set(gives)):
            raise ModelError(
                f"{path} takes {', '.join(takes)} and gives {', '.join(gives)}; a net takes "
                f"{', '.join(INPUTS[:2])} and gives {', '.join(OUTPUTS)}"
            )
        self.takes = [name for name in INPUTS if name in takes]
        self.batch = int(takes["input"]["shape"][0])

    def __call__(self, inputs: InputArrays) -> OutputArrays:
        """See Runner."""
        return sliced(self._run, inputs, self.batch)

    def _run(self, inputs: InputArrays) -> OutputArrays:
        rows = len(inputs.spatial)
        given = dict(zip(INPUTS, (inputs.spatial, inputs.global_, inputs.meta), strict=True))
        feed = {name: self._filled(given[name]) for name in self.takes}
        try:
            found = self._ask(**feed)
        except (ValueError, RuntimeError) as exc:
            raise ModelError(f"{self.name} does not run: {_line(exc)}") from exc
        return Outputs(*(np.asarray(found[name][:rows], np.float32) for name in OUTPUTS))

    def _filled(self, rows: Floats | None) -> Floats:
        """`batch` rows: those given, the last one repeated."""
        if rows is None:
            raise ModelError(f"{self.name} takes input_meta, and the positions have none")
        missing = self.batch - len(rows)
        filled = np.concatenate([rows, np.repeat(rows[-1:], missing, 0)]) if missing else rows
        return np.ascontiguousarray(filled, np.float32)


def _line(exc: Exception) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
