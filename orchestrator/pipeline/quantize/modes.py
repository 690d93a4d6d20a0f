"""The ways to INT8, by name: each writes one ONNX file of a net."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from orchestrator.errors import ModelError
from orchestrator.files import write_atomically
from orchestrator.pipeline import onnx_graph
from orchestrator.pipeline.quantize import static, weights
from orchestrator.pipeline.quantize.layers import ends, layers, pooled
from orchestrator.pipeline.quantize.sensitivity import few, sensitivity

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping
    from pathlib import Path

    from orchestrator.pipeline.interpreters.onnx import StoredWeight
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.katago.network import Shape
    from orchestrator.pipeline.positions import Positions
    from orchestrator.pipeline.quantize.weights import Progress

# How many inputs share a scale where weights are rounded to the nearest step; None: all.
NEAREST = {"weights-nearest": None, "weights-groups": weights.GROUP, "weights-fine": 32}
# Cheapest first; `search` tries these, and no more once one passes.
WEIGHTS = (*NEAREST, "weights", "weights-mixed")
STATIC = tuple(f"static-{method}" for method in static.METHODS)
MODES = (*WEIGHTS, *STATIC)
# Of the FP32 file's size: what `weights-mixed` may take.
BUDGET = 0.30
# What the walk with calibration rows keeps in memory: 3 GB at most for nets of 384 channels.
MOST_ROWS = 96


@dataclass(frozen=True, slots=True)
class Source:
    """What INT8 files are made from; see `write`."""

    net: Net
    shape: Shape
    calibration: Positions
    progress: Progress = weights.silent


def write(source: Source, path: Path, mode: str) -> tuple[str, ...]:
    """Write an INT8 file to `path` and tell which layers are kept in float.

    Stem, heads and the layers that bias by global pooling always are: they are small, and their
    errors reach the answers undamped.

    | mode | weights | activations |
    |---|---|---|
    | `weights-nearest` | rounded to the nearest step, a scale for each output | FP32 |
    | `weights-groups` | the same, a scale for each 64 inputs of an output | FP32 |
    | `weights-fine` | the same, a scale for each 32 inputs of an output | FP32 |
    | `weights` | in groups of 64, rounded by what calibration rows need | FP32 |
    | `weights-mixed` | the same, the most sensitive layers in float16 up to `BUDGET` | FP32 |
    | `static-minmax`, `static-entropy`, `static-percentile` | a scale for each output | int8 |

    Raises ModelError for another mode.
    """
    if mode not in MODES:
        raise ModelError(
            f"no INT8 mode is called {mode}", hint=f"Modes: auto, {', '.join(MODES)}, static-mixed."
        )
    net, shape, progress = source.net, source.shape, source.progress
    kept = ends(net) | pooled(net)
    if mode in STATIC:
        method = mode.removeprefix("static-")
        static.write_static(
            net, path, shape, source.calibration, method=method, kept=kept, progress=progress
        )
        return _in_order(net, kept)
    if mode == "weights-mixed":
        kept |= _most_sensitive(source, kept)
    _write(source, path, _stored(source, mode, kept))
    return _in_order(net, kept)


def _stored(source: Source, mode: str, kept: Collection[str]) -> Mapping[str, StoredWeight]:
    optimism = source.shape.optimism
    if mode in NEAREST:
        return weights.nearest(source.net, kept=kept, group=NEAREST[mode], optimism=optimism)
    return weights.compensated(
        source.net,
        few(source.calibration, MOST_ROWS),
        kept=kept,
        optimism=optimism,
        progress=source.progress,
    )


def _most_sensitive(source: Source, kept: Collection[str]) -> frozenset[str]:
    """The layers that lose most for each byte, as many as `BUDGET` has room for as float16."""
    net, optimism = source.net, source.shape.optimism
    stored = weights.nearest(net, kept=kept, group=weights.GROUP, optimism=optimism)
    full = onnx_graph.build(net, source.shape).ByteSize()
    room = BUDGET * full - onnx_graph.build(net, source.shape, stored=stored).ByteSize()
    costs = sensitivity(
        net, few(source.calibration), kept=kept, optimism=optimism, progress=source.progress
    )
    more = {name: 2 * weight.numbers.size - _bytes(weight) for name, weight in stored.items()}
    chosen = set()
    for name in sorted(costs, key=lambda name: -costs[name] / more[name]):
        if more[name] <= room:
            chosen.add(name)
            room -= more[name]
    return frozenset(chosen)


def _bytes(weight: StoredWeight) -> int:
    return weight.numbers.nbytes + (0 if weight.scale is None else weight.scale.nbytes)


def _write(source: Source, path: Path, stored: Mapping[str, StoredWeight]) -> None:
    model = onnx_graph.build(source.net, source.shape, "fp32", stored)
    write_atomically(path, model.SerializeToString(deterministic=True))


def _in_order(net: Net, names: Collection[str]) -> tuple[str, ...]:
    return tuple(name for name in layers(net) if name in names)
