"""Momentum: relative strength and moving-average convergence, by TA-Lib."""

from __future__ import annotations

from app.domain.bar import Floats


def rsi(close: Floats, period: int = 14) -> Floats:
    """Relative strength index, 0..100 (Wilder 1978). First value after period + 1 bars; recursive."""
    import talib  # it looks for pandas when imported: kept out of light processes

    out: Floats = talib.RSI(close, timeperiod=period)
    return out


def macd(close: Floats, fast: int = 12, slow: int = 26, signal: int = 9) -> tuple[Floats, Floats, Floats]:
    """MACD line, its signal line and their difference, in price units (Appel). First value after slow + signal - 1
    bars; recursive."""
    import talib

    line, smoothed, difference = talib.MACD(close, fastperiod=fast, slowperiod=slow, signalperiod=signal)
    return line, smoothed, difference
