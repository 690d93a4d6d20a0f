"""Answers what was, and takes down what events tell."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, select, update
from sqlalchemy.exc import SQLAlchemyError

from orchestrator.history import wishes
from orchestrator.history.recording import Recorded, put_host, record
from orchestrator.history.records import (
    Benchmark,
    BenchmarkKey,
    HostRecord,
    Milestone,
    RunDetail,
    RunRecord,
    Transition,
)
from orchestrator.history.schema import NewerSchemaError, open_database
from orchestrator.history.tables import BENCHMARKS, HOSTS, MILESTONES, RUNS, TRANSITIONS, WISHES
from orchestrator.history.wishes import Wish
from orchestrator.verify.baseline import Baseline, from_samples
from orchestrator.verify.result import Verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable
    from typing import Self

    from sqlalchemy import Connection, Engine, Select

    from orchestrator.events import Event, RunFinished

# How many of the latest measurements a baseline is made of.
SAMPLES = 100
# The outcome of runs that only looked.
ABANDONED = "abandoned"
_KEY = tuple(BENCHMARKS.c[name] for name in BenchmarkKey._fields)
_STEP = tuple(column for column in TRANSITIONS.c if column.name != "id")
_MILESTONE = tuple(column for column in MILESTONES.c if column.name != "id")


class History:
    """The database of a fleet project; an event subscriber.

    Nothing here raises because of the database. The first thing that goes wrong is said to `warn`;
    from then on nothing is written, so that a locked file cannot slow a run down, and what is read
    is empty.
    """

    def __init__(self, url: str, warn: Callable[[str], None]) -> None:
        self._warn = warn
        self._engine: Engine | None = None
        try:
            self._engine = open_database(url)
        except (SQLAlchemyError, NewerSchemaError, OSError, ImportError) as exc:
            self._give_up("opened", exc)

    def on_event(self, event: Event) -> None:
        """See Subscriber."""
        if isinstance(event, Recorded):
            self._write(lambda connection: record(connection, event))

    def baselines(self) -> dict[BenchmarkKey, Baseline]:
        """Every baseline there is."""
        newest_first = func.row_number().over(
            partition_by=_KEY, order_by=(BENCHMARKS.c.time.desc(), BENCHMARKS.c.id.desc())
        )
        passed = (
            select(*_KEY, BENCHMARKS.c.metric, BENCHMARKS.c.value, newest_first.label("age"))
            .where(BENCHMARKS.c.verdict == str(Verdict.PASS), BENCHMARKS.c.value.is_not(None))
            .subquery()
        )
        query = select(passed).where(passed.c.age <= SAMPLES).order_by(passed.c.age)
        samples: dict[BenchmarkKey, list[tuple[str, float]]] = {}
        for row in self._rows(query):
            key = _key(row)
            samples.setdefault(key, []).append((row["metric"], row["value"]))
        found = {key: _of_latest_metric(key, measured) for key, measured in samples.items()}
        return {key: baseline for key, baseline in found.items() if baseline is not None}

    def runs(self, limit: int = 20) -> list[RunRecord]:
        """The latest runs, newest first, without those that ended before they did anything."""
        acted = func.coalesce(RUNS.c.outcome, "") != ABANDONED
        query = select(RUNS).where(acted).order_by(RUNS.c.started.desc(), RUNS.c.id.desc())
        return [RunRecord(**row) for row in self._rows(query.limit(limit))]

    def run(self, run: str) -> RunDetail | None:
        """A run by its id, or by the only id that starts so; None where there is none."""
        started_so = RUNS.c.id.startswith(run, autoescape=True)  # the run itself sorts first
        found = self._rows(select(RUNS).where(started_so).order_by(RUNS.c.id).limit(2))
        exact = [row for row in found if row["id"] == run] or found
        if len(exact) != 1:
            return None
        this = RunRecord(**exact[0])
        hosts = select(HOSTS).where(HOSTS.c.run == this.id).order_by(HOSTS.c.host)
        steps = select(*_STEP).where(TRANSITIONS.c.run == this.id).order_by(TRANSITIONS.c.id)
        marks = select(*_MILESTONE).where(MILESTONES.c.run == this.id).order_by(MILESTONES.c.id)
        return RunDetail(
            this,
            tuple(HostRecord(**row) for row in self._rows(hosts)),
            tuple(Transition(**row) for row in self._rows(steps)),
            tuple(Milestone(**row) for row in self._rows(marks)),
        )

    def unfinished_runs(self) -> list[RunRecord]:
        """The runs without an end, newest first: they go on, or were cut off."""
        query = select(RUNS).where(RUNS.c.finished.is_(None))
        newest_first = query.order_by(RUNS.c.started.desc(), RUNS.c.id.desc())
        return [RunRecord(**row) for row in self._rows(newest_first)]

    def runs_since(self, time: float) -> list[RunRecord]:
        """The runs that started at a time or later, oldest first."""
        query = select(RUNS).where(RUNS.c.started >= time).order_by(RUNS.c.started, RUNS.c.id)
        return [RunRecord(**row) for row in self._rows(query)]

    def outcomes_since(self, time: float) -> list[HostRecord]:
        """What became of hosts in any run after a time, oldest first."""
        query = select(HOSTS).where(HOSTS.c.time > time).order_by(HOSTS.c.time)
        return [HostRecord(**row) for row in self._rows(query)]

    def end_run(self, end: RunFinished, hosts: Iterable[HostRecord]) -> None:
        """Give a run that was cut off its end, and `hosts` of it what later runs made of them.

        Their measurements are not counted again, and what was wished for stays as it is.
        """
        values = {"finished": end.time, "outcome": end.outcome, "exit_code": end.exit_code}

        def work(connection: Connection) -> None:
            for host in hosts:
                put_host(connection, replace(host, run=end.run))
            connection.execute(update(RUNS).where(RUNS.c.id == end.run).values(**values))

        self._write(work)

    def host(self, name: str, limit: int = 20) -> list[HostRecord]:
        """What became of a host in its latest runs, newest first."""
        query = select(HOSTS).where(HOSTS.c.host == name).order_by(HOSTS.c.time.desc())
        return [HostRecord(**row) for row in self._rows(query.limit(limit))]

    def host_names(self) -> list[str]:
        """Every host that ever had an outcome."""
        query = select(HOSTS.c.host).distinct().order_by(HOSTS.c.host)
        return [row["host"] for row in self._rows(query)]

    def benchmarks(self, *, host: str | None = None, limit: int = 50) -> list[Benchmark]:
        """The latest measurements, newest first; of one host where that is given."""
        query = select(BENCHMARKS).order_by(BENCHMARKS.c.time.desc(), BENCHMARKS.c.id.desc())
        if host is not None:
            query = query.where(BENCHMARKS.c.host == host)
        return [_benchmark(row) for row in self._rows(query.limit(limit))]

    def wishes(self) -> list[Wish]:
        """What hosts that were not reached should get, by host."""
        query = select(WISHES).order_by(WISHES.c.host)
        return [
            Wish(**row | {"allow_inexact": bool(row["allow_inexact"])}) for row in self._rows(query)
        ]

    def postpone(self, host: str, *, until: float, error: str) -> None:
        """Count an attempt that did not bring the host what it should get."""
        self._write(lambda connection: wishes.postpone(connection, host, until=until, error=error))

    def forget(self, host: str) -> None:
        """Drop what the host should get."""
        self._write(lambda connection: wishes.forget(connection, host))

    def close(self) -> None:
        """Let go of the database; safe to call twice."""
        if self._engine is not None:
            self._engine.dispose()
            self._engine = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_exc: object) -> None:
        self.close()

    def _write(self, work: Callable[[Connection], None]) -> None:
        if self._engine is None:
            return
        try:
            with self._engine.execution_options(writes=True).begin() as connection:
                work(connection)
        except (SQLAlchemyError, OSError) as exc:
            self._give_up("written", exc)

    def _rows(self, query: Select[Any]) -> list[dict[str, Any]]:
        if self._engine is None:
            return []
        try:
            with self._engine.connect() as connection:
                return [dict(row) for row in connection.execute(query).mappings()]
        except (SQLAlchemyError, OSError, ValueError) as exc:  # ValueError: JSON that is none
            self._give_up("read", exc)
            return []

    def _give_up(self, what: str, exc: Exception) -> None:
        self.close()
        cause = getattr(exc, "orig", None) or exc
        self._warn(f"the history cannot be {what}: {cause}")


def _of_latest_metric(key: BenchmarkKey, measured: list[tuple[str, float]]) -> Baseline | None:
    """The baseline of samples, newest first, that were measured as the newest was."""
    metric = measured[0][0]
    values = [value for name, value in measured if name == metric]
    return from_samples(key.hardware_class, metric, values)


def _key(row: dict[str, Any]) -> BenchmarkKey:
    return BenchmarkKey(*(row[name] for name in BenchmarkKey._fields))


def _benchmark(row: dict[str, Any]) -> Benchmark:
    values = {name: row[name] for name in row if name not in {"id", *BenchmarkKey._fields}}
    return Benchmark(key=_key(row), **values)
