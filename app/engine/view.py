"""From prices, bars and forecasts to the view a decision takes; live trading and backtest build it here."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np

from app.domain.bar import BarSeries, Floats, Snapshot
from app.domain.forecast import Answer
from app.engine.decision import MarketView

VOLATILITY_SESSIONS = 20
ATR_SESSIONS = 14
USUAL_SESSIONS = 100  # before those 20: together what a forecast is made from


def market_view(
    *,
    decided_at: datetime,
    symbols: Sequence[str],
    snapshots: Mapping[str, Snapshot],
    bars: Mapping[str, BarSeries],
    forecasts: Mapping[str, Answer],
    is_open: bool,
    volatility: Mapping[str, float] | None = None,
    usual_volatility: Mapping[str, float] | None = None,
    atr: Mapping[str, float] | None = None,
) -> MarketView:
    """Align everything on `symbols`; what is missing becomes NaN. bars: completed daily bars.

    volatility, usual_volatility, atr: of those bars where the caller has them already, by symbol.
    """
    if volatility is None:
        volatility = {symbol: daily_volatility(bars[symbol]) for symbol in symbols if symbol in bars}
    if usual_volatility is None:
        usual_volatility = {symbol: usual_daily_volatility(bars[symbol]) for symbol in symbols if symbol in bars}
    if atr is None:
        atr = {symbol: daily_atr(bars[symbol]) for symbol in symbols if symbol in bars}
    priced = [snapshots.get(symbol) for symbol in symbols]
    return MarketView(
        decided_at=decided_at,
        symbols=tuple(symbols),
        price=np.array([s.price if s else np.nan for s in priced], dtype=np.float64),
        age_seconds=np.array(
            [(decided_at - s.priced_at).total_seconds() if s and s.priced_at else np.nan for s in priced], dtype=np.float64
        ),
        volatility=np.array([volatility.get(symbol, np.nan) for symbol in symbols], dtype=np.float64),
        tradable=np.full(len(symbols), 1.0 if is_open else 0.0),
        forecasts=dict(forecasts),
        last_close=np.array([bars[s].close[-1] if s in bars and len(bars[s]) else np.nan for s in symbols], dtype=np.float64),
        usual_volatility=np.array([usual_volatility.get(symbol, np.nan) for symbol in symbols], dtype=np.float64),
        atr=np.array([atr.get(symbol, np.nan) for symbol in symbols], dtype=np.float64),
    )


def daily_volatility(bars: BarSeries) -> float:
    """Sample standard deviation of the last 20 daily log returns; NaN with fewer bars or unusable closes."""
    return _deviation(bars.close[-VOLATILITY_SESSIONS - 1 :], VOLATILITY_SESSIONS)


def usual_daily_volatility(bars: BarSeries) -> float:
    """The same of the 100 sessions before those; NaN with fewer bars or unusable closes."""
    return _deviation(bars.close[-VOLATILITY_SESSIONS - USUAL_SESSIONS - 1 : -VOLATILITY_SESSIONS], USUAL_SESSIONS)


def daily_atr(bars: BarSeries) -> float:
    """Mean of the last 14 daily true ranges, in currency; NaN with fewer bars or unusable prices. A plain mean, because a
    recursive one depends on where the history begins."""
    if len(bars) <= ATR_SESSIONS:
        return float("nan")
    high, low, before = bars.high[-ATR_SESSIONS:], bars.low[-ATR_SESSIONS:], bars.close[-ATR_SESSIONS - 1 : -1]
    return float(np.mean(np.maximum(high, before) - np.minimum(low, before)))


def _deviation(close: Floats, sessions: int) -> float:
    if len(close) <= sessions or not np.all(close > 0.0):
        return float("nan")
    return float(np.std(np.diff(np.log(close)), ddof=1))
