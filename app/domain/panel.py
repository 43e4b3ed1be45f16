"""A panel: bars of several symbols on one time axis, what strategies, sweeps and portfolio backtests compute on."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from app.domain.bar import BarSeries, Floats, Seconds
from app.domain.errors import InvalidInput

PRICES = ("open", "high", "low", "close", "volume")


@dataclass(frozen=True, slots=True, kw_only=True)
class Panel:
    """Bars of one timeframe, aligned.

    timestamp, known_at: shape (n_bars,), seconds since 1970 UTC, as in `BarSeries`, ascending. open, high, low, close,
    volume: shape (n_symbols, n_bars); NaN throughout where a symbol has no bar.
    """

    symbols: tuple[str, ...]
    timeframe: str
    timestamp: Seconds
    known_at: Seconds
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats

    def __len__(self) -> int:
        return len(self.timestamp)

    def known_by(self, at: datetime) -> Panel:
        """The bars that were complete at `at`."""
        return self.slice(0, int(np.searchsorted(self.known_at, int(at.timestamp()), side="right")))

    def last(self, count: int) -> Panel:
        """The newest `count` bars."""
        return self.slice(max(0, len(self) - count), len(self))

    def slice(self, start: int, stop: int) -> Panel:
        """Bars with index start <= i < stop; views, not copies."""
        part = slice(start, stop)
        return Panel(
            symbols=self.symbols,
            timeframe=self.timeframe,
            timestamp=self.timestamp[part],
            known_at=self.known_at[part],
            **{name: getattr(self, name)[:, part] for name in PRICES},
        )

    def digest(self) -> str:
        """Hexadecimal SHA-256 of everything in it: the same data set, the same digest, wherever it came from."""
        hashed = hashlib.sha256(repr((self.symbols, self.timeframe, self.close.shape)).encode())
        for name in ("timestamp", "known_at"):
            hashed.update(np.ascontiguousarray(getattr(self, name), dtype="<i8").tobytes())
        for name in PRICES:
            # One NaN and one zero, whatever bits they were made of.
            clean = np.where(np.isnan(getattr(self, name)), np.nan, getattr(self, name)) + 0.0
            hashed.update(np.ascontiguousarray(clean, dtype="<f8").tobytes())
        return hashed.hexdigest()


def align(bars: Mapping[str, BarSeries]) -> Panel:
    """The bars of every symbol on the union of their times, symbols in the order of `bars`.

    Raises InvalidInput without symbols, for timeframes that differ, and where symbols disagree on when a bar was complete.
    """
    if not bars:
        raise InvalidInput("no symbols to align")
    timeframes = {series.timeframe for series in bars.values()}
    if len(timeframes) > 1:
        raise InvalidInput(f"bars of one timeframe are needed, not of {', '.join(sorted(timeframes))}")
    abreast = _abreast(bars)
    if abreast is not None:
        return abreast
    timestamp = np.unique(np.concatenate([series.timestamp for series in bars.values()]))
    known_at = np.zeros(len(timestamp), dtype=np.int64)
    prices = {name: np.full((len(bars), len(timestamp)), np.nan) for name in PRICES}
    for row, series in enumerate(bars.values()):
        at = np.searchsorted(timestamp, series.timestamp)
        if np.any((known_at[at] != 0) & (known_at[at] != series.known_at)):
            raise InvalidInput(f"{series.symbol}: its bars were complete at other times than those of the symbols before it")
        known_at[at] = series.known_at
        for name in PRICES:
            prices[name][row, at] = getattr(series, name)
    return Panel(symbols=tuple(bars), timeframe=timeframes.pop(), timestamp=timestamp, known_at=known_at, **prices)


def _abreast(bars: Mapping[str, BarSeries]) -> Panel | None:
    """The panel of symbols that all have bars at the same times; None where they have not."""
    series = list(bars.values())
    first = series[0]
    if any(len(one) != len(first) for one in series) or not np.all(np.diff(first.timestamp) > 0):
        return None
    for name in ("timestamp", "known_at"):
        if not all(np.array_equal(getattr(one, name), getattr(first, name)) for one in series):
            return None
    return Panel(
        symbols=tuple(bars),
        timeframe=first.timeframe,
        timestamp=first.timestamp,
        known_at=first.known_at,
        **{name: np.array([getattr(one, name) for one in series], dtype=np.float64) for name in PRICES},
    )
