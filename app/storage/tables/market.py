"""Bars, as arrays want them: binary floats."""

from __future__ import annotations

from sqlalchemy import BigInteger, Column, Double, LargeBinary, Table

from app.storage.columns import Words
from app.storage.tables.metadata import METADATA

# timestamp, known_at: seconds since 1970 UTC, as in `BarSeries`. NULL prices are NaN.
BARS = Table(
    "bars",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("timeframe", Words, primary_key=True),
    Column("timestamp", BigInteger, primary_key=True, autoincrement=False),
    Column("known_at", BigInteger, nullable=False),
    Column("open", Double),
    Column("high", Double),
    Column("low", Double),
    Column("close", Double),
    Column("volume", Double),
    sqlite_with_rowid=False,
)

# Copies of rows of BARS, see `app.storage.bar_blocks`. first, last: timestamps.
BAR_BLOCKS = Table(
    "bar_blocks",
    METADATA,
    Column("symbol", Words, primary_key=True),
    Column("timeframe", Words, primary_key=True),
    Column("first", BigInteger, primary_key=True, autoincrement=False),
    Column("last", BigInteger, nullable=False),
    Column("data", LargeBinary, nullable=False),
)
