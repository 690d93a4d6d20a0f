"""The tables of the history."""

from __future__ import annotations

from sqlalchemy import JSON, Column, Float, Index, Integer, MetaData, String, Table, Text

METADATA = MetaData()

RUNS = Table(
    "runs",
    METADATA,
    Column("id", String(64), primary_key=True),
    Column("command", Text, nullable=False),
    Column("user", Text, nullable=False),
    Column("hosts", Integer, nullable=False),
    Column("started", Float, nullable=False, index=True),
    Column("finished", Float),
    Column("outcome", String(32)),
    Column("exit_code", Integer),
    Column("request", JSON),
)

HOSTS = Table(
    "hosts",
    METADATA,
    Column("run", String(64), primary_key=True),
    Column("host", String(255), primary_key=True),
    Column("time", Float, nullable=False),
    Column("status", String(32), nullable=False),
    Column("outcome", JSON, nullable=False),
    Index("hosts_by_host", "host", "time"),
)

TRANSITIONS = Table(
    "transitions",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run", String(64), nullable=False, index=True),
    Column("host", String(255), nullable=False),
    Column("time", Float, nullable=False),
    Column("state", String(32), nullable=False),
    Column("release", Text),
    Column("detail", Text, nullable=False),
)

BENCHMARKS = Table(
    "benchmarks",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run", String(64), nullable=False, index=True),
    Column("host", String(255), nullable=False, index=True),
    Column("time", Float, nullable=False),
    Column("hardware_class", String(64), nullable=False),
    Column("model", String(255), nullable=False),
    Column("format", String(32), nullable=False),
    Column("precision", String(16), nullable=False),
    Column("engine", String(32), nullable=False),
    Column("version", String(255), nullable=False),
    Column("verdict", String(16), nullable=False),
    Column("reason", Text, nullable=False),
    Column("metric", String(64), nullable=False),
    Column("value", Float),
    Column("metrics", JSON, nullable=False),
    Index("benchmarks_by_key", "hardware_class", "model", "format", "precision", "engine"),
)

# What happens to a run as a whole: batches, aborts.
MILESTONES = Table(
    "milestones",
    METADATA,
    Column("id", Integer, primary_key=True),
    Column("run", String(64), nullable=False, index=True),
    Column("time", Float, nullable=False),
    Column("event", String(32), nullable=False),
    Column("document", JSON, nullable=False),
)

# What hosts that could not be reached should get when they are back.
WISHES = Table(
    "wishes",
    METADATA,
    Column("host", String(255), primary_key=True),
    Column("model", String(512), nullable=False),
    Column("allow_inexact", Integer, nullable=False),
    Column("run", String(64), nullable=False),
    Column("since", Float, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("next_attempt", Float, nullable=False),
    Column("last_error", Text, nullable=False),
)
