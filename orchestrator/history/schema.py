"""The database itself: opened so that several processes can write it, and brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url

from orchestrator.history.tables import METADATA

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

# Statements that bring an older database forward: the first tuple makes version 2 of version 1.
# Tables that are new need none, they are made like all others.
MIGRATIONS: tuple[tuple[str, ...], ...] = (("ALTER TABLE runs ADD COLUMN request JSON",),)
BUSY_MS = 2000


class NewerSchemaError(Exception):
    """The database was written by a later version."""


def open_database(url: str) -> Engine:
    """The engine of a database whose tables are up to date.

    Raises SQLAlchemyError, OSError or NewerSchemaError.
    """
    parsed = make_url(url)
    if parsed.get_backend_name() != "sqlite":
        engine = create_engine(parsed)
        METADATA.create_all(engine)
        return engine
    if parsed.database and parsed.database != ":memory:":
        Path(parsed.database).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(parsed)
    event.listen(engine, "connect", _prepare)
    event.listen(engine, "begin", _begin)
    try:
        with engine.execution_options(writes=True).begin() as connection:
            _bring_up_to_date(connection)
    except BaseException:
        engine.dispose()
        raise
    return engine


def _prepare(connection: Any, _record: Any) -> None:
    """Leave BEGIN to `_begin`; readers do not block the writer, who waits for another a while."""
    connection.isolation_level = None
    connection.execute(f"PRAGMA busy_timeout = {BUSY_MS}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")


def _begin(connection: Connection) -> None:
    """Writers queue up at once: a reader that turns writer half-way could not wait for another."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _bring_up_to_date(connection: Connection) -> None:
    newest = 1 + len(MIGRATIONS)
    version = connection.exec_driver_sql("PRAGMA user_version").scalar_one()
    if version == newest:
        return
    if version > newest:
        raise NewerSchemaError(f"its schema is {version}, this version knows {newest}")
    if version > 0:
        for statements in MIGRATIONS[version - 1 :]:
            for statement in statements:
                connection.exec_driver_sql(statement)
    METADATA.create_all(connection)
    connection.exec_driver_sql(f"PRAGMA user_version = {newest}")
