"""Packed copies of stored bars: long histories are read as a few arrays instead of rows, twenty times faster.

The rows of `bars` are the record. Blocks of a series are made from its oldest rows on, each of `BLOCK_ROWS` rows, when it is
read, and hold exactly the rows up to the end of the newest block: whoever writes a row of that span takes away the blocks from
there on in the same transaction.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from sqlalchemy import Connection, delete, func, insert, select

from app.domain.bar import BarSeries
from app.storage.tables import BAR_BLOCKS

BLOCK_ROWS = 8_192
NUMBERS = ("timestamp", "known_at", "open", "high", "low", "close", "volume")
_TYPES = ("<i8", "<i8", "<f8", "<f8", "<f8", "<f8", "<f8")


def of(symbol: str, timeframe: str) -> Any:
    """The blocks of one series."""
    return (BAR_BLOCKS.c.symbol == symbol) & (BAR_BLOCKS.c.timeframe == timeframe)


def packed_through(connection: Connection, symbol: str, timeframe: str) -> int | None:
    """The newest timestamp that the blocks hold; None without any."""
    newest: int | None = connection.execute(select(func.max(BAR_BLOCKS.c.last)).where(of(symbol, timeframe))).scalar()
    return newest


def add(connection: Connection, bars: BarSeries) -> None:
    """Keep `bars`, the oldest rows of their series that no block holds, as one block."""
    columns = (np.ascontiguousarray(getattr(bars, name), dtype=kind) for name, kind in zip(NUMBERS, _TYPES, strict=True))
    connection.execute(
        insert(BAR_BLOCKS).values(
            symbol=bars.symbol,
            timeframe=bars.timeframe,
            first=int(bars.timestamp[0]),
            last=int(bars.timestamp[-1]),
            data=b"".join(column.tobytes() for column in columns),
        )
    )


def forget(connection: Connection, series: Sequence[BarSeries]) -> None:
    """Take away what the rows of `series` are about to change. One question tells which have blocks that reach so far."""
    columns = (BAR_BLOCKS.c.symbol, BAR_BLOCKS.c.timeframe)
    reaching = BAR_BLOCKS.c.last >= min(int(bars.timestamp[0]) for bars in series)
    wanted = BAR_BLOCKS.c.timeframe.in_({bars.timeframe for bars in series}) & reaching
    packed = select(*columns, func.max(BAR_BLOCKS.c.last)).where(wanted).group_by(*columns)
    newest = {(symbol, timeframe): last for symbol, timeframe, last in connection.execute(packed)}
    for bars in series:
        first, last = int(bars.timestamp[0]), newest.get((bars.symbol, bars.timeframe))
        if last is not None and last >= first:
            connection.execute(delete(BAR_BLOCKS).where(of(bars.symbol, bars.timeframe) & (BAR_BLOCKS.c.last >= first)))


def load(connection: Connection, symbol: str, timeframe: str, *, start: int | None, end: int | None) -> list[BarSeries]:
    """The packed bars with start <= timestamp <= end, oldest first."""
    query = select(BAR_BLOCKS.c.data).where(of(symbol, timeframe)).order_by(BAR_BLOCKS.c.first)
    if start is not None:
        query = query.where(BAR_BLOCKS.c.last >= start)
    if end is not None:
        query = query.where(BAR_BLOCKS.c.first <= end)
    parts = [_unpacked(symbol, timeframe, data) for data in connection.execute(query).scalars()]
    return [part for part in (_cut(part, start, end) for part in parts) if len(part)]


def _cut(bars: BarSeries, start: int | None, end: int | None) -> BarSeries:
    begin = 0 if start is None else int(np.searchsorted(bars.timestamp, start, side="left"))
    stop = len(bars) if end is None else int(np.searchsorted(bars.timestamp, end, side="right"))
    return bars.slice(begin, stop)


def _unpacked(symbol: str, timeframe: str, data: bytes) -> BarSeries:
    size = len(data) // len(NUMBERS)
    columns = {
        name: np.frombuffer(data, dtype=kind, count=size // 8, offset=i * size)
        for i, (name, kind) in enumerate(zip(NUMBERS, _TYPES, strict=True))
    }
    return BarSeries(symbol=symbol, timeframe=timeframe, **columns)
