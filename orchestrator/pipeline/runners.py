"""What runs a net here and gives its raw outputs: NumPy as the reference, ONNX Runtime; how fast.

A format that can be run here has its runner in `RUNNERS`.
"""

from __future__ import annotations

import json
import os
import re
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from orchestrator.engines.onnxruntime import NO_TELEMETRY
from orchestrator.errors import ModelError
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago.net import GLOBAL_INPUTS, META_INPUTS, SPATIAL_INPUTS
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.tensors import INPUTS, OUTPUTS, Inputs, Outputs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.tensors import InputArrays, OutputArrays

# Rows that are computed at once.
SLICE = 16
FEWEST_CALLS = 3
LONGEST_MEASUREMENT = 600.0
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


class Opener(Protocol):
    """What makes a runner of a file."""

    def __call__(self, path: Path, shape: Shape, *, threads: int = 0, batch: int = SLICE) -> Runner:
        """The runner; raises ModelError where the file does not load."""


RUNNERS: dict[str, Opener] = {".onnx": OnnxRuntime}


def opened(path: Path, shape: Shape, *, threads: int = 0, batch: int = SLICE) -> Runner:
    """The runner of a file, by its suffix.

    Raises ModelError where the file cannot be run here.
    """
    opener = RUNNERS.get(path.suffix)
    if opener is None:
        raise ModelError(f"{path} cannot be run here; {', '.join(RUNNERS)} can")
    return opener(path, shape, threads=threads, batch=batch)


@dataclass(frozen=True, slots=True)
class Measured:
    """How fast a file ran here: positions a second (median), and the memory of its process."""

    evals_per_s: float
    peak_rss_mb: float
    batch: int
    threads: int


def measure(
    path: Path, shape: Shape, *, batch: int = 1, threads: int = 1, seconds: float = 2.0
) -> Measured:
    """What a fresh process that runs the file for `seconds` measures.

    Raises ModelError where the file cannot be run here.
    """
    order = {
        "path": str(path.absolute()),
        "shape": asdict(shape),
        "batch": batch,
        "threads": threads,
        "seconds": seconds,
    }
    command = [sys.executable, "-m", "orchestrator.pipeline.runners", json.dumps(order)]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=LONGEST_MEASUREMENT, check=False
        )
    except subprocess.TimeoutExpired as exc:
        raise ModelError(f"{path} did not run within {LONGEST_MEASUREMENT:g} s") from exc
    if done.returncode:
        said = (done.stderr.strip() or f"status {done.returncode}").splitlines()[-1]
        raise ModelError(f"{path} was not measured: {said}")
    return Measured(**json.loads(done.stdout.splitlines()[-1]))


def throughput(runner: Runner, inputs: InputArrays, *, seconds: float = 2.0) -> float:
    """Positions a second: the median over calls with all of `inputs`, the first one not counted."""
    runner(inputs)
    times: list[float] = []
    while len(times) < FEWEST_CALLS or sum(times) < seconds:
        start = time.perf_counter()
        runner(inputs)
        times.append(time.perf_counter() - start)
    return len(inputs.spatial) / statistics.median(times)


def empty_boards(shape: Shape, count: int) -> InputArrays:
    """`count` rows of empty boards as large as the shape, for what does not look at answers."""
    spatial = np.zeros((count, SPATIAL_INPUTS, shape.height, shape.width), np.float32)
    spatial[:, 0] = 1
    globals_ = np.zeros((count, GLOBAL_INPUTS), np.float32)
    return Inputs(spatial, globals_, np.zeros((count, META_INPUTS), np.float32))


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


def _peak_rss_mb() -> float:
    """The most memory that this process had; Linux's ru_maxrss counts the parent's as well."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


def _measure_here(order: dict[str, Any]) -> Measured:
    shape, batch, threads = Shape(**order["shape"]), order["batch"], order["threads"]
    runner = opened(Path(order["path"]), shape, threads=threads, batch=batch)
    speed = throughput(runner, empty_boards(shape, batch), seconds=order["seconds"])
    return Measured(round(speed, 2), round(_peak_rss_mb(), 1), batch, threads)


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(asdict(_measure_here(json.loads(sys.argv[1])))) + "\n")
    except ModelError as error:
        sys.exit(error.message)
