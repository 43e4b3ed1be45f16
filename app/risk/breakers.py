"""The trading state machine: when losses or unreliable readings take away the right to trade (decisions 15-17).

Compiled, so that the live cycle and a backtest of thousands of days run the very same lines. Instants are seconds since
1970 UTC, NaN where there is none; money is float64 here and exact again in `app.engine.decide`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit

from app.domain.trading_state import Cause, TradingState
from app.risk.limits import RiskLimits


class Standing(NamedTuple):
    """The changing part of the risk state as numbers."""

    state: int
    cause: int
    until: float
    suspected_at: float
    high_water: float


ACTIVE, REDUCING, HALTED, FLATTENING = (int(s) for s in TradingState)
_DAILY_LOSS, _HARD_DAILY_LOSS, _DRAWDOWN = int(Cause.DAILY_LOSS), int(Cause.HARD_DAILY_LOSS), int(Cause.DRAWDOWN)
_UNRELIABLE, _ENDED, _RECOVERED = int(Cause.EQUITY_UNRELIABLE), int(Cause.HALT_ENDED), int(Cause.READING_RECOVERED)


@njit(cache=True)
def next_standing(
    now: float,
    standing: Standing,
    equity: float,
    marked_equity: float,
    baseline: float,
    flat: bool,
    limits: RiskLimits,
) -> Standing:
    """The standing after one reading of the account.

    equity: the venue's figure. marked_equity: our cash plus holdings at freshly fetched prices, NaN when a holding has no
    usable price. A reading counts only when both agree within `equity_tolerance_fraction`; an unreliable one stops
    entries and sells nothing. The hard daily loss flattens only on a second agreeing reading at least
    `corroboration_seconds` after the first.
    """
    state, cause, until, suspected, high = standing
    reliable = equity > 0.0 and abs(equity - marked_equity) <= limits.equity_tolerance_fraction * marked_equity
    if not reliable or not baseline > 0.0:
        if state == ACTIVE:
            state, cause, until = REDUCING, _UNRELIABLE, math.nan
        return Standing(state, cause, until, math.nan, high)

    if state == REDUCING and cause == _UNRELIABLE:
        state, cause = ACTIVE, _RECOVERED
    if state == REDUCING and cause == _DAILY_LOSS and now >= until:
        state, cause, until = ACTIVE, _ENDED, math.nan
    if state == FLATTENING and flat:
        state = HALTED

    high = max(high, equity) if high > 0.0 else equity
    daily = equity / baseline - 1.0
    may_escalate = state < HALTED
    hard_loss = daily <= -limits.flatten_daily_loss_fraction + 1e-12
    if hard_loss and may_escalate and not flat:
        if not math.isnan(suspected) and now - suspected >= limits.corroboration_seconds:
            return Standing(FLATTENING, _HARD_DAILY_LOSS, math.nan, math.nan, high)
        if math.isnan(suspected):
            suspected = now
    elif not hard_loss:
        suspected = math.nan
    if equity / high - 1.0 <= -limits.max_drawdown_fraction + 1e-12 and may_escalate:
        return Standing(HALTED, _DRAWDOWN, math.nan, suspected, high)
    if daily <= -limits.max_daily_loss_fraction + 1e-12 and state == ACTIVE:
        state, cause, until = REDUCING, _DAILY_LOSS, now + limits.halt_seconds
    return Standing(state, cause, until, suspected, high)
