"""Bars in partitions of five years, on PostgreSQL.

Revision: bar_partitions
"""

from datetime import UTC, datetime

from alembic import op

revision = "bar_partitions"
down_revision = "accounts"
branch_labels = None
depends_on = None

# Few and wide: a read without a period looks into each of them.
FIRST, LAST, YEARS = 1990, 2050, 5
# Out of the schema of the tables that the code names.
SCHEMA = "bar_parts"


def upgrade() -> None:
    """Moves the rows into them; nothing to do on SQLite, which has none."""
    if op.get_bind().dialect.name == "sqlite":
        return
    op.execute(f"CREATE SCHEMA {SCHEMA}")
    _set_aside()
    op.execute(
        "CREATE TABLE bars (LIKE bars_before, CONSTRAINT pk_bars PRIMARY KEY (symbol, timeframe, timestamp)) "
        "PARTITION BY RANGE (timestamp)"
    )
    for year in range(FIRST, LAST, YEARS):
        bounds = f"FROM ({_seconds(year)}) TO ({_seconds(year + YEARS)})"
        op.execute(f"CREATE TABLE {SCHEMA}.bars_{year} PARTITION OF bars FOR VALUES {bounds}")
    op.execute(f"CREATE TABLE {SCHEMA}.bars_other PARTITION OF bars DEFAULT")
    _move_back()


def downgrade() -> None:
    """One table again."""
    if op.get_bind().dialect.name == "sqlite":
        return
    _set_aside()
    op.execute("CREATE TABLE bars (LIKE bars_before, CONSTRAINT pk_bars PRIMARY KEY (symbol, timeframe, timestamp))")
    _move_back()
    op.execute(f"DROP SCHEMA {SCHEMA}")


def _set_aside() -> None:
    op.execute("ALTER TABLE bars RENAME TO bars_before")
    op.execute("ALTER INDEX pk_bars RENAME TO pk_bars_before")


def _move_back() -> None:
    op.execute("INSERT INTO bars SELECT * FROM bars_before")
    op.execute("DROP TABLE bars_before")


def _seconds(year: int) -> int:
    """Since 1970, of the year's first instant."""
    return int(datetime(year, 1, 1, tzinfo=UTC).timestamp())
