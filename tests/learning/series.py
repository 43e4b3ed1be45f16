"""Daily bars made for the tests of learning: a price that walks, or one whose returns follow the last one."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from app.domain.bar import BarSeries

FIRST_DAY = int(datetime(2012, 1, 2, 5, tzinfo=UTC).timestamp())
DAY = 86_400


def bars_from_returns(returns: np.ndarray, *, symbol: str = "AAPL", seed: int = 1) -> BarSeries:
    """Weekday bars whose closes follow `returns`; open, high, low and volume are drawn around them."""
    draw = np.random.default_rng(seed)
    count = len(returns)
    close = 100.0 * np.cumprod(1.0 + returns)
    opened = close * (1.0 + draw.normal(0, 0.003, count))
    spread = 1.0 + np.abs(draw.normal(0, 0.005, (2, count)))
    days = np.arange(count) // 5 * 7 + np.arange(count) % 5
    timestamp = (FIRST_DAY + days * DAY).astype(np.int64)
    return BarSeries(
        symbol=symbol,
        timeframe="1Day",
        timestamp=timestamp,
        known_at=timestamp + 16 * 3600,
        open=opened,
        high=np.maximum(opened, close) * spread[0],
        low=np.minimum(opened, close) / spread[1],
        close=close,
        volume=np.round(1e6 * np.exp(draw.normal(0, 0.3, count))),
    )


def random_walk(count: int, *, symbol: str = "AAPL", seed: int = 1) -> BarSeries:
    """Returns that nothing can forecast."""
    return bars_from_returns(np.random.default_rng(seed).normal(0.0003, 0.015, count), symbol=symbol, seed=seed)


def following_walk(count: int, *, symbol: str = "AAPL", seed: int = 1, memory: float = 0.6) -> BarSeries:
    """Returns of which `memory` carries over to the next day: a first-order autoregression."""
    noise = np.random.default_rng(seed).normal(0, 0.012, count)
    returns = np.zeros(count)
    for day in range(1, count):
        returns[day] = memory * returns[day - 1] + noise[day]
    return bars_from_returns(returns, symbol=symbol, seed=seed)


def when_known(bars: BarSeries, index: int) -> datetime:
    """The instant at which bar `index` was complete."""
    return datetime.fromtimestamp(int(bars.known_at[index]), UTC)
