"""The day figures of many symbols at once are those of each symbol alone, to the last bit."""

from __future__ import annotations

import math

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from app.domain.bar import BarSeries
from app.engine.view import daily_atrs, daily_volatilities, usual_daily_volatilities


def series(days: int, seed: int, hole: int | None) -> BarSeries:
    close = 50.0 * np.exp(np.cumsum(0.02 * np.random.default_rng(seed).standard_normal(days)))
    if hole is not None and days:
        close[hole % days] = (0.0, math.nan, -1.0)[hole % 3]
    at = 86_400 * np.arange(days, dtype=np.int64)
    return BarSeries(
        symbol="A", timeframe="1Day", timestamp=at, known_at=at + 60, open=close, high=close * 1.01, low=close * 0.98,
        close=close, volume=close,
    )  # fmt: skip


def deviation(close: np.ndarray, sessions: int) -> float:
    """As the definition says it."""
    if len(close) <= sessions or not (close > 0.0).all():
        return math.nan
    return float(np.std(np.log(close)[1:] - np.log(close)[:-1], ddof=1))


def atr(bars: BarSeries) -> float:
    """Mean of the last 14 true ranges."""
    if len(bars) < 15:
        return math.nan
    before, ranges = bars.close[-15:-1], []
    for high, low, last in zip(bars.high[-14:], bars.low[-14:], before, strict=True):
        ranges.append(np.maximum(high, last) - np.minimum(low, last))
    return float(np.mean(np.array(ranges)))


ONE = st.none() | st.builds(series, st.integers(0, 150), st.integers(0, 5), st.none() | st.integers(0, 200))


@given(st.lists(ONE, max_size=6))
def test_figures_of_many_symbols_are_those_of_each(bars: list[BarSeries | None]) -> None:
    alone = [
        (math.nan,) * 3 if one is None else (deviation(one.close[-21:], 20), deviation(one.close[-121:-20], 100), atr(one))
        for one in bars
    ]
    together = zip(daily_volatilities(bars), usual_daily_volatilities(bars), daily_atrs(bars), strict=True)
    assert np.array_equal(np.array(list(together)).reshape(-1, 3), np.array(alone).reshape(-1, 3), equal_nan=True)
