"""What runs a net here and gives its raw outputs: NumPy, the reference, and ONNX Runtime."""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
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

# Rows that are computed at once.
SLICE = 16
FEWEST_CALLS = 3
LONGEST_MEASUREMENT = 600.0
MEASURING = "orchestrator.pipeline.measuring"
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
    """An ONNX file on the CPU, `batch` rows at a time.

    `threads` 0 leaves their number to ONNX Runtime.
    Raises ModelError where the file does not load, or has other inputs and outputs than `tensors`
    tells.
    """

    def __init__(self, path: Path, shape: Shape, *, threads: int = 0, batch: int = SLICE) -> None:
        self.name, self.shape, self.batch = path.name, shape, batch
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
        return sliced(self._run, inputs, self.batch)

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


class Counted:
    """A runner that tells `advance` how many rows it has answered in all."""

    def __init__(self, runner: Runner, advance: Callable[[int], None]) -> None:
        self.name, self.shape = runner.name, runner.shape
        self._runner, self._advance, self._done = runner, advance, 0

    def __call__(self, inputs: InputArrays) -> OutputArrays:
        """See Runner."""
        return sliced(self._run, inputs, SLICE)

    def _run(self, inputs: InputArrays) -> OutputArrays:
        outputs = self._runner(inputs)
        self._done += len(inputs.spatial)
        self._advance(self._done)
        return outputs


def measure(
    format_: str, path: Path, shape: Shape, *, seconds: float = 2.0
) -> dict[str, Any] | None:
    """How fast a file of that format runs here, one position at a time, in a fresh process.

    `evals_per_s` is the median over `seconds`, on all cores; `peak_rss_mb` the most memory that the
    process had, Python included. None where the format does not run here. Raises ModelError for a
    file that fails.
    """
    order = {"format": format_, "path": str(path.absolute()), "shape": asdict(shape)}
    command = [sys.executable, "-m", MEASURING, json.dumps({**order, "seconds": seconds})]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST_MEASUREMENT, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelError(f"{path} did not run within {LONGEST_MEASUREMENT:g} s") from exc
    if done.returncode:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise ModelError(f"{path} was not measured: {said}")
    found: dict[str, Any] | None = json.loads(done.stdout.splitlines()[-1])
    return found


def throughput(runner: Runner, inputs: InputArrays, *, seconds: float = 2.0) -> float:
    """Positions a second: the median over calls with all of `inputs`, the first one not counted."""
    runner(inputs)
    times: list[float] = []
    while len(times) < FEWEST_CALLS or sum(times) < seconds:
        start = time.perf_counter()
        runner(inputs)
        times.append(time.perf_counter() - start)
    return len(inputs.spatial) / statistics.median(times)


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
