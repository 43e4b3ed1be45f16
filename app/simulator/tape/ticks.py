"""Single trades of the tape, read out of its minutes: the open, the two extremes and the close of each, with equal shares of
its volume; minutes that moved less have fewer. A minute's trades are known when it is complete.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from app.simulator.tape.columns import Columns, Price
from app.simulator.tape.market import Market

_AT = np.array([0, 20, 40, 59])  # seconds into the minute; the close comes last


class Ticks(NamedTuple):
    """Trades as arrays of shape (n_trades,) in time order. at: seconds since 1970 UTC, no two alike."""

    at: np.ndarray
    price: np.ndarray
    size: np.ndarray


def trades_between(market: Market, symbol: str, after: int, until: int) -> list[Price]:
    """Trades with after < at <= until of minutes that are complete at `until`, oldest first.

    A caller that goes on from its last `until` misses none when both are whole minutes.
    """
    pieces = ticks_of(market, symbol, after + 1, until, until)
    rows = (zip(p.price.tolist(), p.size.tolist(), p.at.tolist(), strict=True) for p in pieces)
    return [Price(*row) for piece in rows for row in piece]


def newest(market: Market, symbol: str, now: int) -> Price | None:
    """The newest trade known at `now`, the same as the last one of a list."""
    price, bar = market.last_trade(symbol, now), market.minute_bar(symbol, now)
    if price is None or bar is None or bar.label != price.at - _AT[-1]:
        return price
    return price._replace(size=float(_ticks(Columns(*(np.array([value]) for value in bar))).size[-1]))


def ticks_of(market: Market, symbol: str, start: int, end: int, now: int, *, descending: bool = False) -> Iterator[Ticks]:
    """Trades with start <= at <= end known at `now`, a session a piece; never an empty piece."""
    first, last = max(0, market.started(start)), market.begun(min(now, end))
    for number in range(last, first - 1, -1) if descending else range(first, last + 1):
        minutes = market.minute_columns(symbol, number, now)
        if minutes is None:
            continue
        ticks = _ticks(minutes)
        part = slice(*np.searchsorted(ticks.at, (start, end + 1)).tolist())
        if part.start < part.stop:
            piece = Ticks(*(column[part] for column in ticks))
            yield Ticks(*(column[::-1] for column in piece)) if descending else piece


def _ticks(minutes: Columns) -> Ticks:
    rising = (minutes.close >= minutes.open)[:, None]
    extremes = np.stack([minutes.low, minutes.high], axis=1)
    price = np.column_stack([minutes.open, np.where(rising, extremes, extremes[:, ::-1]), minutes.close])
    printed = np.ones(price.shape, dtype=bool)
    printed[:, :3] = price[:, :3] != price[:, 1:]  # of equal neighbours only the last
    printed &= (minutes.volume[:, None] >= printed.sum(axis=1)[:, None]) | (np.arange(4) == 3)
    count = printed.sum(axis=1)
    share = np.floor(minutes.volume / count)
    size = np.repeat(share[:, None], 4, axis=1)
    size[:, 3] = minutes.volume - share * (count - 1)
    at = minutes.label[:, None] + _AT
    return Ticks(at[printed], price[printed], np.maximum(size[printed], 1.0))
