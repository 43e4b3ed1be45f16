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
    known = [bars.get(symbol) for symbol in symbols]
    figures = {
        "volatility": (volatility, daily_volatilities),
        "usual_volatility": (usual_volatility, usual_daily_volatilities),
        "atr": (atr, daily_atrs),
    }
    columns = {
        name: compute(known) if given is None else np.array([given.get(symbol, np.nan) for symbol in symbols], dtype=np.float64)
        for name, (given, compute) in figures.items()
    }
    priced = [snapshots.get(symbol) for symbol in symbols]
    return MarketView(
        decided_at=decided_at,
        symbols=tuple(symbols),
        price=np.array([s.price if s else np.nan for s in priced], dtype=np.float64),
        age_seconds=np.array(
            [(decided_at - s.priced_at).total_seconds() if s and s.priced_at else np.nan for s in priced], dtype=np.float64
        ),
        tradable=np.full(len(symbols), 1.0 if is_open else 0.0),
        forecasts=dict(forecasts),
        last_close=np.array([b.close[-1] if b is not None and len(b) else np.nan for b in known], dtype=np.float64),
        **columns,
    )


def daily_volatilities(bars: Sequence[BarSeries | None]) -> Floats:
    """Sample standard deviation of the last 20 daily log returns of each; NaN with fewer bars or unusable closes."""
    closes = [None if one is None else one.close[-VOLATILITY_SESSIONS - 1 :] for one in bars]
    return _deviations(closes, VOLATILITY_SESSIONS)


def usual_daily_volatilities(bars: Sequence[BarSeries | None]) -> Floats:
    """The same of the 100 sessions before those; NaN with fewer bars or unusable closes."""
    first = -VOLATILITY_SESSIONS - USUAL_SESSIONS - 1
    return _deviations([None if one is None else one.close[first:-VOLATILITY_SESSIONS] for one in bars], USUAL_SESSIONS)


def daily_atrs(bars: Sequence[BarSeries | None]) -> Floats:
    """Mean of the last 14 daily true ranges of each, in currency; NaN with fewer bars or unusable prices. A plain mean, because
    a recursive one depends on where the history begins."""
    found = np.full(len(bars), np.nan)
    long = {i: one for i, one in enumerate(bars) if one is not None and len(one) > ATR_SESSIONS}
    if long:
        high, low = (np.array([getattr(one, name)[-ATR_SESSIONS:] for one in long.values()]) for name in ("high", "low"))
        before = np.array([one.close[-ATR_SESSIONS - 1 : -1] for one in long.values()])
        found[list(long)] = np.mean(np.maximum(high, before) - np.minimum(low, before), axis=1)
    return found


def daily_volatility(bars: BarSeries) -> float:
    """`daily_volatilities` of one symbol."""
    return float(daily_volatilities([bars])[0])


def usual_daily_volatility(bars: BarSeries) -> float:
    """`usual_daily_volatilities` of one symbol."""
    return float(usual_daily_volatilities([bars])[0])


def daily_atr(bars: BarSeries) -> float:
    """`daily_atrs` of one symbol."""
    return float(daily_atrs([bars])[0])


def _deviations(closes: Sequence[Floats | None], sessions: int) -> Floats:
    """One row a symbol, contiguous: sums come out as those of one symbol alone, to the last bit."""
    found = np.full(len(closes), np.nan)
    long = {i: close for i, close in enumerate(closes) if close is not None and len(close) > sessions}
    if long:
        table = np.array(list(long.values()))
        usable = np.all(table > 0.0, axis=1)
        returns = np.diff(np.log(table[usable]), axis=1)
        found[np.array(list(long))[usable]] = np.std(returns, axis=1, ddof=1)
    return found
