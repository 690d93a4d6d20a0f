"""The process that measures one artifact, apart from the one that built it.

`python -m orchestrator.pipeline.measuring ORDER` prints what it found as JSON; see
`runners.measure`.
"""

from __future__ import annotations

import json
import re
import resource
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.pipeline import formats
from orchestrator.pipeline.katago.net import GLOBAL_INPUTS, META_INPUTS, SPATIAL_INPUTS
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.runners import throughput
from orchestrator.pipeline.tensors import Inputs

if TYPE_CHECKING:
    from orchestrator.pipeline.tensors import InputArrays


def measured(order: dict[str, Any]) -> dict[str, float] | None:
    """Speed and memory; None where the format does not run here."""
    shape = Shape(**order["shape"])
    runner = formats.get(order["format"]).runner(Path(order["path"]), shape)
    if runner is None:
        return None
    speed = throughput(runner, empty_board(shape), seconds=order["seconds"])
    return {"evals_per_s": round(speed, 2), "peak_rss_mb": round(_peak_rss_mb(), 1)}


def empty_board(shape: Shape) -> InputArrays:
    """One empty board as large as the shape."""
    spatial = np.zeros((1, SPATIAL_INPUTS, shape.height, shape.width), np.float32)
    spatial[:, 0] = 1
    globals_ = np.zeros((1, GLOBAL_INPUTS), np.float32)
    return Inputs(spatial, globals_, np.zeros((1, META_INPUTS), np.float32))


def _peak_rss_mb() -> float:
    """The most memory that this process had; Linux's ru_maxrss counts the parent's as well."""
    status = Path("/proc/self/status")
    if status.exists() and (found := re.search(r"VmHWM:\s+(\d+) kB", status.read_text())):
        return int(found[1]) / 1024
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (1 << 20 if sys.platform == "darwin" else 1 << 10)


if __name__ == "__main__":
    try:
        sys.stdout.write(json.dumps(measured(json.loads(sys.argv[1]))) + "\n")
    except ModelError as error:
        sys.exit(error.message)
