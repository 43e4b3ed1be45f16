"""Which symbols may be bought, for which sleeve, and in which order."""

from __future__ import annotations

import numpy as np
from numba import njit

from app.domain.bar import Floats
from app.engine.rules.measures import worst_price
from app.engine.rules.values import (
    BELOW,
    BUDGET,
    BUY_SIGNAL,
    DISABLED,
    ENTRIES,
    EXTREME,
    IS_HALTED,
    IS_REDUCING,
    LOW_CONFIDENCE,
    NO_FORECAST,
    NO_PRICE,
    NO_SHORT,
    NO_VOLATILITY,
    NOT_TRADABLE,
    ORDER_PENDING,
    OVER_BUDGET,
    STALE,
    TRADED,
    Heard,
    Holdings,
    Integers,
    Market,
    Sleeves,
    Work,
    policy_of,
)
from app.risk.breakers import ACTIVE, REDUCING, jump_of
from app.risk.limits import Policy, RiskLimits


@njit(cache=True, inline="always")
def hear(
    work: Work, active: int, market: Market, holdings: Holdings, equity: float, limits: RiskLimits, sleeves: Sleeves
) -> Heard:
    """Screen the symbols by each sleeve, and let one of them speak for each symbol (see `Heard`). A sleeve may buy what it asks
    for while its budget leaves a step of it. equity: what the budgets are shares of."""
    expected, confidence = sleeves.expected_return[0], sleeves.confidence[0]
    _screen(work.reason, expected, confidence, market, holdings, limits, policy_of(sleeves.rules, 0))
    many = len(sleeves.rules) > 1
    _measure_rooms(work, active, market, holdings, equity, limits, sleeves)
    if many:
        for i in range(len(work.reason)):
            work.heard.sleeve[i], work.heard.expected_return[i], work.heard.confidence[i] = 0, expected[i], confidence[i]
        _limit(work.reason, work.room[0], market, holdings, limits)
        for k in range(1, len(sleeves.rules)):
            own, sure = sleeves.expected_return[k], sleeves.confidence[k]
            _screen(work.said, own, sure, market, holdings, limits, policy_of(sleeves.rules, k))
            _limit(work.said, work.room[k], market, holdings, limits)
            for i in range(len(work.said)):
                asks = work.said[i] == BUY_SIGNAL and work.reason[i] != BUY_SIGNAL
                if asks if is_free(i, holdings) else holdings.sleeve[i] == k:
                    work.reason[i], work.heard.sleeve[i] = work.said[i], k
                    work.heard.expected_return[i], work.heard.confidence[i] = own[i], sure[i]
        expected, confidence = work.heard.expected_return, work.heard.confidence
    return Heard(work.heard.sleeve, expected, confidence)


@njit(cache=True, inline="always")
def is_free(i: int, holdings: Holdings) -> bool:
    """Whether symbol `i` belongs to no sleeve."""
    return holdings.quantity[i] == 0.0 and not holdings.pending_buy[i] > 0.0


@njit(cache=True, inline="always")
def _measure_rooms(
    work: Work, active: int, market: Market, holdings: Holdings, equity: float, limits: RiskLimits, sleeves: Sleeves
) -> None:
    """What each budget leaves besides the sleeve's holdings and its open entries at their worst price."""
    for k in range(len(sleeves.rules)):
        share = sleeves.rules[k, BUDGET]
        work.room[k] = share * equity if share < 1.0 else np.inf
    if len(sleeves.rules) > 1:
        for i in work.active[:active]:
            k = int(holdings.sleeve[i])
            work.room[k] -= abs(holdings.quantity[i]) * market.price[i]
            if holdings.pending_buy[i] > 0.0:
                work.room[k] -= holdings.pending_buy[i] * worst_price(i, market, holdings, limits)
    for k in range(len(sleeves.rules)):
        work.left[k] = work.room[k]


@njit(cache=True, inline="always")
def _limit(reason: Integers, room: float, market: Market, holdings: Holdings, limits: RiskLimits) -> None:
    """Refuse the free symbols of which the room leaves no step."""
    for i in range(len(reason)):
        worst = market.price[i] * (1.0 + limits.price_collar_fraction)
        least = market.step[i] * worst
        if reason[i] == BUY_SIGNAL and is_free(i, holdings) and not (room * (1.0 - limits.headroom_fraction) >= least):
            reason[i] = OVER_BUDGET


@njit(cache=True, inline="always")
def _screen(
    reason: Integers,
    expected_return: Floats,
    confidences: Floats,
    market: Market,
    holdings: Holdings,
    limits: RiskLimits,
    policy: Policy,
) -> None:
    """Why each symbol is no candidate by price, forecast and orders, BUY_SIGNAL where nothing is said against it. The last
    line that speaks wins; no branches, so that it runs as vector code."""
    for i in range(len(reason)):
        price, expected, confidence = market.price[i], expected_return[i], confidences[i]
        said = NO_SHORT if expected <= policy.sell_threshold else BUY_SIGNAL
        said = LOW_CONFIDENCE if confidence < policy.confidence_threshold else said
        said = BELOW if (expected > policy.sell_threshold) & (expected < policy.buy_threshold) else said
        said = ORDER_PENDING if (holdings.pending_buy[i] > 0.0) | (holdings.pending_exit[i] > 0.0) else said
        known = (abs(expected) < np.inf) & (confidence >= 0.0) & (confidence <= 1.0)
        said = said if known else NO_FORECAST
        said = said if market.tradable[i] > 0.0 else NOT_TRADABLE
        said = said if market.age_seconds[i] <= limits.max_price_age_seconds else STALE
        reason[i] = said if (price > 0.0) & (price < np.inf) else NO_PRICE


@njit(cache=True, inline="always")
def candidates_of(
    work: Work, state: int, market: Market, heard: Heard, holdings: Holdings, limits: RiskLimits, sleeves: int
) -> int:
    """Collects the symbols to be bought in `work.ranked`: sleeve by sleeve, the best of each first; how many there are."""
    count = 0
    for k in range(sleeves):
        start = count
        for i in range(len(work.reason)):
            if work.reason[i] == BUY_SIGNAL and heard.sleeve[i] == k and not (holdings.quantity[i] > 0.0):
                volatility = market.volatility[i]
                extreme = _is_extreme(market.price[i], market.last_close[i], volatility, market.usual_volatility[i], limits)
                work.reason[i] = _judge_candidate(
                    state, volatility, extreme, holdings.disabled[i], holdings.entries_today[i], holdings.exits_today[i], limits
                )
                if work.reason[i] == BUY_SIGNAL:
                    work.ranked[count] = i
                    count += 1
        _rank(work.ranked[start:count], heard.expected_return)
    return count


@njit(cache=True)
def _is_extreme(price: float, last_close: float, volatility: float, usual: float, limits: RiskLimits) -> bool:
    """Whether a symbol moves far more than usual: in its volatility, or since its last close."""
    bound = usual if usual > 0.0 and usual < np.inf else limits.assumed_volatility_fraction
    calm = volatility <= limits.symbol_volatility_multiple * max(bound, limits.least_volatility_fraction)
    return not calm or jump_of(price, last_close, volatility, limits) != 0


@njit(cache=True)
def _judge_candidate(
    state: int, volatility: float, extreme: bool, disabled: float, entries_today: float, exits_today: float, limits: RiskLimits
) -> int:
    if state != ACTIVE:
        return IS_REDUCING if state == REDUCING else IS_HALTED
    if not (volatility > 0.0 and volatility < np.inf):
        return NO_VOLATILITY
    if extreme:
        return EXTREME
    if disabled > 0.0:
        return DISABLED
    if entries_today >= limits.max_entries_per_day:
        return ENTRIES
    return TRADED if exits_today > 0.0 else BUY_SIGNAL


@njit(cache=True, inline="always")
def _rank(candidates: Integers, expected_return: Floats) -> None:
    """Order the candidates: highest expected return first, ties in symbol order. Shell's method needs no other array."""
    gap = len(candidates)
    while gap > 1:
        gap = max(1, gap * 5 // 11)
        for k in range(gap, len(candidates)):
            one, j = candidates[k], k
            while j >= gap:
                other = candidates[j - gap]
                ahead = expected_return[one] - expected_return[other]
                if ahead < 0.0 or (ahead == 0.0 and other < one):
                    break
                candidates[j] = other
                j -= gap
            candidates[j] = one
