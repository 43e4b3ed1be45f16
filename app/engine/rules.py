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
from app.risk.exits import PARTIAL_DUE, STOP_DUE, TARGET_DUE, Levels, Progress, due, follow, levels, within
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


class Work(NamedTuple):
    """Where a decision writes: the arrays of `Outcome`, and two lists of symbols. A row of `bounds` counts where `bound` is not
    negative, rows of `progress` and `levels` where something is held; the rest is left as it was.

    active: the symbols held or being bought, in their order; the caller says how many. ranked: of length n_symbols.
    """

    action: Integers
    quantity: Floats
    reason: Integers
    bounds: Floats
    bound: Integers
    replaces: Integers
    progress: Floats
    levels: Floats
    active: Integers
    ranked: Integers


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
    work = room_for(len(market.price))
    active = 0
    for i in range(len(market.price)):
        if holdings.quantity[i] != 0.0 or holdings.pending_buy[i] > 0.0:
            work.active[active] = i
            active += 1
    stress = market_stress(market, limits)
    stressed = stress > limits.market_volatility_multiple
    following, measures, _ = judge(
        work, active, now, standing, market, holdings, money, venue, limits, policy, stress, stressed
    )
    return Outcome(
        following, measures, work.action, work.quantity, work.reason, work.bounds, work.bound, work.replaces, work.progress,
        work.levels,
    )  # fmt: skip


@njit(cache=True)
def room_for(n: int) -> Work:
    """Arrays for a decision over n symbols."""
    return Work(
        np.zeros(n, np.int64),
        np.zeros(n),
        np.zeros(n, np.int64),
        np.full((n, 5), np.nan),
        np.full(n, -1, np.int64),
        np.full(n, -1, np.int64),
        np.zeros((n, 4)),
        np.full((n, 3), np.nan),
        np.zeros(n, np.int64),
        np.zeros(n, np.int64),
    )


@njit(cache=True, inline="always")
def judge(
    work: Work,
    active: int,
    now: float,
    standing: Standing,
    market: Market,
    holdings: Holdings,
    money: Money,
    venue: Venue,
    limits: RiskLimits,
    policy: Policy,
    stress: float,
    stressed: bool,
) -> tuple[Standing, Measures, int]:
    """The decision itself, in arrays that may have served another one; the standing, what was read, and how many of
    `work.ranked` count: the symbols that passed every rule but those of money and slots, best first.

    active: how many of `work.active` count. stress: see `market_stress`; stressed: whether it is above its limit."""
    measures, reading = _read(work.active[:active], now, market, holdings, money, venue, limits, stress, stressed)
    standing = next_standing(standing, reading, limits)
    jump_believed = standing.steady >= STEADY and measures.jump == _JUMP
    work.action[:], work.quantity[:], work.bound[:], work.replaces[:] = NOTHING, 0.0, -1, -1
    _screen(work.reason, market, holdings, limits, policy)
    candidates = _candidates(work, standing.state, market, holdings, limits)
    leaving = _leave(work, active, standing.state, jump_believed, market, holdings, limits, policy)
    _enter(work, active, candidates, leaving, measures, market, holdings, money, limits, policy)
    return standing, measures, candidates


@njit(cache=True, inline="always")
def _leave(
    work: Work,
    active: int,
    state: int,
    jump_believed: bool,
    market: Market,
    holdings: Holdings,
    limits: RiskLimits,
    policy: Policy,
) -> int:
    """Follow each holding and judge whether it is left; how many slots that will free."""
    leaving, exits = 0, within(policy.exits, limits)
    for i in work.active[:active]:
        held, price = holdings.quantity[i], market.price[i]
        if not held > 0.0:
            continue
        unusable = _usable(price, market.age_seconds[i], market.tradable[i], limits.max_price_age_seconds)
        doubted = jump_of(price, market.last_close[i], market.volatility[i], limits) != 0
        progress = Progress(holdings.initial_stop[i], holdings.best[i], holdings.stop[i], holdings.partial_taken[i])
        if unusable == 0 and (jump_believed or not doubted):
            progress = follow(holdings.entry[i], progress, price, market.atr[i], exits)
        at = levels(holdings.entry[i], progress, exits)
        work.progress[i, 0], work.progress[i, 1], work.progress[i, 2], work.progress[i, 3] = progress
        work.levels[i, 0], work.levels[i, 1], work.levels[i, 2] = at
        part = _part(held, market.step[i], policy.exits.partial_fraction)
        if holdings.pending_exit[i] > 0.0:
            reason = _EXIT_PENDING
        else:
            expected, confidence, tradable = market.expected_return[i], market.confidence[i], market.tradable[i] > 0.0
            reason = _hold(state, jump_believed, tradable, unusable, doubted, price, expected, confidence, part, at, policy)
            if reason == _HOLD and not (holdings.entry[i] > 0.0 and holdings.entry[i] < np.inf):
                reason = _NO_PRICE
        work.reason[i] = reason
        if reason <= _PARTIAL:
            work.action[i], work.quantity[i] = SELL, part if reason == _PARTIAL else held
        leaving += reason < _PARTIAL or reason == _EXIT_PENDING
    return leaving


@njit(cache=True, inline="always")
def _enter(
    work: Work,
    active: int,
    candidates: int,
    leaving: int,
    measures: Measures,
    market: Market,
    holdings: Holdings,
    money: Money,
    limits: RiskLimits,
    policy: Policy,
) -> None:
    """Size the candidates, best first, while there are slots; then let better ones replace weak holdings."""
    slots, gross = limits.max_positions - measures.taken, measures.gross
    # The smaller of the two readings: a limit must hold whichever of them is right.
    equity = min(money.equity, measures.marked)
    buying_power = min(money.buying_power, money.cash)
    _rank(work.ranked[:candidates], market.expected_return)
    for i in work.ranked[:candidates]:
        if slots > 0:
            worst = market.price[i] * (1.0 + limits.price_collar_fraction)
            permitted = entry_bounds(worst, market.volatility[i], equity, gross, buying_power, limits)
            units, least = entry_quantity(permitted, market.step[i], limits)
            work.bound[i] = least
            for k in range(5):
                work.bounds[i, k] = permitted[k]
            value = units * worst
            if not (units > 0.0 and value >= market.minimum_notional[i]):
                work.reason[i] = _EXPOSURE if least == 3 else _BUYING_POWER if least == 4 else _BELOW_STEP
                continue
            work.action[i], work.quantity[i] = BUY, units
            slots -= 1
            gross += value
            buying_power -= value
        elif leaving > 0:
            leaving -= 1
            work.reason[i] = _AWAITING
        else:
            weakest = _weakest(i, work, active, market, holdings, policy)
            work.reason[i] = _NO_SLOT
            if weakest >= 0:
                work.action[weakest], work.quantity[weakest] = SELL, holdings.quantity[weakest]
                work.reason[weakest] = _REBALANCE
                work.reason[i], work.replaces[i] = _AWAITING, weakest


@njit(cache=True)
def _usable(price: float, age: float, tradable: float, oldest: float) -> int:
    """0 when the price may be acted on, else the reason why not."""
    if not (price > 0.0 and price < np.inf):
        return _NO_PRICE
    if not (age <= oldest):
        return _STALE
    return 0 if tradable > 0.0 else _NOT_TRADABLE


@njit(cache=True, inline="always")
def _read(
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


@njit(cache=True)
def _is_extreme(price: float, last_close: float, volatility: float, usual: float, limits: RiskLimits) -> bool:
    """Whether a symbol moves far more than usual: in its volatility, or since its last close."""
    bound = usual if usual > 0.0 and usual < np.inf else limits.assumed_volatility_fraction
    calm = volatility <= limits.symbol_volatility_multiple * max(bound, limits.least_volatility_fraction)
    return not calm or jump_of(price, last_close, volatility, limits) != 0


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
            price = holdings.pending_price[i]
            pending += open_buy * (price if price > 0.0 else market.price[i] * (1.0 + limits.price_collar_fraction))
    return money.cash + value, value + pending, len(active), flat


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
        return _HALTED
    if state == FLATTENING:
        return _FLATTEN if tradable else _NOT_TRADABLE
    if unusable != 0:
        return unusable
    if doubted and not jump_believed:
        return _DOUBTED
    asked = due(price, at)
    if asked == STOP_DUE:
        return _STOP
    if asked == TARGET_DUE:
        return _TAKE
    if _is_forecast(expected, confidence) and expected <= policy.sell_threshold and confidence >= policy.confidence_threshold:
        return _SELL_SIGNAL
    return _PARTIAL if asked == PARTIAL_DUE and part > 0.0 else _HOLD


@njit(cache=True)
def _part(held: float, step: float, fraction: float) -> float:
    """Units that a partial exit sells: on the step, with at least a step sold and a step kept, else none."""
    units = math.floor(held * fraction / step + 1e-9) * step
    return units if units >= step and held - units >= step * (1.0 - 1e-9) else 0.0


@njit(cache=True)
def _is_forecast(expected: float, confidence: float) -> bool:
    return abs(expected) < np.inf and confidence >= 0.0 and confidence <= 1.0


@njit(cache=True, inline="always")
def _screen(reason: Integers, market: Market, holdings: Holdings, limits: RiskLimits, policy: Policy) -> None:
    """Why each symbol is no candidate by price, forecast and orders, _BUY_SIGNAL where nothing is said against it. The last
    line that speaks wins; no branches, so that it runs as vector code."""
    for i in range(len(reason)):
        price, expected, confidence = market.price[i], market.expected_return[i], market.confidence[i]
        said = _NO_SHORT if expected <= policy.sell_threshold else _BUY_SIGNAL
        said = _LOW_CONFIDENCE if confidence < policy.confidence_threshold else said
        said = _BELOW if (expected > policy.sell_threshold) & (expected < policy.buy_threshold) else said
        said = _ORDER_PENDING if (holdings.pending_buy[i] > 0.0) | (holdings.pending_exit[i] > 0.0) else said
        known = (abs(expected) < np.inf) & (confidence >= 0.0) & (confidence <= 1.0)
        said = said if known else _NO_FORECAST
        said = said if market.tradable[i] > 0.0 else _NOT_TRADABLE
        said = said if market.age_seconds[i] <= limits.max_price_age_seconds else _STALE
        reason[i] = said if (price > 0.0) & (price < np.inf) else _NO_PRICE


@njit(cache=True, inline="always")
def _candidates(work: Work, state: int, market: Market, holdings: Holdings, limits: RiskLimits) -> int:
    """Collects the symbols to be bought in `work.ranked`, in their order; how many there are."""
    count = 0
    for i in range(len(work.reason)):
        if work.reason[i] == _BUY_SIGNAL and not (holdings.quantity[i] > 0.0):
            volatility = market.volatility[i]
            extreme = _is_extreme(market.price[i], market.last_close[i], volatility, market.usual_volatility[i], limits)
            work.reason[i] = _judge_candidate(
                state, volatility, extreme, holdings.disabled[i], holdings.entries_today[i], holdings.exits_today[i], limits
            )
            if work.reason[i] == _BUY_SIGNAL:
                work.ranked[count] = i
                count += 1
    return count


@njit(cache=True)
def _judge_candidate(
    state: int, volatility: float, extreme: bool, disabled: float, entries_today: float, exits_today: float, limits: RiskLimits
) -> int:
    if state != ACTIVE:
        return _REDUCING if state == REDUCING else _HALTED
    if not (volatility > 0.0 and volatility < np.inf):
        return _NO_VOLATILITY
    if extreme:
        return _EXTREME
    if disabled > 0.0:
        return _DISABLED
    if entries_today >= limits.max_entries_per_day:
        return _ENTRIES
    return _TRADED if exits_today > 0.0 else _BUY_SIGNAL


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


@njit(cache=True, inline="always")
def _weakest(i: int, work: Work, active: int, market: Market, holdings: Holdings, policy: Policy) -> int:
    """The holding to give up for candidate `i`, or -1. A holding entered today stays: one turn per symbol and day."""
    weakest = -1
    for j in work.active[:active]:
        if (
            holdings.quantity[j] > 0.0
            and work.action[j] == NOTHING
            and work.reason[j] == _HOLD
            and holdings.entries_today[j] == 0.0
        ):
            known = abs(market.expected_return[j]) < np.inf
            if known and (weakest < 0 or market.expected_return[j] < market.expected_return[weakest]):
                weakest = j
    if weakest < 0:
        return -1
    advantage = market.expected_return[i] - market.expected_return[weakest]
    return weakest if advantage > policy.round_trip_cost_fraction + policy.rebalance_margin_fraction else -1
