"""A decision in the compiled loop of a portfolio: `app.engine.rules`, and its orders as `app.engine.orders` writes them."""

from __future__ import annotations

import math

from numba import njit

from app.backtest.compiled.portfolio_book import (
    N_ACTIVE,
    N_ORDERS,
    N_REFUSED,
    N_SEQUENCE,
    Book,
    Tapes,
    add,
    cancel_entry,
    drop,
    reserved_cash,
)
from app.backtest.compiled.portfolio_terms import Steps, above, below, cents_above, on_step, tick
from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.reason import Reason
from app.engine.rules import BUY, SELL, Heard, Market, Measures, Money, Sleeves, Venue, Work, judge, policy_of
from app.risk.breakers import ACTIVE, FLATTENING, HALTED, Standing
from app.risk.exits import BOUNDARY
from app.risk.limits import RiskLimits

_EXACT, _HOLD = int(Reason.EXACT_CHECK), int(Reason.HOLD_POSITION)
_LEAST_DISTANCE = 0.01 - 1e-9  # of protective prices from the entry, at the venue


@njit(cache=True, inline="always")
def decide_and_send(
    t: int,
    session: int,
    tapes: Tapes,
    book: Book,
    work: Work,
    standing: Standing,
    equity: float,
    baseline: float,
    venue: Venue,
    steps: Steps,
    limits: RiskLimits,
    rules: Floats,
) -> tuple[Standing, Measures]:
    """One decision, and its orders sent."""
    holdings, cash = book.holdings, book.cash[0]
    market = Market(
        tapes.price[t], tapes.age[t if len(tapes.age) > 1 else 0], tapes.volatility[session], steps.tradable,
        steps.quantity_step, steps.minimum_notional, tapes.last_close[session], tapes.usual_volatility[session],
        tapes.atr[session],
    )  # fmt: skip
    money = Money(cash, equity, baseline, max(cash - reserved_cash(book, work), 0.0))
    sleeves = Sleeves(rules, tapes.expected[t], tapes.confidence[t if len(tapes.confidence) > 1 else 0])
    following, measures, heard, candidates = judge(
        work, book.counts[N_ACTIVE], tapes.known_at[t], standing, market, holdings, money, venue, limits, sleeves,
        math.nan, tapes.stressed[session] != 0,
    )  # fmt: skip
    if following.state == standing.state and following.cause == standing.cause:
        following = Standing(
            following.state, following.cause, standing.until, following.suspected_at, following.high_water, following.steady,
            following.doubted,
        )  # fmt: skip
    _remember(book, work)
    _enter(candidates, following.state, market, heard, book, work, money, measures, steps, limits, rules)
    if following.state not in (HALTED, FLATTENING):
        _move_stops(market, book, work, steps)
    for i in range(len(work.reason)):
        book.reasons[work.reason[i]] += 1
    return following, measures


@njit(cache=True, inline="always")
def _remember(book: Book, work: Work) -> None:
    """What the exits remember; exits are sent, and the entries of the decision before cancelled."""
    holdings, resting, counts = book.holdings, book.resting, book.counts
    k = 0
    while k < counts[N_ACTIVE]:
        i = work.active[k]
        if holdings.pending_buy[i] > 0.0:
            cancel_entry(i, holdings, resting)
            resting.stop[i], resting.target[i] = 0.0, 0.0
            drop(i, book, work)
            continue
        holdings.initial_stop[i], holdings.best[i] = work.progress[i, 0], work.progress[i, 1]
        holdings.stop[i], holdings.partial_taken[i] = work.progress[i, 2], work.progress[i, 3]
        if work.action[i] == SELL:
            counts[N_SEQUENCE] += 1
            counts[N_ORDERS] += 1
            holdings.pending_exit[i], resting.exit_reason[i] = 1.0, work.reason[i]
            resting.exit_sequence[i] = counts[N_SEQUENCE]
            resting.stop[i], resting.target[i] = 0.0, 0.0
        k += 1


@njit(cache=True, inline="always")
def _enter(
    candidates: int,
    state: int,
    market: Market,
    heard: Heard,
    book: Book,
    work: Work,
    money: Money,
    measures: Measures,
    steps: Steps,
    limits: RiskLimits,
    rules: Floats,
) -> None:
    """Send the entries that pass the exact check of `app.risk.checks`, best first."""
    # The room is that of the moment of the decision: its own exits and cancels give nothing back yet.
    equity, buying_power = min(money.equity, measures.marked), min(money.buying_power, money.cash)
    gross, positions = measures.gross, measures.taken
    for i in work.ranked[:candidates]:
        if work.action[i] != BUY:
            continue
        price, exits = market.price[i], policy_of(rules, heard.sleeve[i]).exits
        quantity = on_step(i, work.quantity[i], steps)
        limit = below(i, price * (1.0 + limits.price_collar_fraction), steps)
        target = above(i, price * (1.0 + exits.take_profit_fraction), steps)
        stop = above(i, _first_stop(price, market.atr[i], exits), steps)
        value, left = quantity * limit, work.left[heard.sleeve[i]]
        exact = (
            state == ACTIVE
            and quantity > 0.0
            and limit > 0.0
            and stop > 0.0
            and positions < limits.max_positions
            and value <= limits.max_position_fraction * equity
            and gross + value <= limits.max_exposure_fraction * equity
            and value <= buying_power
            and (limit - stop) * quantity <= limits.risk_per_trade_fraction * equity
            and value >= market.minimum_notional[i]
            and value <= left
        )
        if not exact:
            work.reason[i] = _EXACT
            continue
        gross, buying_power, positions = gross + value, buying_power - value, positions + 1
        work.left[heard.sleeve[i]] = left - value
        book.holdings.sleeve[i] = heard.sleeve[i]
        _send_entry(i, quantity, limit, target, stop, book, work)


@njit(cache=True)
def _first_stop(price: float, atr: float, exits: ExitPolicy) -> float:
    stop, multiple = price * (1.0 - exits.stop_loss_fraction), exits.atr_stop_multiple
    return max(stop, price - multiple * atr) if multiple > 0.0 and atr > 0.0 and atr < math.inf else stop


@njit(cache=True, inline="always")
def _send_entry(i: int, quantity: float, limit: float, target: float, stop: float, book: Book, work: Work) -> None:
    """The venue takes the entry with both its legs, or refuses it."""
    holdings, resting, counts = book.holdings, book.resting, book.counts
    counts[N_ORDERS] += 1
    counts[N_SEQUENCE] += 1
    reserved = cents_above(quantity * limit)
    too_close = limit - stop < _LEAST_DISTANCE or target - limit < _LEAST_DISTANCE
    if too_close or reserved > max(book.cash[0] - reserved_cash(book, work), 0.0) + 1e-9:
        counts[N_REFUSED] += 1
        return
    add(i, book, work)
    holdings.pending_buy[i], holdings.pending_price[i], resting.reserved[i] = quantity, limit, reserved
    resting.target[i], resting.stop[i] = target, stop
    resting.entry_sequence[i] = counts[N_SEQUENCE]
    resting.target_sequence[i], resting.stop_sequence[i] = counts[N_SEQUENCE] + 1, counts[N_SEQUENCE] + 2
    counts[N_SEQUENCE] += 2


@njit(cache=True, inline="always")
def _move_stops(market: Market, book: Book, work: Work, steps: Steps) -> None:
    """Move the stops at the venue that break-even or trailing has left at least a tick behind."""
    resting, counts = book.resting, book.counts
    for i in work.active[: counts[N_ACTIVE]]:
        if work.reason[i] != _HOLD or resting.stop[i] == 0.0 or not book.holdings.stop[i] > 0.0:
            continue
        wanted = below(i, work.levels[i, 0] * (1.0 + BOUNDARY), steps)
        step = tick(i, wanted, steps)
        if wanted > 0.0 and wanted - resting.stop[i] >= step * (1.0 - 1e-6) and wanted < market.price[i]:
            counts[N_SEQUENCE] += 1
            resting.stop[i], resting.stop_sequence[i] = wanted, counts[N_SEQUENCE]
