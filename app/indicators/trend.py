"""Whether a price trends: directional movement, by TA-Lib."""

from __future__ import annotations

from app.domain.bar import Floats


def adx(high: Floats, low: Floats, close: Floats, period: int = 14) -> Floats:
    """Average directional index, 0..100 (Wilder 1978). First value after 2 * period bars; recursive."""
    import talib

    out: Floats = talib.ADX(high, low, close, timeperiod=period)
    return out
