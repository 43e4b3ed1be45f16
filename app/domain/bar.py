"""Bars: what the market did in an interval, and when that became known."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Seconds = npt.NDArray[np.int64]

DAILY = "1Day"
MINUTE = "1Min"


@dataclass(frozen=True, slots=True, kw_only=True)
class BarSeries:
    """Bars of one symbol in time order; every array has shape (n_bars,).

    timestamp: the bar's label, seconds since 1970 UTC (its start; for daily bars midnight New York, as Alpaca labels them).
    known_at: when the bar was complete, seconds since 1970 UTC (its end; for daily bars the session's close).
    open, high, low, close: price in the instrument's currency. volume: units traded.
    """

    symbol: str
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

    def known_by(self, at: datetime) -> BarSeries:
        """The bars that were complete at `at`."""
        return self.slice(0, int(np.searchsorted(self.known_at, int(at.timestamp()), side="right")))

    def last(self, count: int) -> BarSeries:
        """The newest `count` bars."""
        return self.slice(max(0, len(self) - count), len(self))

    def slice(self, start: int, stop: int) -> BarSeries:
        """Bars with index start <= i < stop; views, not copies."""
        if start == 0 and stop == len(self.timestamp):
            return self
        part = slice(start, stop)
        return BarSeries(
            symbol=self.symbol,
            timeframe=self.timeframe,
            timestamp=self.timestamp[part],
            known_at=self.known_at[part],
            open=self.open[part],
            high=self.high[part],
            low=self.low[part],
            close=self.close[part],
            volume=self.volume[part],
        )


def no_bars(symbol: str, timeframe: str = DAILY) -> BarSeries:
    """The series of a symbol nobody has bars of."""
    seconds, numbers = np.empty(0, dtype=np.int64), np.empty(0, dtype=np.float64)
    return BarSeries(
        symbol=symbol,
        timeframe=timeframe,
        timestamp=seconds,
        known_at=seconds,
        open=numbers,
        high=numbers,
        low=numbers,
        close=numbers,
        volume=numbers,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """The newest trade of a symbol as the venue reports it. price: NaN when the venue had none."""

    symbol: str
    price: float
    priced_at: datetime | None
