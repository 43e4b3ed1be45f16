"""Bars in bulk: one multi-row VALUES statement per few thousand rows on SQLite, binary COPY on PostgreSQL; long histories are
read from packed copies of their rows."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from itertools import chain, islice, repeat
from typing import Any

import numpy as np
from sqlalchemy import Connection, func, select

from app.domain.bar import BarSeries, Floats
from app.domain.errors import InvalidInput
from app.storage import bar_blocks
from app.storage.tables import BARS

_NUMBERS = bar_blocks.NUMBERS
_COLUMNS = ("symbol", "timeframe", *_NUMBERS)
# SQLite takes at most 32,766 parameters in one statement.
_ROWS_PER_STATEMENT = 32_766 // len(_COLUMNS)
_INSERT = f"INSERT INTO bars ({', '.join(_COLUMNS)})"
# A bar that is there already and says the same is left alone: collecting again writes nothing.
_CHANGED = _NUMBERS[1:]


def _on_conflict(replace: bool, differs: str) -> str:
    target = " ON CONFLICT (symbol, timeframe, timestamp)"
    if not replace:
        return f"{target} DO NOTHING"
    changes = ", ".join(f"{name} = excluded.{name}" for name in _CHANGED)
    return f"{target} DO UPDATE SET {changes} WHERE " + " OR ".join(f"bars.{n} {differs} excluded.{n}" for n in _CHANGED)


def save(connection: Connection, series: Mapping[str, BarSeries], *, replace: bool) -> None:
    """Upserts bars of many symbols. replace: newer values win (corrections, splits); else what is there stays.
    Raises InvalidInput when a series is out of time order or filed under another symbol."""
    for symbol, bars in series.items():
        if bars.symbol != symbol:
            raise InvalidInput(f"bars of {bars.symbol} are filed under {symbol}")
        if len(bars) > 1 and not bool(np.all(np.diff(bars.timestamp) > 0)):
            raise InvalidInput(f"{symbol}: bars must be in time order, each instant once")
    filled = [bars for bars in series.values() if len(bars)]
    if not filled:
        return
    bar_blocks.forget(connection, filled)
    if connection.dialect.name == "sqlite":
        _save_sqlite(connection, filled, _on_conflict(replace, "IS NOT"))
    else:
        _save_postgresql(connection, filled, _on_conflict(replace, "IS DISTINCT FROM"))


def load(
    connection: Connection,
    symbols: Sequence[str],
    timeframe: str,
    *,
    start: datetime | None,
    end: datetime | None,
    limit: int | None,
) -> dict[str, BarSeries]:
    """Bars with start <= timestamp <= end, oldest first; at most the newest `limit` of each symbol. Symbols without
    bars are absent."""
    first, last = None if start is None else _seconds(start), None if end is None else _seconds(end)
    found = {}
    for symbol in dict.fromkeys(symbols):
        if limit is None:
            bars = _whole(connection, symbol, timeframe, first, last)
        else:
            bars = _rows_of(connection, symbol, timeframe, first, last, limit)
        if len(bars):
            found[symbol] = bars
    return found


def is_loose(connection: Connection, symbol: str, timeframe: str) -> bool:
    """Whether enough rows for a block are in none."""
    through = bar_blocks.packed_through(connection, symbol, timeframe)
    loose = _query(symbol, timeframe, None if through is None else through + 1, None).limit(bar_blocks.BLOCK_ROWS)
    count: int = connection.execute(select(func.count()).select_from(loose.subquery())).scalar_one()
    return count >= bar_blocks.BLOCK_ROWS


def pack(connection: Connection, symbol: str, timeframe: str) -> bool:
    """Pack the oldest rows that no block holds; whether there were enough for one. In a write transaction of its own."""
    through = bar_blocks.packed_through(connection, symbol, timeframe)
    query = _query(symbol, timeframe, None if through is None else through + 1, None)
    rows = _fetched(connection, query.order_by(BARS.c.timestamp).limit(bar_blocks.BLOCK_ROWS))
    if len(rows) < bar_blocks.BLOCK_ROWS:
        return False
    bar_blocks.add(connection, _series(symbol, timeframe, rows))
    return True


def _whole(connection: Connection, symbol: str, timeframe: str, first: int | None, last: int | None) -> BarSeries:
    parts = bar_blocks.load(connection, symbol, timeframe, start=first, end=last)
    through = bar_blocks.packed_through(connection, symbol, timeframe)
    if through is not None:
        first = through + 1 if first is None else max(first, through + 1)
    parts.append(_rows_of(connection, symbol, timeframe, first, last, None))
    if len(parts) == 1:
        return parts[0]
    joined = {name: np.concatenate([getattr(part, name) for part in parts]) for name in _NUMBERS}
    return BarSeries(symbol=symbol, timeframe=timeframe, **joined)


def _rows_of(
    connection: Connection, symbol: str, timeframe: str, first: int | None, last: int | None, limit: int | None
) -> BarSeries:
    query = _query(symbol, timeframe, first, last).order_by(BARS.c.timestamp.desc()).limit(limit)
    return _series(symbol, timeframe, _fetched(connection, query)[::-1])


def _query(symbol: str, timeframe: str, first: int | None, last: int | None) -> Any:
    query = select(*(BARS.c[name] for name in _NUMBERS)).where(BARS.c.symbol == symbol, BARS.c.timeframe == timeframe)
    if first is not None:
        query = query.where(BARS.c.timestamp >= first)
    return query if last is None else query.where(BARS.c.timestamp <= last)


def _fetched(connection: Connection, query: Any) -> Floats:
    """(n_rows, 7). The driver's tuples: numbers need no conversion, and rows of objects cost 3x."""
    result: Any = connection.execute(query)
    return np.array(result.cursor.fetchall(), dtype=np.float64).reshape(-1, len(_NUMBERS))  # seconds are exact in float64


def _seconds(at: datetime) -> int:
    if at.tzinfo is None:
        raise InvalidInput(f"an instant needs a time zone, got {at!r}")
    return int(at.timestamp())


def _series(symbol: str, timeframe: str, table: Floats) -> BarSeries:
    return BarSeries(
        symbol=symbol,
        timeframe=timeframe,
        timestamp=table[:, 0].astype(np.int64),
        known_at=table[:, 1].astype(np.int64),
        **{name: np.ascontiguousarray(table[:, 2 + i]) for i, name in enumerate(_NUMBERS[2:])},
    )


def _rows(series: Sequence[BarSeries]) -> Iterator[tuple[Any, ...]]:
    for bars in series:
        numbers = (getattr(bars, name).tolist() for name in _NUMBERS)
        yield from zip(repeat(bars.symbol), repeat(bars.timeframe), *numbers, strict=False)


def _save_sqlite(connection: Connection, series: Sequence[BarSeries], on_conflict: str) -> None:
    cursor = connection.connection.cursor()
    row = f"({', '.join('?' * len(_COLUMNS))})"
    rows = _rows(series)
    while chunk := list(islice(rows, _ROWS_PER_STATEMENT)):
        cursor.execute(f"{_INSERT} VALUES {', '.join([row] * len(chunk))}{on_conflict}", tuple(chain.from_iterable(chunk)))
    cursor.close()


def _save_postgresql(connection: Connection, series: Sequence[BarSeries], on_conflict: str) -> None:
    """Binary COPY into a temporary table, packed by numpy; symbols and timeframes go as an array, once each."""
    cursor: Any = connection.connection.cursor()
    numbers = ", ".join(_NUMBERS)
    cursor.execute(
        "CREATE TEMPORARY TABLE incoming (series int4, timestamp int8, known_at int8, open float8, high float8, low float8, "
        "close float8, volume float8) ON COMMIT DROP"
    )
    with cursor.copy(f"COPY incoming (series, {numbers}) FROM STDIN (FORMAT BINARY)") as copy:
        copy.write(b"PGCOPY\n\xff\r\n\0" + bytes(8))
        for index, bars in enumerate(series, start=1):
            copy.write(_packed(index, bars))
        copy.write(b"\xff\xff")
    symbols, timeframes = [bars.symbol for bars in series], [bars.timeframe for bars in series]
    cursor.execute(
        f"{_INSERT} SELECT (%s::text[])[series], (%s::text[])[series], {numbers} FROM incoming{on_conflict}",  # noqa: S608
        (symbols, timeframes),
    )
    cursor.execute("DROP TABLE incoming")
    cursor.close()


_FIELDS = (("series", ">i4"), *((name, ">i8" if name in ("timestamp", "known_at") else ">f8") for name in _NUMBERS))
_PACKED = np.dtype([("count", ">i2"), *chain.from_iterable(((f"{name}_size", ">i4"), (name, kind)) for name, kind in _FIELDS)])


def _packed(index: int, bars: BarSeries) -> bytes:
    """Rows in PostgreSQL's binary COPY format: number of fields, then each field's size in bytes and its value."""
    rows = np.empty(len(bars), dtype=_PACKED)
    rows["count"] = len(_FIELDS)
    rows["series"] = index
    for name, kind in _FIELDS:
        rows[f"{name}_size"] = np.dtype(kind).itemsize
    for name in _NUMBERS:
        rows[name] = getattr(bars, name)
    return rows.tobytes()
