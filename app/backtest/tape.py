"""The market of a backtest, one session at a time: what was known before it, and its minutes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from typing import Protocol

import numpy as np

from app.domain.bar import BarSeries, Floats, Snapshot
from app.domain.errors import InvalidInput
from app.engine.path import MinutePath, bar_paths, on_tick, path_key

MINUTE = timedelta(minutes=1)


class Hours(Protocol):
    """A trading day of the venue; instants aware UTC."""

    @property
    def day(self) -> date: ...  # noqa: D102
    @property
    def opens_at(self) -> datetime: ...  # noqa: D102
    @property
    def closes_at(self) -> datetime: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class SessionTape:
    """One session. known: daily bars complete before it opened. paths: all of its minutes, for matching; a decision sees
    only `snapshots`."""

    hours: Hours
    known: Mapping[str, BarSeries]
    paths: Mapping[str, MinutePath]

    @property
    def minutes(self) -> int:
        """Length of the session."""
        return int((self.hours.closes_at - self.hours.opens_at) / MINUTE)

    def minute_of(self, at: datetime) -> int:
        """How many minutes were complete at `at`, 0 to `minutes`."""
        return max(0, min(self.minutes, (at - self.hours.opens_at) // MINUTE))

    def snapshots(self, at: datetime) -> dict[str, Snapshot]:
        """The newest trade known at `at`: the close of the last complete minute, else of the last completed session."""
        return {symbol: self.snapshot(symbol, at) for symbol in self.known}

    def snapshot(self, symbol: str, at: datetime) -> Snapshot:
        """As `snapshots`, of one symbol; NaN before its first price."""
        done = self.minute_of(at)
        path = self.paths.get(symbol)
        last = _last_finite(path.close[:done]) if path is not None else None
        if path is not None and last is not None:
            traded_at = self.hours.opens_at + (last + 1) * MINUTE - timedelta(seconds=1)
            return Snapshot(symbol=symbol, price=float(path.close[last]), priced_at=traded_at)
        bars = self.known[symbol]
        if not len(bars):
            return Snapshot(symbol=symbol, price=float("nan"), priced_at=None)
        closed_at = datetime.fromtimestamp(int(bars.known_at[-1]) - 1, UTC)
        return Snapshot(symbol=symbol, price=float(bars.close[-1]), priced_at=closed_at)


class DailyTape:
    """Sessions out of completed daily bars; the path inside a day is derived (see `app.engine.path`), exactly as the
    simulated exchange derives it from the same bars and seed."""

    def __init__(self, bars: Mapping[str, BarSeries], sessions: Sequence[Hours], *, seed: int) -> None:
        if not sessions:
            raise InvalidInput("the backtest spans no session", code="too_few_bars")
        self._bars = {symbol: _ticked(series) for symbol, series in bars.items()}
        self.sessions = tuple(sessions)
        self._seed = seed

    @property
    def symbols(self) -> tuple[str, ...]:
        """All symbols with bars."""
        return tuple(self._bars)

    def session(self, number: int) -> SessionTape:
        """Session `number` of `sessions`; made anew on each call, so nothing piles up."""
        hours = self.sessions[number]
        known = {symbol: series.known_by(hours.opens_at) for symbol, series in self._bars.items()}
        return SessionTape(hours=hours, known=known, paths=self._paths(hours))

    def _paths(self, hours: Hours) -> dict[str, MinutePath]:
        closes = int(hours.closes_at.timestamp())
        rows = []
        for symbol, bars in self._bars.items():
            i = int(np.searchsorted(bars.known_at, closes))
            if i < len(bars) and bars.known_at[i] == closes:
                rows.append((symbol, bars.open[i], bars.high[i], bars.low[i], bars.close[i], bars.volume[i]))
        if not rows:
            return {}
        names, *prices = zip(*rows, strict=True)
        o, h, lo, c, v = (np.array(column, dtype=np.float64) for column in prices)
        keys = [path_key(self._seed, name, hours.day) for name in names]
        steps = int((hours.closes_at - hours.opens_at) / MINUTE)
        made = bar_paths(keys, steps, open=o, high=h, low=lo, close=c, volume=v, smile=True)
        return {name: MinutePath(*(array[row] for array in made)) for row, name in enumerate(names)}


def _last_finite(prices: Floats) -> int | None:
    if len(prices) and np.isfinite(prices[-1]):
        return len(prices) - 1
    traded = np.flatnonzero(np.isfinite(prices))
    return int(traded[-1]) if len(traded) else None


def _ticked(bars: BarSeries) -> BarSeries:
    return replace(bars, open=on_tick(bars.open), high=on_tick(bars.high), low=on_tick(bars.low), close=on_tick(bars.close))
