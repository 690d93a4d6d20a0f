"""Peak memory of `orchestrate deploy` for a small and a large file to one host.

python bench/memory.py --sizes-mb 10 1000            to an OpenSSH host
python bench/memory.py --docker --sizes-mb 10 1000   to a Docker host; needs root and dockerd
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


def deploy_to_docker(size: int) -> Sample:
    """What one deploy of `size` bytes to a Docker host took, whose engine then reads the file."""
    from tests.docker_images import busybox_tree  # noqa: PLC0415 - NumPy would raise the floor
    from tests.dockerd import running_engine  # noqa: PLC0415
    from tests.project import ORCHESTRATE  # noqa: PLC0415
    from tests.rollout.docker_project import docker_project, docker_vars  # noqa: PLC0415

    with (
        tempfile.TemporaryDirectory(prefix="memory-") as folder,
        running_engine() as engine,
    ):
        image = busybox_tree().import_into(engine)
        host = docker_vars(engine.url, "orchestrate", image)
        project = docker_project(Path(folder), {"gpu-1": host})
        net = Path(folder) / MODEL
        measure.make_incompressible(net, size)
        with net.open("r+b") as file:
            file.write(b"good\n")
        project.add("words@large", net, "--format", "file")
        command = [str(ORCHESTRATE), "--project", str(project.root), "deploy", "--yes"]
        return measure.run_apart([*command, "--model", "words@large"], log=Path(folder) / "log")


def main() -> None:
    """Measure and print a line a size, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--sizes-mb", type=float, nargs="+", default=[10, 1000])
    parser.add_argument("--docker", action="store_true", help="to a Docker host, not by SSH")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    way = deploy_to_docker if options.docker else deploy
    samples = {size: way(int(size * measure.MB)) for size in options.sizes_mb}
    if options.json:
        peaks = {f"{size:g}": sample.peak_mb for size, sample in samples.items()}
        document = {"machine": measure.machine(), "floor_mb": measure.own_peak_mb()}
        print(json.dumps({**document, "peak_mb": peaks}, indent=2))
        return
    for size, sample in samples.items():
        print(f"{size:g} MB: peak {sample.peak_mb:.0f} MB, {sample.wall_s:.2f} s")
    if not options.docker:
        print(f"(the floor of the method is {measure.own_peak_mb():.0f} MB)")


if __name__ == "__main__":
    main()
