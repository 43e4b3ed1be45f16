"""What the breakers read: the account at our own marks, fresh prices, the stress of the market."""

from __future__ import annotations

import numpy as np
from numba import njit

from app.domain.bar import Floats
from app.domain.trading_state import Cause
from app.engine.rules.values import Holdings, Integers, Market, Measures, Money, Venue
from app.risk.breakers import Reading, doubt_of, jump_of
from app.risk.limits import RiskLimits

_STALE_DATA, _EXTREME_VOLATILITY = int(Cause.STALE_DATA), int(Cause.EXTREME_VOLATILITY)


@njit(cache=True, inline="always")
def read(
    active: Integers,
    now: float,
    market: Market,
    holdings: Holdings,
    money: Money,
    venue: Venue,
    limits: RiskLimits,
    stress: float,
    stressed: bool,
) -> tuple[Measures, Reading]:
    """Everything the breakers read, and the reading they are given."""
    marked, gross, taken, flat = _mark(active, market, holdings, money, limits)
    n, jump, open_symbols, fresh = len(market.price), 0, 0, 0
    for i in range(n):
        open_symbols += market.tradable[i] > 0.0
        fresh += (market.price[i] > 0.0) & (market.age_seconds[i] <= limits.max_price_age_seconds)
    for i in active:
        if holdings.quantity[i] != 0.0:
            jump = max(jump, jump_of(market.price[i], market.last_close[i], market.volatility[i], limits))
    is_open, stale_fraction = open_symbols > 0, (n - fresh) / n if n > 0 else 0.0
    soft = 0
    if n >= limits.least_symbols and stale_fraction > limits.max_stale_fraction:
        soft |= 1 << _STALE_DATA
    if stressed:
        soft |= 1 << _EXTREME_VOLATILITY
    reading = Reading(
        now, money.equity, marked, money.baseline, flat, is_open, jump, venue.tripped | soft, venue.lasting | soft
    )
    doubt = doubt_of(reading, limits)
    return Measures(marked, gross, taken, flat, is_open, stale_fraction, stress, jump, doubt), reading


@njit(cache=True, inline="always")
def _mark(
    active: Integers, market: Market, holdings: Holdings, money: Money, limits: RiskLimits
) -> tuple[float, float, int, bool]:
    """(equity at our own marks or NaN, gross value of holdings and open buys, slots taken, whether nothing is held)."""
    value, pending, flat = 0.0, 0.0, True
    for i in active:
        held, open_buy = holdings.quantity[i], holdings.pending_buy[i]
        if held != 0.0:
            flat = False
            fresh = market.price[i] > 0.0 and market.price[i] < np.inf and market.age_seconds[i] <= limits.max_price_age_seconds
            value += held * market.price[i] if fresh else np.nan
        if open_buy > 0.0:
            pending += open_buy * worst_price(i, market, holdings, limits)
    return money.cash + value, value + pending, len(active), flat


@njit(cache=True, inline="always")
def worst_price(i: int, market: Market, holdings: Holdings, limits: RiskLimits) -> float:
    """The most that the open entry in symbol `i` may pay."""
    price = holdings.pending_price[i]
    return float(price if price > 0.0 else market.price[i] * (1.0 + limits.price_collar_fraction))


@njit(cache=True)
def market_stress(market: Market, limits: RiskLimits) -> float:
    """Median of volatility over usual volatility, NaN with too few known."""
    stress, known = np.empty(len(market.price)), 0
    for i in range(len(stress)):
        ratio = _stress(market.volatility[i], market.usual_volatility[i])
        if ratio >= 0.0:
            stress[known] = ratio
            known += 1
    return float(np.median(stress[:known])) if known >= limits.least_symbols else np.nan


@njit(cache=True)
def is_stressed(volatility: Floats, usual_volatility: Floats, limits: RiskLimits) -> bool:
    """Whether `market_stress` is above its limit, by counting instead of sorting."""
    known, above, bound = 0, 0, limits.market_volatility_multiple
    under, over = -np.inf, np.inf  # the nearest ratios on both sides of the limit
    for i in range(len(volatility)):
        ratio = _stress(volatility[i], usual_volatility[i])
        known += ratio >= 0.0
        above += ratio > bound
        under = max(under, ratio) if ratio <= bound else under
        over = min(over, ratio) if ratio > bound else over
    if known < limits.least_symbols or 2 * above != known:
        return known >= limits.least_symbols and 2 * above > known
    return bool(np.mean(np.array([under, over])) > bound)


@njit(cache=True)
def is_stressed_each(volatility: Floats, usual_volatility: Floats, limits: RiskLimits) -> Integers:
    """`is_stressed` of each row, arrays of shape (n_sessions, n_symbols)."""
    found = np.zeros(len(volatility), np.int64)
    for k in range(len(volatility)):
        found[k] = is_stressed(volatility[k], usual_volatility[k], limits)
    return found


@njit(cache=True)
def _stress(volatility: float, usual: float) -> float:
    return volatility / usual if usual > 0.0 else np.nan
