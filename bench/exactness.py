"""How exact ONNX files are, next to what KataGo itself answered: `python -m bench.exactness`.

Five real nets, 100 positions each on four board sizes (`tests/golden_sets.py`): the largest
difference of policy, winrate and ownership of NumPy and ONNX Runtime, for exact boards and masked;
and of FP16 files their size next to FP32 and their verdict.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click
import numpy as np

from orchestrator.pipeline import accuracy, gate, onnx_graph, runners
from orchestrator.pipeline.answers import answers
from orchestrator.pipeline.interpreters.numpy import Reference
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.positions import Positions, cropped, framed
from tests import golden_sets

if TYPE_CHECKING:
    from collections.abc import Callable

    from orchestrator.pipeline.katago.net import Net
    from orchestrator.pipeline.tensors import Outputs

LIMITS = {"policy": 1e-5, "winrate": 1e-5, "ownership": 5e-5}


@click.command()
@click.argument("names", nargs=-1, type=click.Choice(golden_sets.NAMES))
@click.option("--rows", default=100, show_default=True, help="At most, of each board size.")
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write every figure here.")
def main(names: tuple[str, ...], rows: int, out: Path | None) -> None:
    """Print the table for NAMES, all five without any."""
    figures: dict[str, Any] = {}
    click.echo(f"{'net':34}{'':16}{'policy':>10}{'winrate':>10}{'ownership':>10}{'seconds':>9}")
    for name in names or golden_sets.NAMES:
        net, golden = read(golden_sets.net(name)), golden_sets.load(name, rows)
        figures[name] = {}
        for what, ask in _ways(net).items():
            started = time.monotonic()
            found = _worst(net, golden, ask)
            figures[name][what] = found
            said = "".join(f"{found[key]:>10.1e}" for key in LIMITS)
            fine = all(found[key] <= limit for key, limit in LIMITS.items())
            verdict = "" if fine else "  TOO FAR"
            click.echo(f"{name:34}{what:16}{said}{time.monotonic() - started:>9.1f}{verdict}")
        figures[name]["fp16"] = _half(net, golden)
        click.echo(f"{name:34}{'fp16':16}{figures[name]['fp16']['said']}")
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _ways(net: Net) -> dict[str, Callable[[golden_sets.Golden], Outputs[Any]]]:
    """How a board is asked about, by name."""
    folder = tempfile.TemporaryDirectory()
    sessions: dict[tuple[int, int, bool], runners.OnnxRuntime] = {}

    def onnx(shape: Shape) -> runners.OnnxRuntime:
        key = (shape.height, shape.width, shape.masked)
        if key not in sessions:
            sessions.clear()
            path = Path(folder.name) / "net.onnx"
            onnx_graph.write(net, path, shape)
            sessions[key] = runners.OnnxRuntime(path, shape, batch=4)
        return sessions[key]

    def exact(each: golden_sets.Golden) -> Shape:
        return Shape(each.batch.height, each.batch.width, masked=False)

    def masked(each: golden_sets.Golden, ask: Any) -> Outputs[Any]:
        return cropped(ask(framed(each.batch, Shape())), each.batch, Shape())

    def numpy(shape: Shape) -> Callable[[Any], Outputs[Any]]:
        reference = Reference(net, shape)
        return lambda inputs: runners.sliced(reference, inputs, 4)

    return {
        "numpy exact": lambda each: numpy(exact(each))(each.batch.inputs),
        "numpy masked": lambda each: masked(each, numpy(Shape())),
        "onnx exact": lambda each: onnx(exact(each))(each.batch.inputs),
        "onnx masked": lambda each: masked(each, onnx(Shape())),
    }


def _worst(net: Net, golden: list[golden_sets.Golden], ask: Any) -> dict[str, float]:
    """The largest differences over all positions."""
    worst = dict.fromkeys(LIMITS, 0.0)
    for each in golden:
        found = answers(ask(each), each.batch.inputs, net, legal=each.legal)
        apart = {
            "policy": np.abs(found.policy - each.policy).max(),
            "winrate": np.abs(found.value - each.value).max(),
            "ownership": np.abs(
                found.ownership.reshape(each.ownership.shape) - each.ownership
            ).max(),
        }
        worst = {key: max(value, float(apart[key])) for key, value in worst.items()}
    return worst


def _half(net: Net, golden: list[golden_sets.Golden]) -> dict[str, Any]:
    """Size and verdict of the FP16 file."""
    positions = Positions(tuple(each.batch for each in golden))
    with tempfile.TemporaryDirectory() as folder:
        full, half = Path(folder) / "fp32.onnx", Path(folder) / "fp16.onnx"
        onnx_graph.write(net, full, Shape())
        onnx_graph.write(net, half, Shape(), "fp16")
        ratio = half.stat().st_size / full.stat().st_size
        runner = runners.OnnxRuntime(half, Shape(), batch=4)
        verdict = gate.judge(accuracy.compare(runners.reference(net), runner, positions, net))
    word = "pass" if verdict.passed else "FAIL"
    return {
        "size_ratio": round(ratio, 4),
        "passed": verdict.passed,
        "reason": verdict.reason,
        "said": f"{ratio:.1%} of fp32, {word}, {verdict.reason}",
    }


if __name__ == "__main__":
    main()
