"""Run a program to its end and say what it took."""

from __future__ import annotations

import json
import os
import platform
import resource
import statistics
import subprocess
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

NOTHING = Path(os.devnull)
MB = 1_000_000


@dataclass(frozen=True, slots=True)
class Sample:
    """One run: wall and CPU time in seconds, peak memory in MB (10**6 bytes).

    CPU is user + system of the programs and of all children they waited for. `peak_mb` is the
    largest resident set of one process among them, as wait4(2) reports it. A child starts with
    what its parent had resident, so figures below `own_peak_mb()` mean nothing.
    """

    wall_s: float
    cpu_s: float
    peak_mb: float


class ProgramFailedError(Exception):
    """A measured program did not exit with 0; the end of its output is in the message."""


def run(
    commands: Iterable[Sequence[str | Path]],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    stdin: Path = NOTHING,
    good_exits: Sequence[int] = (0,),
) -> Sample:
    """What it took to run `commands` at the same time, each reading `stdin`, until the last ends.

    Their stdout goes to `log`, their stderr to `log`.err. Raises ProgramFailedError.
    """
    errors = log.with_name(f"{log.name}.err")
    with log.open("wb") as out, errors.open("wb") as err:
        started = time.perf_counter()
        running = []
        for command in commands:
            with stdin.open("rb") as source:
                process = subprocess.Popen(command, stdin=source, stdout=out, stderr=err, env=env)
            running.append((command, process))
        cpu, peak, failed = 0.0, 0, []
        for command, process in running:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            cpu += usage.ru_utime + usage.ru_stime
            peak = max(peak, usage.ru_maxrss)
            if process.returncode not in good_exits:
                failed.append(f"{shown(command)}\nexited with {process.returncode}")
        wall = time.perf_counter() - started
    if failed:
        said = "".join(path.read_text(errors="replace")[-3000:] for path in (log, errors))
        raise ProgramFailedError(f"{failed[0]}:\n{said}")
    return Sample(wall, cpu, in_mb(peak))


def run_apart(command: Sequence[str], *, log: Path) -> Sample:
    """As `run`, from a small process of its own, so that our memory is not counted."""
    done = subprocess.run(
        [sys.executable, "-m", "bench.measure", str(log), *command],
        check=True,
        stdout=subprocess.PIPE,
        cwd=Path(__file__).parents[1],
    )
    return Sample(**json.loads(done.stdout))


def shown(command: Sequence[str | Path]) -> str:
    """A command line for people."""
    return " ".join(map(str, command))


def own_peak_mb() -> float:
    """The peak memory of this process: the floor of every `peak_mb` measured from it."""
    return in_mb(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)


def in_mb(kib: int) -> float:
    """ru_maxrss, which Linux gives in KiB, in MB."""
    return kib * 1024 / MB


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, least and largest."""
    return {"median": statistics.median(values), "min": min(values), "max": max(values)}


def make_incompressible(path: Path, size: int) -> None:
    """Write `size` random bytes, a megabyte at a time."""
    with path.open("wb") as file:
        for start in range(0, size, MB):
            file.write(os.urandom(min(MB, size - start)))


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "cpus": len(os.sched_getaffinity(0)),
        "cpu": cpu_name(),
        "kernel": platform.release(),
        "python": platform.python_version(),
        "ssh": first_line(["ssh", "-V"]),
    }


def cpu_name() -> str:
    """The processor's name as the kernel tells it."""
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return platform.machine()


def first_line(command: Sequence[str | Path]) -> str:
    """The first line a program prints, on whichever of the two streams."""
    said = subprocess.run(command, capture_output=True, text=True, check=False)
    return (said.stdout + said.stderr).partition("\n")[0]


if __name__ == "__main__":
    print(json.dumps(asdict(run([sys.argv[2:]], log=Path(sys.argv[1])))))
