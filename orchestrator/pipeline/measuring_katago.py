"""How fast a KataGo on this machine evaluates a net, and what memory it takes."""

from __future__ import annotations

import re
import statistics
import tempfile
import time
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING, Any

from orchestrator.engines.katago.analysis import Query
from orchestrator.engines.katago.answers import COLUMNS
from orchestrator.engines.katago.client import KataGo
from orchestrator.errors import EngineError, ModelError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

# One evaluation at a time, none out of the cache; what is left out is as KataGo has it.
CONFIG = {
    "numAnalysisThreads": 1,
    "numSearchThreadsPerAnalysisThread": 1,
    "nnMaxBatchSize": 1,
    "nnCacheSizePowerOfTwo": 0,
    "nnMutexPoolSizePowerOfTwo": 0,
    "rootNumSymmetriesToSample": 1,
}
FEWEST = 3
SIZE = 19


def measure(
    program: Path,
    net: Path,
    filename: str,
    *,
    settings: Mapping[str, str] | None = None,
    seconds: float = 2.0,
) -> dict[str, Any]:
    """`evals_per_s` of single evaluations (median), one after the other, as an application gets it.

    `peak_rss_mb` is left out where the system has no /proc. `filename` is the net's own name, by
    which KataGo tells its format; `settings` are further config keys, such as `openclTunerFile`.
    Raises ModelError where the engine does not start or answer.
    """
    with tempfile.TemporaryDirectory(prefix="katago-") as folder:
        model = Path(folder) / filename
        model.symlink_to(net.resolve())
        try:
            with KataGo(
                model, {**CONFIG, **(settings or {})}, engine=program, restarts=0
            ) as engine:
                speed = _speed(engine, seconds)
                peak = _peak_rss_mb(engine.pid)
                runtime = f"KataGo {engine.version}"
        except EngineError as exc:
            raise ModelError(exc.message, hint=exc.hint) from exc
    memory = {} if peak is None else {"peak_rss_mb": round(peak, 1)}
    return {"evals_per_s": round(speed, 2), "runtime": runtime, **memory}


def _speed(engine: KataGo, seconds: float) -> float:
    """Positions a second; the first one is not counted."""
    asked = _positions()
    engine.analyze(next(asked))
    times: list[float] = []
    while len(times) < FEWEST or sum(times) < seconds:
        query = next(asked)
        start = time.perf_counter()
        engine.analyze(query)
        times.append(time.perf_counter() - start)
    return 1 / statistics.median(times)


def _positions() -> Iterator[Query]:
    """Boards with one stone, each time on another point."""
    points = [f"{column}{row}" for row in range(1, SIZE + 1) for column in COLUMNS[:SIZE]]
    for point in cycle(points):
        yield Query([("B", point)], rules="chinese", komi=7, visits=1)


def _peak_rss_mb(pid: int | None) -> float | None:
    try:
        status = Path(f"/proc/{pid}/status").read_text("utf-8")
    except OSError:
        return None
    found = re.search(r"VmHWM:\s+(\d+) kB", status)
    return int(found[1]) / 1024 if found else None
