"""How much a price moves: true range, bands, realised volatility."""

from __future__ import annotations

from app.domain.bar import Floats
from app.indicators.window import change, deviation, mean


def atr(high: Floats, low: Floats, close: Floats, period: int = 14) -> Floats:
    """Average true range in price units (Wilder 1978), by TA-Lib. First value after period + 1 bars; recursive."""
    import talib

    out: Floats = talib.ATR(high, low, close, timeperiod=period)
    return out


def realised_volatility(close: Floats, length: int = 20) -> Floats:
    """Population standard deviation of the last `length` one-bar returns, a fraction per bar. Memory: length + 1 bars."""
    return deviation(change(close, 1), length)


def bollinger(close: Floats, length: int = 20, width: float = 2.0) -> tuple[Floats, Floats, Floats]:
    """Lower band, middle and upper band in price units: mean -/+ width population deviations. Memory: length bars."""
    middle = mean(close, length)
    half = width * deviation(close, length)
    return middle - half, middle, middle + half
