"""Peak memory of `orchestrate deploy` for a small and a large file to one OpenSSH host.

python bench/memory.py --sizes-mb 10 1000
"""

from __future__ import annotations

import argparse
import json
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from bench import measure
from bench.fanout import MODEL, take_turn
from tests.sshd import Fleet

if TYPE_CHECKING:
    from bench.measure import Sample


def deploy(size: int) -> Sample:
    """What one deploy of `size` bytes took, after the host was seen to have the file."""
    with tempfile.TemporaryDirectory(prefix="memory-") as folder:
        net = Path(folder) / MODEL
        measure.make_incompressible(net, size)
        with Fleet(Path(folder) / "hosts") as fleet:
            fleet.add(log_level="INFO")
            return take_turn("orchestrate", 1, fleet, net)[0]


def main() -> None:
    """Measure and print a line a size, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes-mb", type=float, nargs="+", default=[10, 1000])
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    samples = {size: deploy(int(size * measure.MB)) for size in options.sizes_mb}
    if options.json:
        peaks = {f"{size:g}": sample.peak_mb for size, sample in samples.items()}
        document = {"machine": measure.machine(), "floor_mb": measure.own_peak_mb()}
        print(json.dumps({**document, "peak_mb": peaks}, indent=2))
        return
    for size, sample in samples.items():
        print(f"{size:g} MB: peak {sample.peak_mb:.0f} MB, {sample.wall_s:.2f} s")
    print(f"(the floor of the method is {measure.own_peak_mb():.0f} MB)")


if __name__ == "__main__":
    main()
