"""INT8 files of nets that were trained to be INT8: `build --precision int8 --finetune`."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from orchestrator.errors import ModelError
from orchestrator.files import write_atomically
from orchestrator.pipeline import gate, onnx_graph
from orchestrator.pipeline.extras import need
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.positions import Positions, with_profiles
from orchestrator.pipeline.quantize.layers import ends
from orchestrator.pipeline.quantize.weights import compensated, silent

if TYPE_CHECKING:
    from pathlib import Path

    from orchestrator.pipeline.accuracy import Report
    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.quantize.weights import Progress

LEAST_ROWS = 8
# One position of so many is not trained on, but tells which state of the net is the best.
HELD_OUT = 5
# So many are enough to round the weights that the training starts from.
ROUNDING_ROWS = 128


@dataclass(frozen=True, slots=True)
class Finetuned:
    """How a net was trained for INT8.

    `kept` are the layers in float16, `steps` those that were taken, `best` the one whose net was
    written (0: the training did not help), `losses` one a step. `before` and `after` are errors at
    the `held_out` positions that were not trained on: of the rounded net that the training started
    from (see weights.compensated), and of what was written.
    """

    mode: str
    kept: tuple[str, ...]
    steps: int
    best: int
    losses: tuple[float, ...]
    minutes: float
    trained_on: int
    held_out: int
    before: Report
    after: Report

    def document(self) -> dict[str, Any]:
        """What the provenance of the file tells of it."""
        return {
            "mode": self.mode,
            "kept": list(self.kept),
            "steps": self.steps,
            "best_step": self.best,
            "loss": [float(f"{loss:.4g}") for loss in (*self.losses[:1], *self.losses[-1:])],
            "minutes": round(self.minutes, 2),
            "trained_on": self.trained_on,
            "held_out": self.held_out,
            "before": gate.judge(self.before).reason,
            "after": gate.judge(self.after).reason,
        }


def write_finetuned(
    net: Net,
    path: Path,
    shape: Shape,
    *,
    calibration: Positions,
    steps: int = 400,
    minutes: float = 20.0,
    activations: bool = False,
    seed: int = 0,
    device: str = "cpu",
    progress: Progress = silent,
) -> Finetuned:
    """Train the net to answer in INT8 as it does in FP32, and write it to `path` as ONNX.

    All weights are int8 but those of the stem and the heads, which are float16; with `activations`
    the blocks' layers read int8 too. It ends after `steps` or `minutes`, whichever comes first;
    the file is written only then, at once. The same arguments give the same file on one machine
    with one number of threads, as far as the steps are the bound that is reached. `device` is
    PyTorch's name of what to train on.

    Raises ModelError where there is no PyTorch, and for too few positions.
    """
    need("torch", "build")
    from orchestrator.pipeline.quantize import distill, fake  # noqa: PLC0415 - they import PyTorch

    if calibration.count < LEAST_ROWS:
        raise ModelError(
            f"fine-tuning needs {LEAST_ROWS} positions at least, and has {calibration.count}",
            hint="Give more with --calibration: a thousand is a good number.",
        )
    calibration = with_profiles(calibration) if net.has_meta else calibration
    rng = np.random.default_rng(seed)
    trained_on, held_out = _apart(calibration, rng)
    side = max(max(batch.height, batch.width) for batch in calibration)
    frame = Shape(side, side, optimism=shape.optimism)
    kept, started = ends(net), time.monotonic()
    stored = compensated(
        net,
        _some(trained_on, ROUNDING_ROWS, rng),
        kept=kept,
        group=None,
        optimism=shape.optimism,
        seed=seed,
        progress=progress,
    )
    reading = fake.readers(net) if activations else ()
    student = fake.FakeInt8(net, frame, stored, reading)
    trained = distill.distill(
        student,
        frame,
        trained_on,
        held_out,
        steps=steps,
        minutes=minutes - (time.monotonic() - started) / 60,
        seed=seed,
        device=device,
        progress=progress,
    )
    found = student.exported()
    model = onnx_graph.build(found.net, shape, "fp32", found.stored, found.activations)
    write_atomically(path, model.SerializeToString(deterministic=True))
    return Finetuned(
        mode="finetuned-activations" if activations else "finetuned-weights",
        kept=tuple(sorted(kept)),
        steps=trained.steps,
        best=trained.kept,
        losses=trained.losses,
        minutes=(time.monotonic() - started) / 60,
        trained_on=trained_on.count,
        held_out=held_out.count,
        before=trained.before,
        after=trained.after,
    )


def _apart(positions: Positions, rng: np.random.Generator) -> tuple[Positions, Positions]:
    """Most positions to train on, and one of `HELD_OUT` that are not, of each board alike."""
    parts: tuple[list[Any], list[Any]] = ([], [])
    due = 0
    for batch in positions:
        order = rng.permutation(len(batch))
        numbers = np.arange(due, due + len(batch)) % HELD_OUT
        due += len(batch)
        for chosen, part in zip(
            (numbers != HELD_OUT - 1, numbers == HELD_OUT - 1), parts, strict=True
        ):
            if chosen.any():
                part.append(batch.rows(np.sort(order[chosen])))
    return Positions(tuple(parts[0])), Positions(tuple(parts[1]))


def _some(positions: Positions, count: int, rng: np.random.Generator) -> Positions:
    """`count` of the positions, or all where there are fewer."""
    chosen = np.zeros(positions.count, bool)
    chosen[rng.permutation(positions.count)[:count]] = True
    cuts = np.split(chosen, np.cumsum([len(batch) for batch in positions])[:-1])
    pairs = zip(positions, cuts, strict=True)
    return Positions(tuple(b.rows(np.flatnonzero(cut)) for b, cut in pairs if cut.any()))
