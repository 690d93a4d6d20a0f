"""What runs a net here and gives its raw outputs: NumPy as the reference, ONNX Runtime."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from orchestrator.engines.onnxruntime import NO_TELEMETRY
from orchestrator.errors import ModelError
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Inputs, Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.tensors import InputArrays, OutputArrays

SLICE = 16
REQUIRED = INPUTS[:2]


class Runner(Protocol):
    """A net that can be asked here. `shape` None: it takes any board, as it is."""

    @property
    def name(self) -> str:
        """What it is, for people."""

    @property
    def shape(self) -> Shape | None:
        """What its tensors are made for."""

    def __call__(self, inputs: InputArrays) -> OutputArrays:
        """The raw outputs for rows of `inputs`, which have the height and width of `shape`."""


@dataclass(frozen=True, slots=True)
class NumpyRunner:
    """The NumPy reference, on full boards of any size: no frame, no mask."""

    net: Net
    optimism: float = 0.0
    name: str = "numpy"
    shape: None = field(default=None, init=False)

    def __call__(self, inputs: InputArrays) -> OutputArrays:
        """See Runner."""
        height, width = inputs.spatial.shape[2:]
        shape = Shape(height, width, masked=False, optimism=self.optimism)
        return sliced(Reference(self.net, shape), inputs, SLICE)


def reference(net: Net, *, optimism: float = 0.0) -> NumpyRunner:
    """The net itself, in FP32: what artifacts are measured against."""
    return NumpyRunner(net, optimism)


class OnnxRuntime:
    """An ONNX file on the CPU; `threads` 0 leaves their number to ONNX Runtime.

    Raises ModelError where the file does not load, or has other inputs and outputs than `tensors`
    tells.
    """

    def __init__(self, path: Path, shape: Shape, *, threads: int = 0) -> None:
        self.name, self.shape = path.name, shape
        key, _, value = NO_TELEMETRY.partition("=")
        os.environ.setdefault(key, value)
        onnxruntime = need("onnxruntime", "onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        try:
            self.session: Any = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
        except Exception as exc:  # ONNX Runtime has an exception class for each of its status codes
            raise ModelError(f"{path} does not load: {_line(exc)}") from exc
        self.takes = [given.name for given in self.session.get_inputs()]
        gives = [given.name for given in self.session.get_outputs()]
        if not (set(REQUIRED) <= set(self.takes) <= set(INPUTS) and set(OUTPUTS) <= set(gives)):
            raise ModelError(
                f"{path} takes {', '.join(self.takes)} and gives {', '.join(gives)}; a net takes "
                f"{', '.join(REQUIRED)} and gives {', '.join(OUTPUTS)}"
            )

    def __call__(self, inputs: InputArrays) -> OutputArrays:
        """See Runner."""
        return sliced(self._run, inputs, SLICE)

    def _run(self, inputs: InputArrays) -> OutputArrays:
        given = dict(zip(INPUTS, (inputs.spatial, inputs.global_, inputs.meta), strict=True))
        feed = {name: given[name] for name in self.takes}
        if any(values is None for values in feed.values()):
            raise ModelError(f"{self.name} takes input_meta, and the positions have none")
        try:
            found = self.session.run(list(OUTPUTS), feed)
        except Exception as exc:  # as above
            raise ModelError(f"{self.name} does not run: {_line(exc)}") from exc
        return Outputs(*(np.asarray(values, np.float32) for values in found))


def sliced(
    ask: Callable[[InputArrays], OutputArrays], inputs: InputArrays, size: int
) -> OutputArrays:
    """The outputs for all rows, asked for `size` rows at a time."""
    parts = [ask(part) for part in slices(inputs, size)]
    return Outputs(
        np.concatenate([part.policy for part in parts]),
        np.concatenate([part.value for part in parts]),
        np.concatenate([part.misc for part in parts]),
        np.concatenate([part.ownership for part in parts]),
    )


def slices(inputs: InputArrays, size: int) -> Iterator[InputArrays]:
    """The rows in parts of `size`; the last one may be shorter."""
    for start in range(0, len(inputs.spatial), size):
        rows = slice(start, start + size)
        meta = None if inputs.meta is None else inputs.meta[rows]
        yield Inputs(inputs.spatial[rows], inputs.global_[rows], meta)


def _line(exc: Exception) -> str:
    return (str(exc).strip() or type(exc).__name__).splitlines()[0]
