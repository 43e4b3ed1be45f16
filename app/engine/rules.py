"""The arithmetic of every rule in one compiled function over arrays: screening, exits, ranking, sizing, replacement.

Live trading calls it once a cycle, the backtest once a simulated decision: parity holds by construction. Comparisons are
written so that NaN refuses. The exact check of the final orders is `app.risk.checks`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from app.domain.bar import Floats
from app.domain.reason import Reason
from app.domain.trading_state import STEADY, Cause, Doubt
from app.risk.breakers import (
    ACTIVE,
    FLATTENING,
    HALTED,
    REDUCING,
    Reading,
    Standing,
    doubt_of,
    jump_of,
    next_standing,
)
from app.risk.exits import PARTIAL_DUE, STOP_DUE, TARGET_DUE, ExitPolicy, Levels, Progress, due, follow, levels, within
from app.risk.limits import Policy, RiskLimits
from app.risk.sizing import entry_bounds, entry_quantity

Integers = npt.NDArray[np.int64]

NOTHING, BUY, SELL = 0, 1, 2


class Market(NamedTuple):
    """The market side of a decision; arrays of shape (n_symbols,), NaN where unknown."""

    price: Floats
    age_seconds: Floats
    volatility: Floats
    tradable: Floats
    expected_return: Floats
    confidence: Floats
    step: Floats
    minimum_notional: Floats
    last_close: Floats
    usual_volatility: Floats
    atr: Floats


class Holdings(NamedTuple):
    """The book side of a decision; arrays of shape (n_symbols,).

    quantity: units held. entry: average entry price. pending_buy: units in open entries; pending_price: the most they may
    pay. pending_exit: 1.0 where an exit is on its way. entries_today, exits_today: counts. disabled: 1.0 where a person
    has to allow entries again. initial_stop, best, stop, partial_taken: the `Progress` of each.
    """

    quantity: Floats
    entry: Floats
    pending_buy: Floats
    pending_price: Floats
    pending_exit: Floats
    entries_today: Floats
    exits_today: Floats
    disabled: Floats
    initial_stop: Floats
    best: Floats
    stop: Floats
    partial_taken: Floats


class Money(NamedTuple):
    """The account as numbers, in its currency."""

    cash: float
    equity: float
    baseline: float
    buying_power: float


class Venue(NamedTuple):
    """The breakers on the connection: bit n set where that of cause n would open, or would not close."""

    tripped: int
    lasting: int


class Measures(NamedTuple):
    """What the breakers read. marked: equity at our own marks, NaN while a holding has no fresh price. gross: value of
    holdings and open buys at worst prices. taken: slots. stale_fraction: share of the symbols without a fresh price.
    stress: median of volatility over usual volatility, NaN with too few known. jump: worst `Doubt` about a holding's price.
    doubt: `Doubt` about the whole reading."""

    marked: float
    gross: float
    taken: int
    flat: bool
    is_open: bool
    stale_fraction: float
    stress: float
    jump: int
    doubt: int


class Outcome(NamedTuple):
    """What the rules answered: arrays of shape (n_symbols,), `bounds` of shape (n_symbols, 5) in units (NaN if unsized).

    progress: of shape (n_symbols, 4), the `Progress` of each holding from now on. levels: of shape (n_symbols, 3), `Levels`.
    """

    standing: Standing
    measures: Measures
    action: Integers
    quantity: Floats
    reason: Integers
    bounds: Floats
    bound: Integers
    replaces: Integers
    progress: Floats
    levels: Floats


(
    _BUY_SIGNAL, _SELL_SIGNAL, _STOP, _TAKE, _REBALANCE, _FLATTEN, _PARTIAL,
    _BELOW, _LOW_CONFIDENCE, _HOLD, _NO_SHORT, _ORDER_PENDING, _EXIT_PENDING, _AWAITING,
    _NO_PRICE, _STALE, _NOT_TRADABLE, _NO_FORECAST, _NO_VOLATILITY,
    _REDUCING, _HALTED, _NO_SLOT, _EXPOSURE, _BUYING_POWER, _BELOW_STEP, _TRADED, _ENTRIES,
    _DISABLED, _EXTREME, _DOUBTED,
) = (
    int(r) for r in Reason if r is not Reason.EXACT_CHECK
)  # fmt: skip

_JUMP = int(Doubt.PRICE_JUMP)
_STALE_DATA, _EXTREME_VOLATILITY = int(Cause.STALE_DATA), int(Cause.EXTREME_VOLATILITY)


@njit(cache=True)
def apply_rules(
    now: float,
    standing: Standing,
    market: Market,
    holdings: Holdings,
    money: Money,
    venue: Venue,
    limits: RiskLimits,
    policy: Policy,
) -> Outcome:
    """One decision over the universe. now: seconds since 1970 UTC."""
    n = len(market.price)
    action = np.zeros(n, np.int64)
    quantity = np.zeros(n)
    reason = np.zeros(n, np.int64)
    bounds = np.full((n, 5), np.nan)
    bound = np.full(n, -1, np.int64)
    replaces = np.full(n, -1, np.int64)

    measures, reading = _read(now, market, holdings, money, venue, limits)
    standing = next_standing(standing, reading, limits)
    marked, gross = measures.marked, measures.gross
    jump_believed = standing.steady >= STEADY and measures.jump == _JUMP
    memory, at = _follow(jump_believed, market, holdings, limits, within(policy.exits, limits))
    for i in range(n):
        if holdings.quantity[i] > 0.0:
            reason[i] = _judge_holding(i, standing.state, jump_believed, market, holdings, limits, policy, at[i])
            if reason[i] <= _PARTIAL:
                action[i] = SELL
                quantity[i] = _part(i, market, holdings, policy) if reason[i] == _PARTIAL else holdings.quantity[i]
        else:
            reason[i] = _judge_candidate(i, standing.state, market, holdings, limits, policy)

    slots = limits.max_positions - measures.taken
    leaving = 0
    for i in range(n):
        if holdings.quantity[i] > 0.0 and ((action[i] == SELL and reason[i] != _PARTIAL) or reason[i] == _EXIT_PENDING):
            leaving += 1
    # The smaller of the two readings: a limit must hold whichever of them is right.
    equity = min(money.equity, marked)
    buying_power = min(money.buying_power, money.cash)
    for i in _ranked(reason, market.expected_return):
        if slots > 0:
            worst = market.price[i] * (1.0 + limits.price_collar_fraction)
            permitted = entry_bounds(worst, market.volatility[i], equity, gross, buying_power, limits)
            units, least = entry_quantity(permitted, market.step[i], limits)
            bound[i] = least
            for k in range(5):
                bounds[i, k] = permitted[k]
            value = units * worst
            if not (units > 0.0 and value >= market.minimum_notional[i]):
                reason[i] = _EXPOSURE if least == 3 else _BUYING_POWER if least == 4 else _BELOW_STEP
                continue
            action[i], quantity[i] = BUY, units
            slots -= 1
            gross += value
            buying_power -= value
        elif leaving > 0:
            leaving -= 1
            reason[i] = _AWAITING
        else:
            weakest = _weakest(i, action, reason, market, holdings, policy)
            reason[i] = _NO_SLOT
            if weakest >= 0:
                action[weakest], quantity[weakest], reason[weakest] = SELL, holdings.quantity[weakest], _REBALANCE
                reason[i], replaces[i] = _AWAITING, weakest
    return Outcome(standing, measures, action, quantity, reason, bounds, bound, replaces, memory, at)


@njit(cache=True)
def _usable(i: int, market: Market, limits: RiskLimits) -> int:
    """0 when the price may be acted on, else the reason why not."""
    if not (market.price[i] > 0.0 and market.price[i] < np.inf):
        return _NO_PRICE
    if not (market.age_seconds[i] <= limits.max_price_age_seconds):
        return _STALE
    return 0 if market.tradable[i] > 0.0 else _NOT_TRADABLE


@njit(cache=True)
def _read(
    now: float, market: Market, holdings: Holdings, money: Money, venue: Venue, limits: RiskLimits
) -> tuple[Measures, Reading]:
    """Everything the breakers read, and the reading they are given."""
    marked, gross, taken, flat = _mark(market, holdings, money, limits)
    n, jump, is_open, stale, known = len(market.price), 0, False, 0, 0
    stress = np.empty(n)
    for i in range(n):
        if market.tradable[i] > 0.0:
            is_open = True
        if not (market.price[i] > 0.0 and market.age_seconds[i] <= limits.max_price_age_seconds):
            stale += 1
        if holdings.quantity[i] != 0.0:
            jump = max(jump, jump_of(market.price[i], market.last_close[i], market.volatility[i], limits))
        ratio = market.volatility[i] / market.usual_volatility[i] if market.usual_volatility[i] > 0.0 else np.nan
        if ratio >= 0.0:
            stress[known] = ratio
            known += 1
    stale_fraction = stale / n if n > 0 else 0.0
    median = float(np.median(stress[:known])) if known >= limits.least_symbols else np.nan
    soft = 0
    if n >= limits.least_symbols and stale_fraction > limits.max_stale_fraction:
        soft |= 1 << _STALE_DATA
    if median > limits.market_volatility_multiple:
        soft |= 1 << _EXTREME_VOLATILITY
    reading = Reading(
        now, money.equity, marked, money.baseline, flat, is_open, jump, venue.tripped | soft, venue.lasting | soft
    )
    doubt = doubt_of(reading, limits)
    return Measures(marked, gross, taken, flat, is_open, stale_fraction, median, jump, doubt), reading


@njit(cache=True)
def _is_extreme(i: int, market: Market, limits: RiskLimits) -> bool:
    """Whether a symbol moves far more than usual: in its volatility, or since its last close."""
    usual = market.usual_volatility[i]
    bound = usual if usual > 0.0 and usual < np.inf else limits.assumed_volatility_fraction
    calm = market.volatility[i] <= limits.symbol_volatility_multiple * max(bound, limits.least_volatility_fraction)
    return not calm or jump_of(market.price[i], market.last_close[i], market.volatility[i], limits) != 0


@njit(cache=True)
def _mark(market: Market, holdings: Holdings, money: Money, limits: RiskLimits) -> tuple[float, float, int, bool]:
    """(equity at our own marks or NaN, gross value of holdings and open buys, slots taken, whether nothing is held)."""
    value, pending, taken, flat = 0.0, 0.0, 0, True
    for i in range(len(market.price)):
        held, open_buy = holdings.quantity[i], holdings.pending_buy[i]
        if held != 0.0:
            flat = False
            fresh = market.price[i] > 0.0 and market.price[i] < np.inf and market.age_seconds[i] <= limits.max_price_age_seconds
            value += held * market.price[i] if fresh else np.nan
        if open_buy > 0.0:
            price = holdings.pending_price[i]
            pending += open_buy * (price if price > 0.0 else market.price[i] * (1.0 + limits.price_collar_fraction))
        if held != 0.0 or open_buy > 0.0:
            taken += 1
    return money.cash + value, value + pending, taken, flat


@njit(cache=True)
def _follow(
    jump_believed: bool, market: Market, holdings: Holdings, limits: RiskLimits, exits: ExitPolicy
) -> tuple[Floats, Floats]:
    """What is remembered of each holding after these prices, those that are believed, and its levels."""
    n = len(market.price)
    memory, at = np.zeros((n, 4)), np.full((n, 3), np.nan)
    for i in range(n):
        if not (holdings.quantity[i] > 0.0):
            continue
        price, entry = market.price[i], holdings.entry[i]
        progress = Progress(holdings.initial_stop[i], holdings.best[i], holdings.stop[i], holdings.partial_taken[i])
        doubted = jump_of(price, market.last_close[i], market.volatility[i], limits) != 0
        if _usable(i, market, limits) == 0 and (jump_believed or not doubted):
            progress = follow(entry, progress, price, market.atr[i], exits)
        found = levels(entry, progress, exits)
        for k in range(4):
            memory[i, k] = progress[k]
        for k in range(3):
            at[i, k] = found[k]
    return memory, at


@njit(cache=True)
def _part(i: int, market: Market, holdings: Holdings, policy: Policy) -> float:
    """Units that a partial exit sells: on the step, with at least a step sold and a step kept, else none."""
    held, step = holdings.quantity[i], market.step[i]
    units = math.floor(held * policy.exits.partial_fraction / step + 1e-9) * step
    return units if units >= step and held - units >= step * (1.0 - 1e-9) else 0.0


@njit(cache=True)
def _judge_holding(
    i: int,
    state: int,
    jump_believed: bool,
    market: Market,
    holdings: Holdings,
    limits: RiskLimits,
    policy: Policy,
    at: Floats,
) -> int:
    if holdings.pending_exit[i] > 0.0:
        return _EXIT_PENDING
    if state == HALTED:
        return _HALTED
    unusable: int = _usable(i, market, limits)
    if state == FLATTENING:
        return _FLATTEN if market.tradable[i] > 0.0 else _NOT_TRADABLE
    if unusable != 0:
        return unusable
    price, entry = market.price[i], holdings.entry[i]
    if not jump_believed and jump_of(price, market.last_close[i], market.volatility[i], limits) != 0:
        return _DOUBTED
    known_entry = entry > 0.0 and entry < np.inf
    asked = due(price, Levels(at[0], at[1], at[2]))
    if asked == STOP_DUE:
        return _STOP
    if asked == TARGET_DUE:
        return _TAKE
    expected, confidence = market.expected_return[i], market.confidence[i]
    if _is_forecast(expected, confidence) and expected <= policy.sell_threshold and confidence >= policy.confidence_threshold:
        return _SELL_SIGNAL
    if asked == PARTIAL_DUE and _part(i, market, holdings, policy) > 0.0:
        return _PARTIAL
    return _HOLD if known_entry else _NO_PRICE


@njit(cache=True)
def _is_forecast(expected: float, confidence: float) -> bool:
    return abs(expected) < np.inf and confidence >= 0.0 and confidence <= 1.0


@njit(cache=True)
def _judge_candidate(i: int, state: int, market: Market, holdings: Holdings, limits: RiskLimits, policy: Policy) -> int:
    unusable: int = _usable(i, market, limits)
    if unusable != 0:
        return unusable
    expected, confidence = market.expected_return[i], market.confidence[i]
    if not _is_forecast(expected, confidence):
        return _NO_FORECAST
    if holdings.pending_buy[i] > 0.0 or holdings.pending_exit[i] > 0.0:
        return _ORDER_PENDING
    if expected > policy.sell_threshold and expected < policy.buy_threshold:
        return _BELOW
    if confidence < policy.confidence_threshold:
        return _LOW_CONFIDENCE
    if expected <= policy.sell_threshold:
        return _NO_SHORT
    if state != ACTIVE:
        return _REDUCING if state == REDUCING else _HALTED
    if not (market.volatility[i] > 0.0 and market.volatility[i] < np.inf):
        return _NO_VOLATILITY
    if _is_extreme(i, market, limits):
        return _EXTREME
    if holdings.disabled[i] > 0.0:
        return _DISABLED
    if holdings.entries_today[i] >= limits.max_entries_per_day:
        return _ENTRIES
    return _TRADED if holdings.exits_today[i] > 0.0 else _BUY_SIGNAL


@njit(cache=True)
def _ranked(reason: Integers, expected_return: Floats) -> Integers:
    """Indices of the candidates, highest expected return first, ties in symbol order."""
    candidates = np.flatnonzero(reason == _BUY_SIGNAL)
    return candidates[np.argsort(-expected_return[candidates], kind="mergesort")]


@njit(cache=True)
def _weakest(i: int, action: Integers, reason: Integers, market: Market, holdings: Holdings, policy: Policy) -> int:
    """The holding to give up for candidate `i`, or -1. A holding entered today stays: one turn per symbol and day."""
    weakest = -1
    for j in range(len(action)):
        if holdings.quantity[j] > 0.0 and action[j] == NOTHING and reason[j] == _HOLD and holdings.entries_today[j] == 0.0:
            known = abs(market.expected_return[j]) < np.inf
            if known and (weakest < 0 or market.expected_return[j] < market.expected_return[weakest]):
                weakest = j
    if weakest < 0:
        return -1
    advantage = market.expected_return[i] - market.expected_return[weakest]
    return weakest if advantage > policy.round_trip_cost_fraction + policy.rebalance_margin_fraction else -1
