"""The bars a strategy sees live: those of its timeframe, of all symbols, in one listing a cycle."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from app.domain.bar import BarSeries
from app.runtime.calendar import session_day
from app.services.alpaca_service import AlpacaService

_SECONDS = {"1Min": 60, "5Min": 300, "15Min": 900, "1Hour": 3_600}
_SESSION_SECONDS = 23_400  # of a full day
_ARRAYS = ("timestamp", "known_at", "open", "high", "low", "close", "volume")


class MarketCollector:
    """Keeps the newest intraday bars of each symbol and asks the venue for those that follow; at the first cycle of a day for
    all anew, because a split rewrites the past. Only bars of regular sessions are kept."""

    def __init__(self, venue: AlpacaService, *, timeframe: str, count: int) -> None:
        """count: bars of each symbol that are wanted, as far as there are so many."""
        self._venue = venue
        self._timeframe = timeframe
        self._count = count
        self._day: date | None = None
        self._held: dict[str, BarSeries] = {}

    def bars(self, now: datetime) -> dict[str, BarSeries]:
        """The newest bars complete by `now`. Raises VenueError."""
        day = session_day(now)
        if self._day != day or not self._held:
            self._held = self._regular(self._venue.bars(timeframe=self._timeframe, start=self._start(now), end=now))
            self._day = day
        else:
            # From the newest bar that any symbol has, once more: a venue may correct it, or tell a late one beside it.
            newest = max(int(series.timestamp[-1]) for series in self._held.values())
            start = now - timedelta(seconds=now.timestamp() - newest)
            new = self._regular(self._venue.bars(timeframe=self._timeframe, start=start, end=now))
            self._held = {**self._held, **{symbol: _joined(self._held.get(symbol), series) for symbol, series in new.items()}}
        # Twice as many: who reads may have to pass over bars that are not sound.
        self._held = {symbol: series.last(2 * self._count) for symbol, series in self._held.items() if len(series)}
        return self._held

    def _start(self, now: datetime) -> datetime:
        """The opening of a session early enough for the bars that are wanted, and for as many that were not told."""
        step = _SECONDS[self._timeframe]
        sessions = 2 + -(-self._count * step // _SESSION_SECONDS) * 5 // 4
        days = timedelta(days=sessions * 7 / 5 + 7)
        opens_at: datetime = self._venue.calendar().between((now - days).date(), session_day(now))[-sessions:][0].opens_at
        return opens_at - timedelta(seconds=step)

    def _regular(self, bars: dict[str, BarSeries]) -> dict[str, BarSeries]:
        if not bars:
            return {}
        edges = np.cumsum([len(series) for series in bars.values()])
        starts, ends = (np.concatenate([getattr(one, name) for one in bars.values()]) for name in ("timestamp", "known_at"))
        inside = np.split(self._venue.calendar().in_session(starts, ends), edges[:-1])
        return {symbol: _taken(series, kept) for (symbol, series), kept in zip(bars.items(), inside, strict=True)}


def _joined(old: BarSeries | None, new: BarSeries) -> BarSeries:
    if old is None or not len(new):
        return new if old is None else old
    kept = int(np.searchsorted(old.timestamp, new.timestamp[0]))
    arrays: dict[str, Any] = {name: np.concatenate([getattr(old, name)[:kept], getattr(new, name)]) for name in _ARRAYS}
    return BarSeries(symbol=old.symbol, timeframe=old.timeframe, **arrays)


def _taken(series: BarSeries, kept: npt.NDArray[np.bool_]) -> BarSeries:
    if kept.all():
        return series
    arrays: dict[str, Any] = {name: getattr(series, name)[kept] for name in _ARRAYS}
    return replace(series, **arrays)
