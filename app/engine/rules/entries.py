"""What is bought, and how much; which weak holding makes room for a better one."""

from __future__ import annotations

import numpy as np
from numba import njit

from app.engine.rules.values import (
    AWAITING,
    BELOW_STEP,
    BUY,
    BUYING_POWER,
    EXPOSURE,
    HOLD,
    NO_SLOT,
    NOTHING,
    OVER_BUDGET,
    REBALANCE,
    SELL,
    Heard,
    Holdings,
    Market,
    Measures,
    Money,
    Sleeves,
    Work,
    policy_of,
)
from app.risk.limits import Policy, RiskLimits
from app.risk.sizing import BOUNDS, entry_bounds, entry_quantity

_COUNT = len(BOUNDS)
_BY_EXPOSURE, _BY_BUYING_POWER, _BY_BUDGET = (BOUNDS.index(name) for name in ("exposure", "buying_power", "budget"))


@njit(cache=True, inline="always")
def enter(
    work: Work,
    active: int,
    candidates: int,
    leaving: int,
    measures: Measures,
    market: Market,
    heard: Heard,
    holdings: Holdings,
    money: Money,
    limits: RiskLimits,
    sleeves: Sleeves,
) -> None:
    """Size the candidates in their order while there are slots; then let better ones replace weak holdings."""
    slots, gross = limits.max_positions - measures.taken, measures.gross
    equity = sizing_equity(money, measures)
    buying_power = min(money.buying_power, money.cash)
    for i in work.ranked[:candidates]:
        k = heard.sleeve[i]
        policy = policy_of(sleeves.rules, k)
        if slots > 0:
            worst = market.price[i] * (1.0 + limits.price_collar_fraction)
            permitted = entry_bounds(
                worst, market.volatility[i], equity, gross, buying_power, work.room[k], policy.exits.stop_loss_fraction, limits
            )
            units, least = entry_quantity(permitted, market.step[i], limits)
            work.bound[i] = least
            for column in range(_COUNT):
                work.bounds[i, column] = permitted[column]
            value = units * worst
            if not (units > 0.0 and value >= market.minimum_notional[i]):
                work.reason[i] = _refused_by(least)
                continue
            work.action[i], work.quantity[i] = BUY, units
            slots -= 1
            gross += value
            buying_power -= value
            work.room[k] -= value
        elif leaving > 0:
            leaving -= 1
            work.reason[i] = AWAITING
        else:
            weakest = _weakest(i, work, active, heard, holdings, policy)
            work.reason[i] = NO_SLOT
            if weakest >= 0:
                work.action[weakest], work.quantity[weakest] = SELL, holdings.quantity[weakest]
                work.reason[weakest] = REBALANCE
                work.reason[i], work.replaces[i] = AWAITING, weakest


@njit(cache=True, inline="always")
def sizing_equity(money: Money, measures: Measures) -> float:
    """The smaller of the two readings: a limit must hold whichever of them is right."""
    return min(money.equity, measures.marked)


@njit(cache=True)
def _refused_by(least: int) -> int:
    """The reason of an entry that is too small by that bound."""
    if least == _BY_BUDGET:
        return OVER_BUDGET
    if least == _BY_EXPOSURE:
        return EXPOSURE
    return BUYING_POWER if least == _BY_BUYING_POWER else BELOW_STEP


@njit(cache=True, inline="always")
def _weakest(i: int, work: Work, active: int, heard: Heard, holdings: Holdings, policy: Policy) -> int:
    """The holding of the same sleeve to give up for candidate `i`, or -1. A holding entered today stays: one turn per symbol
    and day."""
    weakest = -1
    for j in work.active[:active]:
        if (
            holdings.quantity[j] > 0.0
            and heard.sleeve[j] == heard.sleeve[i]
            and work.action[j] == NOTHING
            and work.reason[j] == HOLD
            and holdings.entries_today[j] == 0.0
        ):
            known = abs(heard.expected_return[j]) < np.inf
            if known and (weakest < 0 or heard.expected_return[j] < heard.expected_return[weakest]):
                weakest = j
    if weakest < 0:
        return -1
    advantage = heard.expected_return[i] - heard.expected_return[weakest]
    return weakest if advantage > policy.round_trip_cost_fraction + policy.rebalance_margin_fraction else -1
