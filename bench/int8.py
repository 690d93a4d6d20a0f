"""What each way to INT8 costs in accuracy, held to KataGo's own limits for FP16.

python bench/int8.py NET.bin.gz ... --rows 96 --calibration TRAINING_ROWS.npz

Positions: the standard ones, and with `--check-rows` training rows that calibration does not see.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bench.measure import machine
from orchestrator.pipeline import calibration, gate, positions
from orchestrator.pipeline.katago import reader
from orchestrator.pipeline.katago.network import Shape
from orchestrator.pipeline.position_files import Rows
from orchestrator.pipeline.quantize import modes, search

if TYPE_CHECKING:
    from collections.abc import Iterator

    from orchestrator.pipeline.positions import Positions

COLUMNS = {
    "winrate": "winrate %",
    "lead": "lead",
    "top_policy": "top policy %",
    "policy_kl": "KL",
    "ownership": "ownership",
}


def split(path: Path, rows: int, check_rows: int) -> tuple[Positions, Positions]:
    """Training rows to calibrate with, and the positions to check with: no row is in both."""
    drawn = calibration.rows(path, count=rows + check_rows, seed=0)
    held = np.zeros(drawn.count, bool)
    held[np.linspace(0, drawn.count - 1, check_rows).round().astype(int)] = True
    parts: tuple[list[Rows], list[Rows]] = ([], [])
    start = 0
    for batch in drawn:
        here = held[start : start + len(batch)]
        start += len(batch)
        for chosen, part in zip((~here, here), parts, strict=True):
            if chosen.any():
                inputs = batch.rows(np.flatnonzero(chosen)).inputs
                part.append(Rows(batch.height, batch.width, inputs))
    seen, unseen = parts
    standard = [Rows(batch.height, batch.width, batch.inputs) for batch in positions.standard()]
    return positions.of_rows(seen), positions.of_rows(standard + unseen)


def table(
    net: Path, seen: Positions, check: Positions, wanted: list[str]
) -> Iterator[dict[str, Any]]:
    """A line for each mode."""
    source = modes.Source(reader.read(net), Shape(), seen)
    judge = search.Judge(source, check)
    with tempfile.TemporaryDirectory(prefix="int8-") as folder:
        path = Path(folder) / "net.onnx"
        for mode in wanted:
            start = time.perf_counter()
            kept = modes.write(source, path, mode)
            seconds = time.perf_counter() - start
            report = judge.report(path)
            verdict = gate.judge(report)
            yield {
                "net": source.net.name,
                "mode": mode,
                "size": path.stat().st_size / judge.full,
                "seconds": seconds,
                "kept": list(kept),
                "passed": verdict.passed,
                "worst": max(verdict.margins.values()),
                "margins": dict(verdict.margins),
                **gate.document(
                    report, verdict, positions_sha256=check.sha256, reference="NumPy, FP32"
                ),
            }


def line(found: dict[str, Any]) -> str:
    """A row of the printed table; errors are p99 / max."""
    cells = [found["net"], found["mode"], f"{found['size']:.1%}"]
    for metric in COLUMNS:
        factor, spread = 100 if gate.UNITS.get(metric) == "%" else 1, found["metrics"][metric]
        cells.append(" / ".join(f"{(spread[kind] or 0) * factor:.2g}" for kind in ("p99", "max")))
    cells += [f"{found['worst']:.2f}", found["gate"], f"{found['seconds']:.0f}"]
    return "| " + " | ".join(cells) + " |"


def main() -> None:
    """Print the table, and write everything that was measured as JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("nets", nargs="+", type=Path, metavar="NET")
    parser.add_argument("--calibration", type=Path, required=True, help=".npz of training rows")
    parser.add_argument("--rows", type=int, default=96, help="rows to calibrate with")
    parser.add_argument("--check-rows", type=int, default=60, help="rows to check with besides")
    parser.add_argument("--modes", nargs="+", default=modes.MODES, choices=modes.MODES)
    parser.add_argument("--json", type=Path, help="where to write everything measured")
    options = parser.parse_args()
    seen, check = split(options.calibration, options.rows, options.check_rows)
    heads = ["net", "mode", "size", *COLUMNS.values(), "worst", "gate", "s"]
    print("| " + " | ".join(heads) + " |\n|" + "---|" * len(heads), flush=True)
    rows = {"rows": seen.count, "boards": seen.boards, "sha256": seen.sha256}
    found: list[dict[str, Any]] = []
    document = {"machine": machine(), "calibration": rows, "check": check.boards, "found": found}
    for net in options.nets:
        for row in table(net, seen, check, options.modes):
            found.append(row)
            print(line(row), flush=True)
            if options.json:
                options.json.write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
