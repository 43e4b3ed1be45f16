"""What the rules want to know of the completed days, for every session of a backtest at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from app.domain.bar import DAILY, BarSeries, Floats, Seconds
from app.domain.panel import Panel
from app.engine.view import ATR_SESSIONS, USUAL_SESSIONS, VOLATILITY_SESSIONS


class DayFigures(NamedTuple):
    """Of the days complete before each session opened, arrays of shape (n_sessions, n_symbols), NaN until known.

    last_close: currency. volatility, usual_volatility, atr: as `app.engine.view` computes them, to the last bit.
    """

    last_close: Floats
    volatility: Floats
    usual_volatility: Floats
    atr: Floats

    def row(self, number: int) -> DayFigures:
        """Those of one session, shape (n_symbols,)."""
        return DayFigures(*(array[number] for array in self))


def day_figures(symbols: Sequence[str], days: Mapping[str, BarSeries], opens_at: Seconds) -> DayFigures:
    """days: daily bars by symbol. opens_at: when each session opened, seconds since 1970 UTC."""
    made = [np.full((len(symbols), len(opens_at)), np.nan) for _ in DayFigures._fields]
    seen, known = None, np.zeros(len(opens_at), dtype=np.int64)
    for row, symbol in enumerate(symbols):
        bars = days.get(symbol)
        if bars is None or not len(bars):
            continue
        if bars.known_at is not seen:
            seen, known = bars.known_at, np.searchsorted(bars.known_at, opens_at, side="right")
        for array, figures in zip(made, _after_each_day(bars), strict=True):
            np.take(figures, known, out=array[row], mode="clip")
    return DayFigures(*(np.ascontiguousarray(array.T) for array in made))


def _after_each_day(bars: BarSeries) -> tuple[Floats, Floats, Floats, Floats]:
    """The four figures after 0, 1, 2, ... days, each of shape (n_days + 1,)."""
    from app.backtest.compiled.windows import window_means  # compiled: only who runs backtests loads it

    close = np.concatenate(([np.nan], bars.close))
    volatility, usual = _deviations(bars.close, VOLATILITY_SESSIONS), np.full(len(close), np.nan)
    usual[VOLATILITY_SESSIONS:] = _deviations(bars.close, USUAL_SESSIONS)[: max(0, len(close) - VOLATILITY_SESSIONS)]
    atr = np.full(len(close), np.nan)
    if len(bars) > ATR_SESSIONS:
        before = bars.close[:-1]
        ranges = np.maximum(bars.high[1:], before) - np.minimum(bars.low[1:], before)
        window_means(ranges, ATR_SESSIONS, atr[ATR_SESSIONS + 1 :])
    return close, volatility, usual, atr


def _deviations(close: Floats, sessions: int) -> Floats:
    """Sample standard deviation of the last `sessions` daily log returns after 0, 1, 2, ... days."""
    from app.backtest.compiled.windows import window_deviations

    found = np.full(len(close) + 1, np.nan)
    if len(close) > sessions:
        returns = np.diff(np.log(np.where(close > 0.0, close, np.nan)))
        window_deviations(returns, sessions, found[sessions + 1 :])
    return found


def daily_of(panel: Panel, edges: Seconds, closes_at: Seconds) -> dict[str, BarSeries]:
    """Daily bars by symbol out of bars of any timeframe. edges: the first bar of each session and the end of the last,
    ascending, shape (n_sessions + 1,). closes_at: of each session, seconds since 1970 UTC; without a bar it is absent."""
    full = np.flatnonzero(edges[1:] > edges[:-1])
    if not len(full):
        return {}
    at, end = edges[full], int(edges[-1])
    traded = np.isfinite(panel.close[:, :end])
    number = np.arange(end)
    first = np.minimum.reduceat(np.where(traded, number, end), at, axis=1)
    last = np.maximum.reduceat(np.where(traded, number, -1), at, axis=1)
    high = np.fmax.reduceat(panel.high[:, :end], at, axis=1)
    low = np.fmin.reduceat(panel.low[:, :end], at, axis=1)
    volume = np.add.reduceat(np.where(traded, panel.volume[:, :end], 0.0), at, axis=1)
    days = {}
    for row, symbol in enumerate(panel.symbols):
        seen = last[row] >= 0
        opened, closed = first[row, seen], last[row, seen]
        days[symbol] = BarSeries(
            symbol=symbol,
            timeframe=DAILY,
            timestamp=panel.timestamp[opened],
            known_at=closes_at[full[seen]],
            open=panel.open[row, opened],
            high=high[row, seen],
            low=low[row, seen],
            close=panel.close[row, closed],
            volume=volume[row, seen],
        )
    return days


def series_of(panel: Panel) -> dict[str, BarSeries]:
    """The bars of each symbol without its gaps."""
    found = {}
    for row, symbol in enumerate(panel.symbols):
        traded = np.isfinite(panel.close[row])
        whole = traded.all()
        part = slice(None) if whole else traded
        found[symbol] = BarSeries(
            symbol=symbol,
            timeframe=panel.timeframe,
            timestamp=panel.timestamp[part],
            known_at=panel.known_at if whole else panel.known_at[part],  # one array: what follows from it does so once
            open=panel.open[row, part],
            high=panel.high[row, part],
            low=panel.low[row, part],
            close=panel.close[row, part],
            volume=panel.volume[row, part],
        )
    return found
