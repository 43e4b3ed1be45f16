"""Random panels of bars and scores over them, for the laws of tapes that take bars as they are."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime

import numpy as np

from app.backtest.bar_tape import BarTape, ContinuousDay, continuous_days
from app.domain.bar import DAILY, BarSeries, Floats
from app.domain.forecast import Forecast, NoForecast
from app.domain.panel import Panel, align
from app.engine.path import on_tick
from app.runtime.calendar import Session, new_york_calendar


def random_panel(
    seed: int,
    symbols: int,
    bars: int,
    *,
    sigma: float = 0.02,
    gaps: float = 0.0,
    holes: float = 0.0,
    first: date = date(2019, 1, 2),
) -> tuple[Panel, list[Session]]:
    """Daily bars on the tick, on the sessions of New York. gaps: size of the overnight jumps. holes: share of missing bars."""
    draw = np.random.default_rng(seed)
    sessions = new_york_calendar().between(first, date(2035, 1, 1))[:bars]
    series = {}
    for number in range(symbols):
        step = sigma * draw.standard_t(4, bars) / 1.4
        jump = gaps * draw.standard_normal(bars)
        close = draw.uniform(3.0, 300.0) * np.exp(np.cumsum(step + jump))
        before = np.concatenate(([close[0]], close[:-1]))
        opened = before * np.exp(jump)
        high = np.maximum(opened, close) * np.exp(np.abs(draw.standard_normal(bars)) * sigma / 2)
        low = np.minimum(opened, close) * np.exp(-np.abs(draw.standard_normal(bars)) * sigma / 2)
        keep = draw.random(bars) >= holes
        keep[0] = keep[-1] = True
        stamp = np.array([int(s.opens_at.timestamp()) for s in sessions], dtype=np.int64)
        known = np.array([int(s.closes_at.timestamp()) for s in sessions], dtype=np.int64)
        o, h, lo, c = (on_tick(prices)[keep] for prices in (opened, high, low, close))
        volume = np.floor(draw.uniform(1e4, 1e6, bars))[keep]
        series[f"S{number:03d}"] = BarSeries(
            symbol=f"S{number:03d}", timeframe=DAILY, timestamp=stamp[keep], known_at=known[keep],
            open=o, high=h, low=lo, close=c, volume=volume,
        )  # fmt: skip
    return align(series), sessions


def minute_panel(seed: int, symbols: int, days: int, *, step: int = 3600) -> tuple[Panel, list[ContinuousDay]]:
    """Bars of `step` seconds of a market that never closes."""
    draw = np.random.default_rng(seed)
    count = days * 86_400 // step
    start = int(datetime(2024, 3, 1, tzinfo=UTC).timestamp())
    stamp = start + step * np.arange(count, dtype=np.int64)
    close = 100.0 * np.exp(np.cumsum(0.004 * draw.standard_normal((symbols, count)), axis=1))
    opened = np.concatenate([close[:, :1], close[:, :-1]], axis=1)
    high = np.maximum(opened, close) * np.exp(np.abs(0.002 * draw.standard_normal((symbols, count))))
    low = np.minimum(opened, close) * np.exp(-np.abs(0.002 * draw.standard_normal((symbols, count))))
    panel = Panel(
        symbols=tuple(f"C{i}" for i in range(symbols)),
        timeframe="1Hour",
        timestamp=stamp,
        known_at=stamp + step,
        open=on_tick(opened),
        high=on_tick(high),
        low=on_tick(low),
        close=on_tick(close),
        volume=np.floor(draw.uniform(1e3, 1e5, (symbols, count))),
    )
    return panel, continuous_days(panel.known_at)


class PanelForecasts:
    """What a matrix of expected returns of shape (n_symbols, n_bars) says at each bar; NaN says nothing."""

    def __init__(self, tape: BarTape, expected: Floats, confidence: float = 1.0) -> None:
        self._tape, self._expected, self._confidence = tape, expected, confidence

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Forecast | NoForecast]:
        column = int(np.searchsorted(self._tape.panel.known_at, int(at.timestamp()), side="right")) - 1
        said: dict[str, Forecast | NoForecast] = {}
        for symbol in bars:
            row = self._tape.row_of[symbol]
            value, close = float(self._expected[row, column]), float(self._tape.panel.close[row, column])
            if not np.isfinite(value) or not np.isfinite(close):
                said[symbol] = NoForecast(symbol=symbol, code="not_finite", detail="nothing is known")
                continue
            said[symbol] = Forecast(
                symbol=symbol, daily_return=value, confidence=self._confidence, members=(), last_close=close,
                last_close_at=at, model="panel",
            )  # fmt: skip
        return said
