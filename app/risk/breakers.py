"""The breakers: when losses, unreliable readings or a failing venue take away the right to trade (decisions 15-17).

The rules, in the order they are asked; "falls by f" means equity <= base * (1 - f), the boundary included:

1. A reading that is not believed (see `doubt_of`) stops entries: REDUCING, EQUITY_UNRELIABLE. Nothing is sold for it and
   neither peak nor loss is recorded. STEADY believable readings in a row end it, and with it BOOKS_DIFFER, which stops
   entries while the venue's books are not ours. A price jump alone is believed once
   STEADY readings in a row agree about the value of the book; what looks like a split never is.
2. While the market is closed losses and peaks are not judged.
3. The hard daily loss (3 %) sells everything, but only on a second reading of the same session, `corroboration_seconds`
   or more after the first: FLATTENING, then HALTED once flat, until a person resumes.
4. The drawdown from the peak (20 %): HALTED until a person resumes.
5. The daily loss (2 %): REDUCING for `halt_seconds` of venue time.
6. Lost connectivity, venue errors, stale data, extreme volatility, clocks apart: REDUCING for at least
   `breaker_hold_seconds` and until the cause is gone.

Compiled, so that the live cycle and a backtest of thousands of days run the very same lines. Instants are seconds since
1970 UTC, NaN where there is none; money is float64 here and exact again in `app.engine.decide`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit

from app.domain.trading_state import STEADY, Cause, Doubt, TradingState
from app.risk.limits import RiskLimits


class Standing(NamedTuple):
    """The changing part of the risk state as numbers. doubted: value of the book in a jump, NaN without one."""

    state: int
    cause: int
    until: float
    suspected_at: float
    high_water: float
    steady: int = STEADY
    doubted: float = math.nan


class Reading(NamedTuple):
    """One look at the account and at what trading depends on.

    equity: the venue's figure. marked: our cash plus holdings at freshly fetched prices, NaN when a holding has no usable
    price. jump: the worst `Doubt` about the price of a holding. tripped: bit n set where the breaker of cause n would
    open. lasting: bit n set where it would not close.
    """

    now: float
    equity: float
    marked: float
    baseline: float
    flat: bool
    is_open: bool
    jump: int = 0
    tripped: int = 0
    lasting: int = 0


ACTIVE, REDUCING, HALTED, FLATTENING = (int(s) for s in TradingState)
_DAILY_LOSS, _HARD_DAILY_LOSS, _DRAWDOWN = int(Cause.DAILY_LOSS), int(Cause.HARD_DAILY_LOSS), int(Cause.DRAWDOWN)
_UNRELIABLE, _ENDED, _RECOVERED = int(Cause.EQUITY_UNRELIABLE), int(Cause.HALT_ENDED), int(Cause.READING_RECOVERED)
_CLOSED, _BOOKS = int(Cause.BREAKER_CLOSED), int(Cause.BOOKS_DIFFER)
_SOFT = (Cause.CONNECTIVITY, Cause.VENUE_ERRORS, Cause.STALE_DATA, Cause.EXTREME_VOLATILITY, Cause.CLOCK_SKEW)
_FIRST_SOFT, _LAST_SOFT, _SOFT_BITS = int(min(_SOFT)), int(max(_SOFT)), sum(1 << soft for soft in _SOFT)
_SURE, _NO_EQUITY, _DISAGREEMENT, _JUMP, _SPLIT = (int(d) for d in Doubt)
_EXACT = 1e-12  # relative; an exact fall computed in floats must count as one (amounts in cents differ by more)
_SPLIT_FROM, _SMALL_SPLIT, _NEAR = 1.9, 1.5, 0.015


@njit(cache=True)
def fallen(value: float, base: float, fraction: float) -> bool:
    """Whether `value` is `fraction` or more below `base`."""
    return value <= base * (1.0 - fraction) * (1.0 + _EXACT)


@njit(cache=True)
def jump_of(price: float, last_close: float, volatility: float, limits: RiskLimits) -> int:
    """The `Doubt` about a price: how far it is from the last daily close, in daily volatilities. An unknown close allows no
    judgement; an unknown volatility is an assumed one."""
    if not (price > 0.0 and last_close > 0.0 and price < math.inf and last_close < math.inf):
        return _SURE
    factor = max(price / last_close, last_close / price)
    known = volatility if volatility > 0.0 and volatility < math.inf else limits.assumed_volatility_fraction
    usual = limits.jump_multiple * max(known, limits.least_volatility_fraction)
    if math.log(factor) <= min(usual, limits.largest_jump_fraction):
        return _SURE
    like_a_split = factor >= _SPLIT_FROM or abs(factor / _SMALL_SPLIT - 1.0) <= _NEAR
    return _SPLIT if like_a_split else _JUMP


@njit(cache=True)
def doubt_of(reading: Reading, limits: RiskLimits) -> int:
    """Why a reading is not believed, as `Doubt`; NaN anywhere is a doubt."""
    if not (reading.equity > 0.0 and reading.equity < math.inf and reading.baseline > 0.0):
        return _NO_EQUITY
    if not abs(reading.equity - reading.marked) <= limits.equity_tolerance_fraction * reading.marked:
        return _DISAGREEMENT
    return reading.jump


@njit(cache=True)
def next_standing(standing: Standing, reading: Reading, limits: RiskLimits) -> Standing:
    """The standing after one reading; the rules above."""
    state, cause, until, suspected, high, steady, doubted = standing
    doubt = doubt_of(reading, limits)
    steady, doubted = _steadiness(doubt, reading.marked, steady, doubted, limits)
    if doubt != _SURE and steady < STEADY:
        if state == ACTIVE:
            state, cause, until = REDUCING, _UNRELIABLE, math.nan
        return Standing(state, cause, until, suspected, high, steady, doubted)
    if not reading.is_open:
        return Standing(state, cause, until, suspected, high, steady, doubted)

    state, cause, until = _released(state, cause, until, steady, reading)
    high = max(high, reading.equity) if high > 0.0 else reading.equity
    if not fallen(reading.equity, reading.baseline, limits.flatten_daily_loss_fraction):
        suspected = math.nan
    elif state < HALTED and not reading.flat:
        if math.isnan(suspected):
            suspected = reading.now
        elif reading.now - suspected >= limits.corroboration_seconds:
            return Standing(FLATTENING, _HARD_DAILY_LOSS, math.nan, math.nan, high, steady, doubted)
    if state < HALTED and fallen(reading.equity, high, limits.max_drawdown_fraction):
        return Standing(HALTED, _DRAWDOWN, math.nan, suspected, high, steady, doubted)
    state, cause, until = _reduced(state, cause, until, reading, limits)
    return Standing(state, cause, until, suspected, high, steady, doubted)


@njit(cache=True)
def _steadiness(doubt: int, marked: float, steady: int, doubted: float, limits: RiskLimits) -> tuple[int, float]:
    """(believable readings in a row, value of the book in a jump) after a reading."""
    if doubt == _SURE:
        broken_off = steady < STEADY and not math.isnan(doubted)
        return (1 if broken_off else min(steady + 1, STEADY)), math.nan
    if doubt != _JUMP:
        return 0, math.nan
    agrees = abs(marked - doubted) <= limits.steady_tolerance_fraction * doubted
    return (min(steady + 1, STEADY) if agrees else 1), marked


@njit(cache=True)
def _is_soft(cause: int) -> bool:
    """Whether the breaker of this cause closes by itself."""
    return (_SOFT_BITS >> cause) & 1 == 1


@njit(cache=True)
def _released(state: int, cause: int, until: float, steady: int, reading: Reading) -> tuple[int, int, float]:
    """The state after what has run its time; only a person ends the rest."""
    if state == FLATTENING and reading.flat:
        return HALTED, cause, until
    if state != REDUCING or steady < STEADY:
        return state, cause, until
    if cause in (_UNRELIABLE, _BOOKS):
        return ACTIVE, _RECOVERED, math.nan
    if cause == _DAILY_LOSS and reading.now >= until:
        return ACTIVE, _ENDED, math.nan
    if _is_soft(cause) and not reading.now < until and not (reading.lasting >> cause) & 1:
        return ACTIVE, _CLOSED, math.nan
    return state, cause, until


@njit(cache=True)
def _reduced(state: int, cause: int, until: float, reading: Reading, limits: RiskLimits) -> tuple[int, int, float]:
    """The state after the reasons to take on no risk. The daily loss takes the place of causes that end by themselves."""
    mild = state == ACTIVE or (state == REDUCING and (cause in (_UNRELIABLE, _BOOKS) or _is_soft(cause)))
    if mild and fallen(reading.equity, reading.baseline, limits.max_daily_loss_fraction):
        return REDUCING, _DAILY_LOSS, reading.now + limits.halt_seconds
    if state == ACTIVE:
        for soft in range(_FIRST_SOFT, _LAST_SOFT + 1):
            if _is_soft(soft) and (reading.tripped >> soft) & 1:
                return REDUCING, soft, reading.now + limits.breaker_hold_seconds
    return state, cause, until
