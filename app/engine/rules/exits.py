"""Whether each holding is left, by the rules of the sleeve that owns it."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from app.engine.rules.values import (
    DOUBTED,
    EXIT_PENDING,
    FLATTEN,
    HOLD,
    IS_HALTED,
    NO_PRICE,
    NOT_TRADABLE,
    PARTIAL,
    SELL,
    SELL_SIGNAL,
    STALE,
    STOP,
    TAKE,
    Heard,
    Holdings,
    Market,
    Sleeves,
    Work,
    policy_of,
)
from app.risk.breakers import FLATTENING, HALTED, jump_of
from app.risk.exits import PARTIAL_DUE, STOP_DUE, TARGET_DUE, Levels, Progress, due, follow, levels
from app.risk.limits import Policy, RiskLimits


@njit(cache=True, inline="always")
def leave(
    work: Work,
    active: int,
    state: int,
    jump_believed: bool,
    market: Market,
    heard: Heard,
    holdings: Holdings,
    limits: RiskLimits,
    sleeves: Sleeves,
) -> int:
    """Follow each holding and judge whether it is left; how many slots that will free."""
    leaving = 0
    for i in work.active[:active]:
        held, price = holdings.quantity[i], market.price[i]
        if not held > 0.0:
            continue
        policy = policy_of(sleeves.rules, heard.sleeve[i])
        unusable = _usable(price, market.age_seconds[i], market.tradable[i], limits.max_price_age_seconds)
        doubted = jump_of(price, market.last_close[i], market.volatility[i], limits) != 0
        progress = Progress(holdings.initial_stop[i], holdings.best[i], holdings.stop[i], holdings.partial_taken[i])
        if unusable == 0 and (jump_believed or not doubted):
            progress = follow(holdings.entry[i], progress, price, market.atr[i], policy.exits)
        at = levels(holdings.entry[i], progress, policy.exits)
        work.progress[i, 0], work.progress[i, 1], work.progress[i, 2], work.progress[i, 3] = progress
        work.levels[i, 0], work.levels[i, 1], work.levels[i, 2] = at
        part = _part(held, market.step[i], policy.exits.partial_fraction)
        if holdings.pending_exit[i] > 0.0:
            reason = EXIT_PENDING
        else:
            expected, confidence, tradable = heard.expected_return[i], heard.confidence[i], market.tradable[i] > 0.0
            reason = _hold(state, jump_believed, tradable, unusable, doubted, price, expected, confidence, part, at, policy)
            if reason == HOLD and not (holdings.entry[i] > 0.0 and holdings.entry[i] < np.inf):
                reason = NO_PRICE
        work.reason[i] = reason
        if reason <= PARTIAL:
            work.action[i], work.quantity[i] = SELL, part if reason == PARTIAL else held
        leaving += reason < PARTIAL or reason == EXIT_PENDING
    return leaving


@njit(cache=True)
def _usable(price: float, age: float, tradable: float, oldest: float) -> int:
    """0 when the price may be acted on, else the reason why not."""
    if not (price > 0.0 and price < np.inf):
        return NO_PRICE
    if not (age <= oldest):
        return STALE
    return 0 if tradable > 0.0 else NOT_TRADABLE


@njit(cache=True)
def _hold(
    state: int,
    jump_believed: bool,
    tradable: bool,
    unusable: int,
    doubted: bool,
    price: float,
    expected: float,
    confidence: float,
    part: float,
    at: Levels,
    policy: Policy,
) -> int:
    """What becomes of a holding without an exit on its way. part: units that a partial exit would sell."""
    if state == HALTED:
        return IS_HALTED
    if state == FLATTENING:
        return FLATTEN if tradable else NOT_TRADABLE
    if unusable != 0:
        return unusable
    if doubted and not jump_believed:
        return DOUBTED
    asked = due(price, at)
    if asked == STOP_DUE:
        return STOP
    if asked == TARGET_DUE:
        return TAKE
    if _is_forecast(expected, confidence) and expected <= policy.sell_threshold and confidence >= policy.confidence_threshold:
        return SELL_SIGNAL
    return PARTIAL if asked == PARTIAL_DUE and part > 0.0 else HOLD


@njit(cache=True)
def _part(held: float, step: float, fraction: float) -> float:
    """Units that a partial exit sells: on the step, with at least a step sold and a step kept, else none."""
    units = math.floor(held * fraction / step + 1e-9) * step
    return units if units >= step and held - units >= step * (1.0 - 1e-9) else 0.0


@njit(cache=True)
def _is_forecast(expected: float, confidence: float) -> bool:
    return abs(expected) < np.inf and confidence >= 0.0 and confidence <= 1.0
