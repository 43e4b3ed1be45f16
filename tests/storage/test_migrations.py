from __future__ import annotations

import os
import random
import signal
import sqlite3
import time
from decimal import Decimal
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from sqlalchemy import inspect, select, text

from app.config import Settings
from app.domain.errors import ConfigurationError
from app.storage import database as database_module
from app.storage import migrations
from app.storage.database import Database, StorageUnavailable
from app.storage.migrations import _upgrade, migrate, revision
from app.storage.tables import INTENTS, METADATA, VENUE_ORDER_IDS
from tests.logs import logged


def test_migrations_make_the_tables_that_the_code_expects(database):
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


@pytest.mark.row("J07")
def test_a_database_of_a_newer_version_is_refused(empty_database_url):
    database = Database(empty_database_url)
    migrate(database)
    migrate(database)
    database.write(lambda c: c.execute(text("UPDATE alembic_version SET version_num = 'from_the_future'")))
    with pytest.raises(ConfigurationError, match="newer version"):
        migrate(database)
    database.close()


@pytest.mark.row("A18")
def before_any_schema(database, work):
    """One transaction in a database that `Database.write` does not know yet."""
    with database.engine.connect().execution_options(writes=True) as connection, connection.begin():
        work(connection)


def test_a_migration_that_dies_leaves_nothing(empty_database_url):
    database = Database(empty_database_url)

    def die(connection):
        _upgrade(connection)
        assert revision(connection) is not None
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        before_any_schema(database, die)
    assert inspect(database.engine).get_table_names() == []
    migrate(database)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()


def test_orders_and_executions_of_the_first_schema_keep_their_ties(empty_database_url):
    database = Database(empty_database_url)

    def first_schema(connection):
        config = Config()
        config.set_main_option("script_location", str(Path(migrations.__file__).parent))
        config.attributes["connection"] = connection
        command.upgrade(config, "initial")
        order = "origin, state, symbol, side, purpose, reason, type, time_in_force, attempt, created_at, updated_at"
        values = "'decision', 'filled', 'KO', 'buy', 'entry', 'x', 'market', 'day', 1, '2024-03-01 15:00', '2024-03-01 15:00'"
        for name, venue_id in (("n1", "'v1'"), ("n2", "NULL")):
            columns = f"client_order_id, venue_order_id, quantity, filled_quantity, {order}"
            connection.execute(text(f"INSERT INTO intents ({columns}) VALUES ('{name}', {venue_id}, '10', '10', {values})"))
        for name, units in (("e1", "4.1"), ("e2", "5.9")):
            columns = "execution_id, venue_order_id, symbol, side, quantity, price, commission, filled_at, booked_at"
            row = f"'{name}', 'v1', 'KO', 'buy', '{units}', '1', '0', '2024-03-01 15:00', '2024-03-01 15:00'"
            connection.execute(text(f"INSERT INTO fills ({columns}) VALUES ({row})"))

    before_any_schema(database, first_schema)
    migrate(database)
    tie = database.read(lambda c: c.execute(select(VENUE_ORDER_IDS)).all())
    booked = database.read(lambda c: c.execute(select(INTENTS.c.booked_quantity).order_by(INTENTS.c.id)).scalars().all())
    assert tie == [("v1", "n1")]
    assert booked == [Decimal("10.0"), Decimal(0)]
    database.close()


def test_sqlite_is_set_up_for_several_processes(tmp_path):
    database = Database(f"sqlite:///{tmp_path / 'new' / 'directory' / 'x.db'}")
    wanted = {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "busy_timeout": 30_000}
    found = database.read(lambda c: {name: c.execute(text(f"PRAGMA {name}")).scalar_one() for name in wanted})
    assert found == wanted
    database.close()


def test_a_write_takes_its_turn_before_it_reads(tmp_path):
    """The lock is taken at BEGIN, so no write can fail half way; who waits too long is told so."""
    path = tmp_path / "x.db"
    database = Database(f"sqlite:///{path}", busy_timeout_seconds=0.1)
    database.ping()
    holder = sqlite3.connect(path, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    ran = []
    with pytest.raises(StorageUnavailable, match="locked"):
        database.write(ran.append)
    assert ran == []
    database.ping()
    holder.rollback()
    database.write(ran.append)
    assert len(ran) == 1
    holder.close()
    database.close()


@pytest.mark.parametrize("url", ["sqlite://", "sqlite:///:memory:", "mysql://a/b", "nonsense", ""])
def test_other_databases_are_refused(url):
    with pytest.raises(ConfigurationError):
        Database(url)


def test_no_server_is_told_plainly(tmp_path):
    database = Database(f"postgresql+psycopg://nobody@/nothing?host={tmp_path}")
    with pytest.raises(StorageUnavailable):
        database.ping()
    directory = tmp_path / "a directory"
    directory.mkdir()
    with pytest.raises(StorageUnavailable):
        Database(f"sqlite:///{directory}", busy_timeout_seconds=0.1).ping()


@pytest.mark.parametrize(("version", "refused"), [((3, 51, 2), True), ((3, 40, 1), True), ((3, 51, 3), False)])
def test_E18_live_mode_refuses_an_old_sqlite(monkeypatch, version, refused):
    monkeypatch.setattr(sqlite3, "sqlite_version_info", version)
    keys = {"alpaca_api_key": "k", "alpaca_api_secret": "s", "secret_key": "7b1f0c92e4a85d36b0e97a14c853f26d"}
    keys["admin_password"] = "four-Blue-kettles"
    live = {"_env_file": None, "trading_mode": "live", "alpaca_paper": False, "alpaca_account_id": "PA1", **keys}
    live["live_confirmation"] = "real money on PA1"
    if refused:
        with pytest.raises(ValueError, match=r"SQLite .* can corrupt"):
            Settings(**live)
    else:
        Settings(**live)
    Settings(**live, database_url="postgresql+psycopg://localhost/x")
    Settings(_env_file=None, **keys)


def test_E18_an_old_sqlite_is_called_out_once(tmp_path: Path, monkeypatch):
    monkeypatch.setattr(database_module, "_warned", False)
    monkeypatch.setattr(sqlite3, "sqlite_version_info", (3, 51, 2))
    with logged() as said:
        for name in ("a", "b"):
            Database(f"sqlite:///{tmp_path / name}")
    assert [line["event"] for line in said] == ["sqlite_wal_reset_bug"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_A18_a_killed_migration_leaves_the_old_schema_or_the_new(empty_database_url):
    """kill -9 at random moments of a real process; whoever comes next finds all of it or nothing, and completes it."""
    kills = int(os.environ.get("MIGRATION_KILLS", "50" if os.environ.get("FAULTS") == "long" else "5"))
    chance = random.Random(18)
    for number in range(kills):
        child = os.fork()
        if not child:
            migrate(Database(empty_database_url))
            os._exit(0)
        time.sleep(chance.uniform(0.0, 0.5))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        database = Database(empty_database_url)
        tables = set(inspect(database.engine).get_table_names())
        assert tables in (set(), set(METADATA.tables) | {"alembic_version"}), f"kill {number}"
        database.close()
    database = Database(empty_database_url)
    migrate(database)
    with database.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []
    database.close()
