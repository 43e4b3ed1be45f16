"""The market of a backtest, one session at a time: what was known before it, and its bars."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta
from functools import cached_property
from typing import Protocol

import numpy as np

from app.domain.bar import BarSeries, Floats, Snapshot
from app.domain.errors import InvalidInput
from app.domain.forecast import Answer
from app.engine.decision import MarketView
from app.engine.path import MinutePath, bar_paths, on_tick, path_key
from app.engine.view import daily_atr, daily_volatility, market_view, usual_daily_volatility

MINUTE = timedelta(minutes=1)


class Hours(Protocol):
    """A trading day of the venue; instants aware UTC."""

    @property
    def day(self) -> date: ...  # noqa: D102
    @property
    def opens_at(self) -> datetime: ...  # noqa: D102
    @property
    def closes_at(self) -> datetime: ...  # noqa: D102


class MarketSession(Protocol):
    """One session of a tape: what a decision may see of it, and its bars for matching."""

    @property
    def hours(self) -> Hours:
        """When it opened and closed."""
        ...

    @property
    def steps(self) -> int:
        """Number of bars."""
        ...

    def steps_by(self, at: datetime) -> int:
        """How many bars were complete at `at`."""
        ...

    def ended_at(self, step: int) -> datetime:
        """When bar `step` was complete."""
        ...

    def decisions(self, cycle_seconds: int, *, once: bool) -> list[datetime]:
        """When is decided: every `cycle_seconds`, or at the first of those instants alone."""
        ...

    def path(self, symbol: str) -> MinutePath | None:
        """All bars of a symbol, for matching; None where it has none."""
        ...

    def snapshot(self, symbol: str, at: datetime) -> Snapshot:
        """The newest price known at `at`; NaN before the first."""
        ...

    def history(self, symbols: Sequence[str], at: datetime) -> dict[str, BarSeries]:
        """The bars that a forecast is made from."""
        ...

    def view(self, symbols: Sequence[str], at: datetime, forecasts: Mapping[str, Answer]) -> MarketView:
        """The market as known at `at`."""
        ...


class Tape(Protocol):
    """A market, session after session."""

    @property
    def sessions(self) -> Sequence[Hours]:
        """Those that are traded, in time order."""
        ...

    def session(self, number: int) -> MarketSession:
        """Session `number` of `sessions`."""
        ...


def cycle_slots(hours: Hours, cycle_seconds: int, *, once: bool) -> Iterator[datetime]:
    """The decision instants of a session: one cycle after the open, then every cycle, before the close."""
    step = timedelta(seconds=cycle_seconds)
    at = hours.opens_at + step
    while at < hours.closes_at:
        yield at
        if once:
            return
        at += step


@dataclass(frozen=True, kw_only=True)
class SessionTape:
    """One session. known: daily bars complete before it opened. paths: all of its minutes, for matching; a decision sees
    only snapshots."""

    hours: Hours
    known: Mapping[str, BarSeries]
    paths: Mapping[str, MinutePath]

    @property
    def steps(self) -> int:
        """Length of the session in minutes."""
        return int((self.hours.closes_at - self.hours.opens_at) / MINUTE)

    def steps_by(self, at: datetime) -> int:
        """How many minutes were complete at `at`, 0 to `steps`."""
        return max(0, min(self.steps, (at - self.hours.opens_at) // MINUTE))

    def ended_at(self, step: int) -> datetime:
        """The end of minute `step`."""
        return self.hours.opens_at + (step + 1) * MINUTE

    def decisions(self, cycle_seconds: int, *, once: bool) -> list[datetime]:
        """The slots of the session, as live."""
        return list(cycle_slots(self.hours, cycle_seconds, once=once))

    def path(self, symbol: str) -> MinutePath | None:
        """The minutes of a symbol, None on a day without a bar."""
        return self.paths.get(symbol)

    def history(self, symbols: Sequence[str], at: datetime) -> dict[str, BarSeries]:  # noqa: ARG002
        """The completed daily bars, the same for the whole session."""
        return {symbol: self.known[symbol] for symbol in symbols if symbol in self.known}

    def view(self, symbols: Sequence[str], at: datetime, forecasts: Mapping[str, Answer]) -> MarketView:
        """The market as known at `at`."""
        bars = self.history(symbols, at)
        return market_view(
            decided_at=at,
            symbols=symbols,
            snapshots={symbol: self.snapshot(symbol, at) for symbol in bars},
            bars=bars,
            forecasts=forecasts,
            is_open=True,
            **self._figures,
        )

    @cached_property
    def _figures(self) -> dict[str, dict[str, float]]:
        made = {"volatility": daily_volatility, "usual_volatility": usual_daily_volatility, "atr": daily_atr}
        return {name: {symbol: figure(bars) for symbol, bars in self.known.items()} for name, figure in made.items()}

    def snapshot(self, symbol: str, at: datetime) -> Snapshot:
        """The newest trade known at `at`: the close of the last complete minute, else of the last completed session; NaN before
        the first price."""
        done = self.steps_by(at)
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
