"""Connections and transactions. Every write is one transaction that cannot lose a race:
BEGIN IMMEDIATE on SQLite, SERIALIZABLE with a bounded repeat of the whole transaction on PostgreSQL."""

from __future__ import annotations

import os
import random
import sqlite3
import time
import weakref
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import structlog
from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, OperationalError, StatementError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from app.domain.errors import AlphaTraderError, ConfigurationError
from app.runtime.sqlite_version import SAFE_SQLITE, is_safe
from app.storage.audit import PENDING, Journal, Noted

T = TypeVar("T")

# PostgreSQL: serialization failure, deadlock. Both are proven to have had no effect.
_REPEATABLE = frozenset({"40001", "40P01"})
MAX_ATTEMPTS = 20
# Whoever lost a race has the database to itself when it tries again, or it might lose for ever: the second lock waits for all
# that hold the first, and those who come later wait behind it. LOCK TABLE takes no snapshot, so that whoever gets through
# sees what those before have done; nobody else writes to this table.
_AMONG_OTHERS = "LOCK TABLE alembic_version IN ROW SHARE MODE"
_ALONE = "LOCK TABLE alembic_version IN EXCLUSIVE MODE"

_log = structlog.get_logger()
_warned = False


class StorageUnavailable(AlphaTraderError):
    """The database did not answer, was locked beyond the time limit or kept failing; a write may be tried again later.
    If the connection was lost during a commit the outcome is unknown: read before writing again."""

    code = "database_unavailable"


class Database:
    """One database and its pool of connections. A forked child starts with an empty pool of its own.

    url: `sqlite:///path` or `postgresql+psycopg://...`. busy_timeout_seconds: how long a write waits for its turn.
    Raises ConfigurationError for any other kind of URL.
    """

    def __init__(self, url: str, *, pool_size: int = 5, busy_timeout_seconds: float = 30.0) -> None:
        try:
            self.url: URL = make_url(url)
        except ArgumentError:
            raise ConfigurationError("DATABASE_URL is not a database URL") from None
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        if self.is_sqlite:
            self.engine = _sqlite_engine(self.url, pool_size, busy_timeout_seconds)
        elif self.url.get_backend_name() == "postgresql":
            self.engine = _postgresql_engine(self.url, pool_size, busy_timeout_seconds)
        else:
            raise ConfigurationError(f"DATABASE_URL: {self.url.get_backend_name()} is not supported; use SQLite or PostgreSQL")
        self.journal = Journal()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=partial(_forget_connections, weakref.ref(self)))

    @property
    def file(self) -> Path | None:
        """The file of a SQLite database."""
        return Path(self.url.database) if self.is_sqlite and self.url.database else None

    def write(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` in one write transaction and commits it with the audit events it noted; any exception rolls back.
        On PostgreSQL `work` may run several times (conflicts are repeated, at most MAX_ATTEMPTS), so it must have no effect
        outside the transaction. Raises StorageUnavailable."""
        options: dict[str, Any] = {"writes": True} if self.is_sqlite else {"isolation_level": "SERIALIZABLE"}
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                noted: list[Noted] = []
                options[PENDING] = noted
                with self.engine.connect().execution_options(**options) as connection, connection.begin():
                    if not self.is_sqlite:
                        connection.exec_driver_sql(_AMONG_OTHERS if attempt == 1 else _ALONE)
                    result = work(connection)
                    committed = self.journal.append(connection, noted)
                committed()
                return result
            except (StatementError, PoolTimeout) as fault:
                if _sqlstate(fault) not in _REPEATABLE or attempt == MAX_ATTEMPTS:
                    raise _translated(fault) from fault
            time.sleep(random.uniform(0.0, min(0.2, 0.004 * 2**attempt)))
        raise AssertionError("unreachable")

    def read(self, work: Callable[[Connection], T]) -> T:
        """Runs `work` on one consistent snapshot. Raises StorageUnavailable."""
        options: dict[str, Any] = {} if self.is_sqlite else {"isolation_level": "REPEATABLE READ", "postgresql_readonly": True}
        try:
            with self.engine.connect().execution_options(**options) as connection, connection.begin():
                return work(connection)
        except (StatementError, PoolTimeout) as fault:
            raise _translated(fault) from fault

    def ping(self) -> None:
        """Returns if the database answers; raises StorageUnavailable if not."""
        self.read(lambda connection: connection.execute(text("SELECT 1")).scalar_one())

    def close(self) -> None:
        """Closes all idle connections. The object stays usable."""
        self.engine.dispose()


def _forget_connections(database: weakref.ref[Database]) -> None:
    """In a forked child: the parent's connections are neither used nor closed here."""
    inherited = database()
    if inherited is not None:
        inherited.engine.dispose(close=False)


def _sqlstate(fault: Exception) -> str | None:
    return getattr(getattr(fault, "orig", None), "sqlstate", None)


def _translated(fault: Exception) -> Exception:
    """Trouble with the database becomes StorageUnavailable; what a column type refused comes out as it was raised; any
    other fault (a broken constraint) stays what it is."""
    state, origin = _sqlstate(fault), getattr(fault, "orig", None)
    if isinstance(origin, AlphaTraderError):
        return origin
    if isinstance(fault, (OperationalError, PoolTimeout)) or state in _REPEATABLE:
        return StorageUnavailable(f"the database did not complete the request: {origin or fault}")
    return fault


def _sqlite_engine(url: URL, pool_size: int, busy_timeout_seconds: float) -> Engine:
    if not url.database or url.database == ":memory:":
        raise ConfigurationError("DATABASE_URL: SQLite needs a file, several processes share it")
    file = Path(url.database)
    file.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):  # SQLite tells what is wrong with the place
        # For this user's eyes only, and with it the files beside it; one that is there keeps its rights.
        os.close(os.open(file, os.O_RDWR | os.O_CREAT, 0o600))
    _warn_of_old_sqlite()
    engine = create_engine(
        url,
        pool_size=pool_size,
        max_overflow=20,
        pool_timeout=busy_timeout_seconds,
        connect_args={"timeout": busy_timeout_seconds},
    )

    @event.listens_for(engine, "connect")
    def _prepare(connection: Any, record: Any) -> None:
        connection.isolation_level = None  # the driver must not open transactions of its own; `_begin` does
        cursor = connection.cursor()
        _switch_to_wal(cursor, busy_timeout_seconds)
        cursor.execute("PRAGMA synchronous=FULL")  # NORMAL may lose the last commits of a WAL when power fails
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()
        record.info["file"] = _identity(file)

    @event.listens_for(engine, "begin")
    def _begin(connection: Connection) -> None:
        # A deferred BEGIN that reads first and writes later fails under contention whatever the busy timeout.
        writes = connection.get_execution_options().get("writes", False)
        if connection.info.get("file") != _identity(file):
            # Deleted or replaced, it would go on taking writes that nobody can ever read again.
            connection.invalidate()
            raise StorageUnavailable("the database file was deleted or replaced while in use; stop everything and restore it")
        connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")

    return engine


def _identity(file: Path) -> tuple[int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_dev, found.st_ino


def _switch_to_wal(cursor: sqlite3.Cursor, patience_seconds: float) -> None:
    """Several processes may open a new file at once, and this pragma ignores the busy timeout."""
    deadline = time.monotonic() + patience_seconds
    while True:
        try:
            if cursor.execute("PRAGMA journal_mode=WAL").fetchone()[0] == "wal":
                return
        except sqlite3.OperationalError:
            if time.monotonic() > deadline:
                raise
        if time.monotonic() > deadline:
            raise sqlite3.OperationalError("this file system does not allow SQLite's write-ahead log")
        time.sleep(0.02)


def _warn_of_old_sqlite() -> None:
    global _warned  # noqa: PLW0603 - once per process
    if not is_safe() and not _warned:
        _warned = True
        _log.warning(
            "sqlite_wal_reset_bug",
            sqlite_version=sqlite3.sqlite_version,
            safe_version=".".join(map(str, SAFE_SQLITE)),
            detail="This SQLite can corrupt a database that several processes write to (rare). "
            "Update SQLite or set DATABASE_URL to PostgreSQL before real money is at stake.",
        )


def _postgresql_engine(url: URL, pool_size: int, busy_timeout_seconds: float) -> Engine:
    milliseconds = int(busy_timeout_seconds * 1000)
    return create_engine(
        url,
        pool_size=pool_size,
        max_overflow=20,
        pool_timeout=busy_timeout_seconds,
        pool_pre_ping=True,
        connect_args={
            "connect_timeout": 10,
            "application_name": "alpha-trader",
            "options": f"-c lock_timeout={milliseconds} -c idle_in_transaction_session_timeout={4 * milliseconds}",
        },
    )
