"""Evaluations a second of FP32 ONNX files, next to KataGo on the same net and machine.

    python -m bench.evals NET.bin.gz ... --katago PATH [--tuner FILE]

ONNX Runtime and KataGo (`benchmarknn`, raw forward passes on 19x19) take turns, `--rounds` times;
medians are printed. KataGo is whatever build it is: its first lines say which backend.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import tempfile
from pathlib import Path
from typing import Any

import click

from orchestrator.pipeline import onnx_graph, positions, runners
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.katago.reader import read
from orchestrator.pipeline.machine import processor

BATCHES = (1, 8)


@click.command()
@click.argument(
    "paths", nargs=-1, required=True, type=click.Path(exists=True, dir_okay=False, path_type=Path)
)
@click.option("--katago", required=True, type=click.Path(exists=True, path_type=Path))
@click.option("--tuner", type=click.Path(exists=True, path_type=Path), help="openclTunerFile.")
@click.option("--rounds", default=3, show_default=True)
@click.option("--json", "out", type=click.Path(path_type=Path), help="Write every figure here.")
def main(
    paths: tuple[Path, ...], katago: Path, tuner: Path | None, rounds: int, out: Path | None
) -> None:
    """Print evaluations a second of each net."""
    figures: dict[str, Any] = {"cpu": processor()}
    click.echo(f"{processor()}; evaluations a second on 19x19, medians of {rounds} rounds")
    click.echo(f"{'net':44}{'batch':>6}{'ONNX Runtime':>14}{'KataGo':>9}{'ratio':>7}")
    for path in paths:
        found: dict[int, list[tuple[float, float]]] = {batch: [] for batch in BATCHES}
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "net.onnx"
            onnx_graph.write(read(path), file, Shape(masked=False))
            for _ in range(rounds):
                for batch in BATCHES:
                    ours = _onnx(file, batch)
                    found[batch].append((ours, _katago(katago, path, batch, tuner)))
        for batch, pairs in found.items():
            ours, theirs = (statistics.median(side) for side in zip(*pairs, strict=True))
            figures[f"{path.name} {batch}"] = pairs
            click.echo(
                f"{path.name[:43]:44}{batch:>6}{ours:>14.2f}{theirs:>9.2f}{ours / theirs:>7.2f}"
            )
    if out:
        out.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")


def _onnx(path: Path, batch: int) -> float:
    shape = Shape(masked=False)
    runner = runners.OnnxRuntime(path, shape, batch=batch)
    (full,) = positions.standard().fitting(shape)
    return runners.throughput(runner, full.rows(slice(0, batch)).inputs, seconds=4)


def _katago(katago: Path, net: Path, batch: int, tuner: Path | None) -> float:
    settings = {"numNNServerThreadsPerModel": "1", "nnMaxBatchSize": str(batch)}
    settings |= {"logAllGTPCommunication": "false", "logSearchInfo": "false"}
    settings |= {"rules": "tromp-taylor", "numSearchThreads": "1"}
    settings |= {"openclTunerFile": str(tuner.absolute())} if tuner else {}
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "bench.cfg"
        config.write_text("".join(f"{key} = {value}\n" for key, value in settings.items()))
        command = [str(katago), "benchmarknn", "-config", str(config), "-model", str(net)]
        command += ["-batch-size", str(batch), "-boardsize", "19"]
        command += ["-iterations", str(max(4, 24 // batch)), "-warmup", "1"]
        command += ["-require-exact-nnlen", "-json"]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    document = json.loads(done.stdout[done.stdout.index("{") :])
    return float(document["sumMedianNNEvalsPerSec"])


if __name__ == "__main__":
    main()
