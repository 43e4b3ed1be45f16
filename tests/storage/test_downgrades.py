"""Every migration goes both ways, on both databases."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, MetaData, inspect, text

from app.domain.bar import DAILY
from app.services.database_service import DatabaseService
from app.storage import migrations
from app.storage.database import Database
from app.storage.migrations import migrate, revision
from app.storage.tables import METADATA
from tests.storage.made import bars

Schema = dict[str, list[tuple[str, str, bool]]]


def config(connection: Connection) -> Config:
    made = Config()
    made.set_main_option("script_location", str(Path(migrations.__file__).parent))
    made.attributes["connection"] = connection
    return made


@pytest.fixture
def migrated(empty_database_url: str) -> Iterator[Database]:
    database = Database(empty_database_url)
    migrate(database)
    yield database
    database.close()


def schema(connection: Connection) -> Schema:
    """Tables, with names, types and nullability of their columns."""
    found = MetaData()
    found.reflect(connection)
    return {
        name: sorted((column.name, str(column.type), bool(column.nullable)) for column in table.columns)
        for name, table in found.tables.items()
        if name != "alembic_version"
    }


def walk(database: Database, move: str, to: str) -> Schema:
    def work(connection: Connection) -> Schema:
        getattr(command, move)(config(connection), to)
        return schema(connection)

    return database.write(work)


def test_every_step_down_gives_what_the_step_up_was_made_from(migrated: Database) -> None:
    steps = [step.revision for step in ScriptDirectory.from_config(config(None)).walk_revisions()][::-1]  # type: ignore[arg-type]
    walk(migrated, "downgrade", "base")
    before, found = "base", Schema()
    for step in steps:
        up = walk(migrated, "upgrade", step)
        assert walk(migrated, "downgrade", before) == found, step
        assert walk(migrated, "upgrade", step) == up, step
        before, found = step, up
    assert set(found) == set(METADATA.tables)


def test_all_the_way_down_leaves_nothing_and_up_again_everything(migrated: Database) -> None:
    assert walk(migrated, "downgrade", "base") == {}
    with migrated.engine.connect() as connection:
        assert revision(connection) is None
        if not migrated.is_sqlite:
            left = "SELECT proname FROM pg_proc p JOIN pg_namespace n ON n.oid = p.pronamespace WHERE nspname = 'public'"
            assert connection.execute(text(left)).all() == []
            assert inspect(connection).get_schema_names() == ["information_schema", "public"]
    migrate(migrated)
    with migrated.engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), METADATA) == []


def test_bars_survive_the_way_into_partitions_and_out(migrated: Database, hand_clock) -> None:
    ledger = DatabaseService(migrated, hand_clock)
    given = bars("KO", 9_000)
    early = bars("OLD", 3)
    object.__setattr__(early, "timestamp", early.timestamp - 50 * 365 * 86_400)
    ledger.save_bars({"KO": given, "OLD": early})
    for move, to in (("downgrade", "accounts"), ("upgrade", "head")):
        walk(migrated, move, to)
        found = ledger.bars(["KO", "OLD"], DAILY)
        for symbol, series in (("KO", given), ("OLD", early)):
            assert np.array_equal(found[symbol].timestamp, series.timestamp)
            assert np.array_equal(found[symbol].close, series.close)
        ledger.save_bars({"KO": given})
    if not migrated.is_sqlite:
        parts = migrated.read(
            lambda c: c.execute(text("SELECT tableoid::regclass::text, count(*) FROM bars GROUP BY 1 ORDER BY 1")).all()
        )
        assert sum(count for _, count in parts) == 9_003
        assert len(parts) > 2
        assert ("bar_parts.bars_other", 3) in [tuple(row) for row in parts]
