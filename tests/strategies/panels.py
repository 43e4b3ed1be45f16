"""Panels made for the tests of strategies."""

from __future__ import annotations

import numpy as np

from app.domain.panel import Panel

FIVE_MINUTES = 300
FIRST = 1_704_119_400  # 2024-01-01 14:30 UTC


def walk(symbols: int, bars: int, *, seed: int = 1, step: int = FIVE_MINUTES, deviation: float = 0.01) -> Panel:
    """Prices that walk at random, in cents, without gaps."""
    draw = np.random.default_rng(seed)
    close = 100.0 * np.cumprod(1.0 + draw.normal(0.0, deviation, (symbols, bars)), axis=1)
    opened = np.concatenate([np.full((symbols, 1), 100.0), close[:, :-1]], axis=1)
    spread = 1.0 + np.abs(draw.normal(0.0, deviation / 3, (2, symbols, bars)))
    timestamp = FIRST + np.arange(bars, dtype=np.int64) * step
    return Panel(
        symbols=tuple(f"S{number}" for number in range(symbols)),
        timeframe="5Min",
        timestamp=timestamp,
        known_at=timestamp + step,
        open=opened.round(2),
        high=(np.maximum(opened, close) * spread[0]).round(2),
        low=(np.minimum(opened, close) / spread[1]).round(2),
        close=close.round(2),
        volume=np.round(1e5 * np.exp(draw.normal(0.0, 0.5, (symbols, bars)))),
    )
