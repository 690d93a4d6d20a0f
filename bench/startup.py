"""How long `orchestrate` takes to start, and to plan for 500 hosts from cached facts.

    python bench/startup.py --hosts 500 --rounds 9

Each is a whole process, next to `python -c pass` as the measure of the machine. The fleet is one
that `orchestrate init` makes, with an inventory of nested groups and four kinds of hosts.
"""

from __future__ import annotations

import argparse
import gzip
import json
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from bench import measure
from orchestrator.fleet import facts
from orchestrator.fleet.facts_cache import FactsCache
from tests.needs import find_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.measure import Sample

KATAGO = facts.Katago(path="/usr/bin/katago", version="1.18.1", backend="opencl")
KINDS = {
    "pis": facts.Facts(
        arch="aarch64",
        system="Linux",
        cpu=facts.Cpu(model="Cortex-A76", cores=4),
        memory=facts.Memory(total_mb=8063, available_mb=7000),
        disk=facts.Disk(free_mb=20_000),
        board=facts.Board(kind="raspberry-pi", model="Raspberry Pi 5 Model B Rev 1.0"),
        katago=facts.Katago(path="/usr/bin/katago", version="1.18.1", backend="eigen"),
        hardware_class="rpi5",
    ),
    "jetsons": facts.Facts(
        arch="aarch64",
        system="Linux",
        cpu=facts.Cpu(model="Cortex-A78AE", cores=8),
        memory=facts.Memory(total_mb=15_500, available_mb=12_000),
        disk=facts.Disk(free_mb=30_000),
        board=facts.Board(kind="jetson", model="NVIDIA Jetson Orin NX", jetpack="6.0"),
        gpus=(facts.Gpu("Orin", compute_capability=8.7),),
        katago=KATAGO,
        hardware_class="jetson-orin-nx",
    ),
    "servers": facts.Facts(
        arch="x86_64",
        system="Linux",
        cpu=facts.Cpu(model="EPYC", cores=32),
        memory=facts.Memory(total_mb=128_000, available_mb=100_000),
        disk=facts.Disk(free_mb=500_000),
        gpus=(facts.Gpu("NVIDIA GeForce RTX 3090", compute_capability=8.6, memory_mb=24_576),),
        katago=KATAGO,
        hardware_class="rtx-30",
    ),
    "desktops": facts.Facts(
        arch="x86_64",
        system="Linux",
        cpu=facts.Cpu(model="Core i5", cores=6),
        memory=facts.Memory(total_mb=16_000, available_mb=9000),
        disk=facts.Disk(free_mb=90_000),
        katago=facts.Katago(path="/usr/bin/katago", version="1.18.1", backend="eigen"),
        hardware_class="cpu-x86_64",
    ),
}


def make_project(project: Path, hosts: int, orchestrate: Path, log: Path) -> None:
    """A fleet project with `hosts` hosts of four kinds, their facts, and a version to plan for."""
    measure.run([[orchestrate, "init", project]], log=log)
    net = log.with_name("net.bin.gz")
    with gzip.open(net, "wb") as file:
        file.write(b"net 15 22 19 " + bytes(100_000))
    add: list[str | Path] = ["models", "add", "net@v1", net, "--format", "katago"]
    measure.run([[orchestrate, "--project", project, *add]], log=log)
    cache = FactsCache(project / ".orchestrate")
    groups: dict[str, Any] = {kind: {"hosts": {}} for kind in KINDS}
    for number in range(hosts):
        kind = list(KINDS)[number % len(KINDS)]
        name = f"{kind}-{number}"
        groups[kind]["hosts"][name] = {"ansible_host": f"10.1.{number // 250}.{number % 250 + 1}"}
        cache.put(name, KINDS[kind])
    tree = {
        "edge": {"children": {kind: groups[kind] for kind in ("pis", "jetsons")}},
        "rack": {"children": {kind: groups[kind] for kind in ("servers", "desktops")}},
    }
    inventory = {"all": {"children": tree, "vars": {"orchestrate_model": "net@v1"}}}
    (project / "inventory" / "hosts.yml").write_text(yaml.safe_dump(inventory))


def check_plan(log: Path, hosts: int) -> None:
    """Raise when the plan that was printed is not a deploy to every host."""
    planned = json.loads(log.read_text())["hosts"]
    if len(planned) != hosts or any("error" in plan for plan in planned.values()):
        sys.exit(f"the plan is not one for {hosts} hosts: {log.read_text()[:2000]}")


def main() -> None:
    """Measure and print a table, or JSON."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--hosts", type=int, default=500)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args()
    orchestrate = find_program("orchestrate")
    if orchestrate is None:
        sys.exit("orchestrate is missing; get it by: uv sync")
    with tempfile.TemporaryDirectory(prefix="startup-") as folder:
        log, project = Path(folder) / "log", Path(folder) / "project"
        make_project(project, options.hosts, orchestrate, log)
        plan: list[str | Path] = [orchestrate, "--project", project, "--json", "plan", "--offline"]
        commands: dict[str, Sequence[str | Path]] = {
            "python -c pass": [sys.executable, "-c", "pass"],
            "orchestrate --help": [orchestrate, "--help"],
            f"orchestrate plan, {options.hosts} hosts": plan,
        }
        taken: dict[str, list[Sample]] = {name: [] for name in commands}
        for _ in range(options.rounds):
            for name, command in commands.items():
                taken[name].append(measure.run([command], log=log))
            check_plan(log, options.hosts)
    summary: dict[str, dict[str, Any]] = {
        name: {
            "wall_s": measure.spread([sample.wall_s for sample in samples]),
            "cpu_s": measure.spread([sample.cpu_s for sample in samples]),
            "peak_mb": max(sample.peak_mb for sample in samples),
        }
        for name, samples in taken.items()
    }
    if options.json:
        print(json.dumps({"machine": measure.machine(), "summary": summary}, indent=2))
        return
    bare = summary["python -c pass"]["wall_s"]["median"]
    for name, entry in summary.items():
        wall, cpu = entry["wall_s"], entry["cpu_s"]
        print(
            f"{name:28} {wall['median']:.3f} s ({wall['min']:.3f}-{wall['max']:.3f}), "
            f"{wall['median'] / bare:5.1f} x python, CPU {cpu['median']:.3f} s"
        )


if __name__ == "__main__":
    main()
