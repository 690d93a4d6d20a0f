"""How events become rows."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, update

from orchestrator.events import (
    BatchStarted,
    HostFinished,
    RolloutAborted,
    RunFinished,
    RunStarted,
    StateEntered,
    as_dict,
)
from orchestrator.history import wishes
from orchestrator.history.records import Benchmark, BenchmarkKey, HostRecord
from orchestrator.history.tables import BENCHMARKS, HOSTS, MILESTONES, RUNS, TRANSITIONS
from orchestrator.verify.baseline import speed_metric

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Connection


Recorded = RunStarted | RunFinished | StateEntered | HostFinished | BatchStarted | RolloutAborted


def record(connection: Connection, event: Recorded) -> None:
    """Write one event; a run's `request` names its hosts, so that none is forgotten."""
    match event:
        case RunStarted():
            connection.execute(
                insert(RUNS).values(
                    id=event.run,
                    command=event.command,
                    user=event.user,
                    hosts=len(event.hosts),
                    started=event.time,
                    request={"hosts": list(event.hosts), **event.request},
                )
            )
        case StateEntered():
            connection.execute(
                insert(TRANSITIONS).values(
                    run=event.run,
                    host=event.host,
                    time=event.time,
                    state=event.state,
                    release=event.release,
                    detail=event.detail,
                )
            )
        case HostFinished():
            status, outcome = event.outcome["status"], dict(event.outcome)
            put_host(connection, HostRecord(event.run, event.host, event.time, status, outcome))
            benchmark = benchmark_of(event)
            if benchmark is not None:
                insert_benchmark(connection, benchmark)
            wishes.follow(connection, event)
        case BatchStarted() | RolloutAborted():
            told = as_dict(event)
            connection.execute(
                insert(MILESTONES).values(
                    run=told.pop("run"),
                    time=told.pop("time"),
                    event=told.pop("event"),
                    document=told,
                )
            )
        case RunFinished():
            connection.execute(
                update(RUNS)
                .where(RUNS.c.id == event.run)
                .values(finished=event.time, outcome=event.outcome, exit_code=event.exit_code)
            )
            wishes.follow(connection, event)


def put_host(connection: Connection, host: HostRecord) -> None:
    """Write what became of a host in a run, in place of what was written before."""
    same = (HOSTS.c.run == host.run) & (HOSTS.c.host == host.host)
    connection.execute(delete(HOSTS).where(same))
    connection.execute(insert(HOSTS).values(**asdict(host)))


def benchmark_of(event: HostFinished) -> Benchmark | None:
    """The measurement in a host's outcome; None where nothing was verified."""
    outcome = event.outcome
    verify: Mapping[str, Any] | None = outcome.get("verify")
    artifact: Mapping[str, Any] | None = outcome.get("artifact")
    if verify is None or artifact is None:
        return None
    metrics = dict(verify["metrics"])
    metric = speed_metric(metrics)
    return Benchmark(
        run=event.run,
        host=event.host,
        time=event.time,
        key=BenchmarkKey(
            outcome.get("hardware_class") or "unknown",
            artifact["model"],
            artifact["format"],
            artifact["precision"],
            outcome.get("engine") or "",
        ),
        version=artifact["version"],
        verdict=verify["verdict"],
        reason=verify.get("reason", ""),
        metric=metric,
        value=metrics.get(metric),
        metrics=metrics,
    )


def insert_benchmark(connection: Connection, benchmark: Benchmark) -> None:
    """Write one measurement."""
    connection.execute(
        insert(BENCHMARKS).values(
            **benchmark.key._asdict(),
            run=benchmark.run,
            host=benchmark.host,
            time=benchmark.time,
            version=benchmark.version,
            verdict=benchmark.verdict,
            reason=benchmark.reason,
            metric=benchmark.metric,
            value=benchmark.value,
            metrics=dict(benchmark.metrics),
        )
    )
