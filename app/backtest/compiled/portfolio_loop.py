"""The event loop of `app.backtest.driver` on a `BarTape`, compiled: the same rules, the same matching, float money.

The decision is `app.engine.rules.judge`, the lines that live trading runs. What stands around it there in decimals (order
terms, the exact check, the venue's book) is repeated here in floats for what a decision can send: limit entries with a
take-profit and a stop-loss, market exits, stops that move up; all of them fill whole. Tests hold both loops together.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from app.backtest.compiled.portfolio_terms import (
    Costs,
    Steps,
    above,
    below,
    cents_above,
    commission,
    nearest,
    on_step,
    taken_at,
    tick,
)
from app.domain.bar import Floats
from app.domain.reason import Reason
from app.domain.trading_state import STEADY
from app.engine.rules import BUY, SELL, Holdings, Integers, Market, Measures, Money, Venue, Work, judge, room_for
from app.risk.breakers import ACTIVE, FLATTENING, HALTED, Standing
from app.risk.exits import BOUNDARY
from app.risk.limits import Policy, RiskLimits

LEG = 100  # added to the reason of a fill that a protective leg at the venue made
_TAKE, _STOP, _HOLD = LEG + int(Reason.TAKE_PROFIT), LEG + int(Reason.STOP_LOSS), int(Reason.HOLD_POSITION)
_BUY_SIGNAL, _EXACT, _ENTRIES = int(Reason.BUY_SIGNAL), int(Reason.EXACT_CHECK), int(Reason.ENTRIES_TODAY)
_PLAUSIBLE = 0.25  # as in `app.engine.decide`
_LEAST_DISTANCE = 0.01 - 1e-9  # of protective prices from the entry, at the venue
REASONS = max(int(reason) for reason in Reason) + 1
FILL = 7  # columns of a fill: bar, symbol, sign, quantity, price, commission, reason
CURVE = 4  # columns of the curve: equity, cash, positions, trading state


class Tapes(NamedTuple):
    """The market. open, high, low, volume: shape (n_symbols, n_bars). price, age: shape (n_bars, n_symbols), the newest close
    and its age in seconds; expected, confidence: the same shape. age and confidence may have one row that stands for all.
    edges: first bar of each session, and the end of the last. known_at: of each bar; closes_at: of each session, seconds.
    last_close, volatility, usual_volatility, atr: shape (n_sessions, n_symbols). stressed: shape (n_sessions,)."""

    open: Floats
    high: Floats
    low: Floats
    volume: Floats
    price: Floats
    age: Floats
    expected: Floats
    confidence: Floats
    edges: Integers
    known_at: Floats
    closes_at: Floats
    last_close: Floats
    volatility: Floats
    usual_volatility: Floats
    atr: Floats
    stressed: Integers


class Resting(NamedTuple):
    """Open orders, arrays of shape (n_symbols,), besides those the holdings tell of. reserved: cash of the entry. target, stop:
    prices of the legs, 0.0 without; the sequences say in which order what fills in one bar is booked. due: scratch."""

    reserved: Floats
    target: Floats
    stop: Floats
    entry_sequence: Integers
    target_sequence: Integers
    stop_sequence: Integers
    exit_sequence: Integers
    exit_reason: Integers
    due: Integers
    due_sequence: Integers
    due_price: Floats
    due_reason: Integers


class Book(NamedTuple):
    """The account. cash: (1,). counts: (6,), see the indices below. today: symbols that filled in this session."""

    cash: Floats
    counts: Integers
    reasons: Integers
    today: Integers
    holdings: Holdings
    resting: Resting


_ACTIVE, _FILLS, _SEQUENCE, _TODAY, _ORDERS, _REFUSED = range(6)
COUNTS = 6


class Traded(NamedTuple):
    """What came of it. fills: shape (n_fills, FILL); curve: shape (n_bars, CURVE). said: reason of each decision and symbol,
    shape (n_bars, n_symbols), no rows unless asked for. changes: shape (n, 6), what people are told: bar, old state (-1.0:
    symbols were disabled), state, cause, until, doubt."""

    fills: Floats
    curve: Floats
    said: npt.NDArray[np.int8]
    changes: Floats
    counts: Integers
    reasons: Integers
    standing: Standing
    baseline: float
    holdings: Holdings


def trade(
    tapes: Tapes,
    first: int,
    capital: float,
    standing: Standing,
    venue: Venue,
    steps: Steps,
    costs: Costs,
    limits: RiskLimits,
    policy: Policy,
    keep: bool,
) -> Traded:
    """Trade the sessions from `first` on. keep: whether the reason of every symbol at every decision is kept."""
    n_bars, n = tapes.price.shape
    book = _opened(n, capital)
    curve, changes = np.zeros((n_bars, CURVE)), np.empty((2 * n_bars, 6))
    # Each slot fills once a bar at most; rows that are never written take no memory.
    fills = np.empty((n_bars * min(n, limits.max_positions), FILL))
    said = np.zeros((n_bars if keep else 0, n), np.int8)
    ended, baseline, changed = _run(
        tapes, first, capital, standing, venue, steps, costs, limits, policy, book, room_for(n), curve, fills, changes, said
    )
    found = fills[: book.counts[_FILLS]].copy()
    return Traded(found, curve, said, changes[:changed].copy(), book.counts, book.reasons, ended, baseline, book.holdings)


# Without reference counts: they cost ten times what the loop itself does. It therefore makes no array and returns none.
@njit(cache=True, nogil=True, _nrt=False)
def _run(
    tapes: Tapes,
    first: int,
    capital: float,
    standing: Standing,
    venue: Venue,
    steps: Steps,
    costs: Costs,
    limits: RiskLimits,
    policy: Policy,
    book: Book,
    work: Work,
    curve: Floats,
    fills: Floats,
    changes: Floats,
    said: npt.NDArray[np.int8],
) -> tuple[Standing, float, int]:
    """(standing at the end, baseline of the daily loss, rows of `changes`)."""
    baseline, baseline_session, previous, changed = capital, first, capital, 0
    for session in range(first, len(tapes.closes_at)):
        _new_day(book)
        for t in range(tapes.edges[session], tapes.edges[session + 1]):
            _match(t, tapes, book, work, fills, costs, steps)
            last = t + 1 == tapes.edges[session + 1]
            at_close = tapes.known_at[t] >= tapes.closes_at[session]
            if last and at_close:
                _expire(book, work)
            equity = _equity(t, tapes, book, work, steps)
            if session != baseline_session and _plausible(previous, equity, baseline):
                baseline, baseline_session = previous, session
                standing = _calm(standing)
            before = standing
            standing, measures = _decide(t, session, tapes, book, work, before, equity, baseline, venue, steps, limits, policy)
            changed = _note(t, before, standing, measures, changes, changed)
            changed = _disable(t, book, work, changes, changed)
            if len(said) > 0:
                for i in range(len(work.reason)):
                    said[t, i] = work.reason[i]
            if last and not at_close:
                _expire(book, work)
            curve[t, 0], curve[t, 1], curve[t, 2], curve[t, 3] = equity, book.cash[0], _held(book, work), standing.state
        previous = curve[tapes.edges[session + 1] - 1, 0]
    return standing, baseline, changed


def _opened(n: int, capital: float) -> Book:
    z, k = np.zeros((16, n)), np.zeros((9, n), np.int64)
    holdings = Holdings(*z[:12])
    resting = Resting(z[12], z[13], z[14], k[0], k[1], k[2], k[3], k[4], k[5], k[6], z[15], k[7])
    cash = np.full(1, capital)
    return Book(cash, np.zeros(COUNTS, np.int64), np.zeros(REASONS, np.int64), k[8], holdings, resting)


@njit(cache=True, inline="always")
def _new_day(book: Book) -> None:
    """What was entered and left counts afresh."""
    for i in book.today[: book.counts[_TODAY]]:
        book.holdings.entries_today[i], book.holdings.exits_today[i] = 0.0, 0.0
    book.counts[_TODAY] = 0


@njit(cache=True)
def _plausible(previous: float, equity: float, baseline: float) -> bool:
    """Whether the equity at the last close can be the new baseline of the daily loss."""
    if not (previous > 0.0 and previous < math.inf):
        return False
    near_equity = equity > 0.0 and abs(previous / equity - 1.0) <= _PLAUSIBLE
    return near_equity or (baseline > 0.0 and abs(previous / baseline - 1.0) <= _PLAUSIBLE)


@njit(cache=True)
def _calm(standing: Standing) -> Standing:
    """The standing in a new session: with the baseline a suspicion ends."""
    return Standing(
        standing.state, standing.cause, standing.until, math.nan, standing.high_water, standing.steady, standing.doubted
    )


@njit(cache=True, inline="always")
def _note(t: int, before: Standing, after: Standing, measures: Measures, changes: Floats, count: int) -> int:
    """What a person is told: the state or its cause changed, or a reading is not believed for the first time."""
    doubted = measures.doubt != 0 and after.steady < STEADY and before.steady == STEADY
    if before.state == after.state and before.cause == after.cause and not doubted:
        return count
    row = changes[count]
    row[0], row[1], row[2], row[3], row[4] = t, before.state, after.state, after.cause, after.until
    row[5] = measures.doubt
    return count + 1


@njit(cache=True, inline="always")
def _disable(t: int, book: Book, work: Work, changes: Floats, count: int) -> int:
    """Symbols of which one more entry than a day allows was asked for are not entered again."""
    found = False
    for i in book.today[: book.counts[_TODAY]]:
        if work.reason[i] == _ENTRIES and book.holdings.disabled[i] == 0.0:
            book.holdings.disabled[i], found = 1.0, True
    if not found:
        return count
    changes[count, 0], changes[count, 1] = t, -1.0
    return count + 1


@njit(cache=True, inline="always")
def _equity(t: int, tapes: Tapes, book: Book, work: Work, steps: Steps) -> float:
    """Cash and holdings at the newest prices, as the venue marks them."""
    value = float(book.cash[0])
    for i in work.active[: book.counts[_ACTIVE]]:
        if book.holdings.quantity[i] > 0.0:
            value += book.holdings.quantity[i] * nearest(i, tapes.price[t, i], steps)
    return value


@njit(cache=True, inline="always")
def _held(book: Book, work: Work) -> int:
    count = 0
    for i in work.active[: book.counts[_ACTIVE]]:
        count += book.holdings.quantity[i] > 0.0
    return count


@njit(cache=True, inline="always")
def _match(t: int, tapes: Tapes, book: Book, work: Work, fills: Floats, costs: Costs, steps: Steps) -> None:
    """Fill what bar `t` fills, in the order in which the orders were sent."""
    holdings, resting, due = book.holdings, book.resting, 0
    for i in work.active[: book.counts[_ACTIVE]]:
        price, reason, sequence = _touch(i, t, tapes, holdings, resting, costs, steps)
        if price > 0.0:
            k = due
            while k > 0 and resting.due_sequence[k - 1] > sequence:
                resting.due[k], resting.due_sequence[k] = resting.due[k - 1], resting.due_sequence[k - 1]
                resting.due_price[k], resting.due_reason[k] = resting.due_price[k - 1], resting.due_reason[k - 1]
                k -= 1
            resting.due[k], resting.due_sequence[k], resting.due_price[k], resting.due_reason[k] = i, sequence, price, reason
            due += 1
    for k in range(due):
        _fill(resting.due[k], t, resting.due_price[k], resting.due_reason[k], book, work, fills, costs)


@njit(cache=True, inline="always")
def _touch(
    i: int, t: int, tapes: Tapes, holdings: Holdings, resting: Resting, costs: Costs, steps: Steps
) -> tuple[float, int, int]:
    """(price, reason, sequence) of what fills for symbol `i` in bar `t`, price 0.0 for nothing: see `app.engine.matching`."""
    opened = tapes.open[i, t]
    if holdings.pending_buy[i] > 0.0:
        limit = holdings.pending_price[i]
        if tapes.low[i, t] <= limit:
            return min(nearest(i, opened, steps), limit), _BUY_SIGNAL, resting.entry_sequence[i]
        return 0.0, 0, 0
    held = holdings.quantity[i]
    if holdings.pending_exit[i] > 0.0:
        if not math.isfinite(opened):
            return 0.0, 0, 0
        price = taken_at(i, nearest(i, opened, steps), -1.0, held, tapes.volume[i, t], costs, steps)
        return price, resting.exit_reason[i], resting.exit_sequence[i]
    stop, target = resting.stop[i], resting.target[i]
    if stop == 0.0:
        return 0.0, 0, 0
    lost, gained = tapes.low[i, t] <= stop, tapes.high[i, t] >= target
    if gained and (not lost or opened >= target):
        return max(nearest(i, opened, steps), target), _TAKE, resting.target_sequence[i]
    if lost:
        touched = min(nearest(i, opened, steps), stop)
        price = taken_at(i, touched, -1.0, held, tapes.volume[i, t], costs, steps)
        return price, _STOP, resting.stop_sequence[i]
    return 0.0, 0, 0


@njit(cache=True, inline="always")
def _fill(i: int, t: int, price: float, reason: int, book: Book, work: Work, fills: Floats, costs: Costs) -> None:
    """Book one fill; a buy for which the cash is gone is cancelled instead."""
    holdings, resting, counts = book.holdings, book.resting, book.counts
    buys = holdings.pending_buy[i] > 0.0
    quantity = holdings.pending_buy[i] if buys else holdings.quantity[i]
    charged, value = commission(quantity, price, costs), quantity * price
    if buys:
        free = book.cash[0] - _reserved(book, work) + resting.reserved[i]
        _cancel_entry(i, holdings, resting)
        if value > free + 1e-9:
            _drop(i, book, work)
            return
        book.cash[0] -= value + charged
        holdings.quantity[i], holdings.entry[i] = quantity, price
        holdings.initial_stop[i], holdings.best[i], holdings.stop[i], holdings.partial_taken[i] = 0.0, 0.0, 0.0, 0.0
    else:
        book.cash[0] += value - charged
        holdings.quantity[i], holdings.entry[i], holdings.pending_exit[i] = 0.0, 0.0, 0.0
        resting.stop[i], resting.target[i] = 0.0, 0.0
        _drop(i, book, work)
    if holdings.entries_today[i] == 0.0 and holdings.exits_today[i] == 0.0:
        book.today[counts[_TODAY]] = i
        counts[_TODAY] += 1
    if buys:
        holdings.entries_today[i] += 1.0
    else:
        holdings.exits_today[i] += 1.0
    row = fills[counts[_FILLS]]
    row[0], row[1], row[2], row[3], row[4], row[5], row[6] = t, i, 1.0 if buys else -1.0, quantity, price, charged, reason
    counts[_FILLS] += 1


@njit(cache=True, inline="always")
def _reserved(book: Book, work: Work) -> float:
    """Cash that open entries hold."""
    total = 0.0
    for i in work.active[: book.counts[_ACTIVE]]:
        if book.holdings.pending_buy[i] > 0.0:
            total += book.resting.reserved[i]
    return total


@njit(cache=True)
def _cancel_entry(i: int, holdings: Holdings, resting: Resting) -> None:
    holdings.pending_buy[i], holdings.pending_price[i], resting.reserved[i] = 0.0, 0.0, 0.0


@njit(cache=True, inline="always")
def _drop(i: int, book: Book, work: Work) -> None:
    """Symbol `i` is neither held nor being bought any more."""
    count, found = book.counts[_ACTIVE], 0
    for k in range(count):
        if work.active[k] == i:
            found = k
    for k in range(found, count - 1):
        work.active[k] = work.active[k + 1]
    book.counts[_ACTIVE] = count - 1


@njit(cache=True, inline="always")
def _add(i: int, book: Book, work: Work) -> None:
    """Symbol `i` is being bought; the list stays in symbol order."""
    k = book.counts[_ACTIVE]
    while k > 0 and work.active[k - 1] > i:
        work.active[k] = work.active[k - 1]
        k -= 1
    work.active[k] = i
    book.counts[_ACTIVE] += 1


@njit(cache=True, inline="always")
def _expire(book: Book, work: Work) -> None:
    """Exits are orders of the day."""
    for i in work.active[: book.counts[_ACTIVE]]:
        book.holdings.pending_exit[i] = 0.0


@njit(cache=True, inline="always")
def _decide(
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
    policy: Policy,
) -> tuple[Standing, Measures]:
    """One decision, and its orders sent."""
    holdings, cash = book.holdings, book.cash[0]
    market = Market(
        tapes.price[t], tapes.age[t if len(tapes.age) > 1 else 0], tapes.volatility[session], steps.tradable, tapes.expected[t],
        tapes.confidence[t if len(tapes.confidence) > 1 else 0], steps.quantity_step, steps.minimum_notional,
        tapes.last_close[session], tapes.usual_volatility[session], tapes.atr[session],
    )  # fmt: skip
    money = Money(cash, equity, baseline, max(cash - _reserved(book, work), 0.0))
    following, measures, candidates = judge(
        work, book.counts[_ACTIVE], tapes.known_at[t], standing, market, holdings, money, venue, limits, policy,
        math.nan, tapes.stressed[session] != 0,
    )  # fmt: skip
    if following.state == standing.state and following.cause == standing.cause:
        following = Standing(
            following.state, following.cause, standing.until, following.suspected_at, following.high_water, following.steady,
            following.doubted,
        )  # fmt: skip
    _remember(book, work)
    _enter(candidates, following.state, market, book, work, money, measures, steps, limits, policy)
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
    while k < counts[_ACTIVE]:
        i = work.active[k]
        if holdings.pending_buy[i] > 0.0:
            _cancel_entry(i, holdings, resting)
            resting.stop[i], resting.target[i] = 0.0, 0.0
            _drop(i, book, work)
            continue
        holdings.initial_stop[i], holdings.best[i] = work.progress[i, 0], work.progress[i, 1]
        holdings.stop[i], holdings.partial_taken[i] = work.progress[i, 2], work.progress[i, 3]
        if work.action[i] == SELL:
            counts[_SEQUENCE] += 1
            counts[_ORDERS] += 1
            holdings.pending_exit[i], resting.exit_reason[i] = 1.0, work.reason[i]
            resting.exit_sequence[i] = counts[_SEQUENCE]
            resting.stop[i], resting.target[i] = 0.0, 0.0
        k += 1


@njit(cache=True, inline="always")
def _enter(
    candidates: int,
    state: int,
    market: Market,
    book: Book,
    work: Work,
    money: Money,
    measures: Measures,
    steps: Steps,
    limits: RiskLimits,
    policy: Policy,
) -> None:
    """Send the entries that pass the exact check of `app.risk.checks`, best first."""
    # The room is that of the moment of the decision: its own exits and cancels give nothing back yet.
    equity, buying_power = min(money.equity, measures.marked), min(money.buying_power, money.cash)
    gross, positions = measures.gross, measures.taken
    for i in work.ranked[:candidates]:
        if work.action[i] != BUY:
            continue
        price = market.price[i]
        quantity = on_step(i, work.quantity[i], steps)
        limit = below(i, price * (1.0 + limits.price_collar_fraction), steps)
        target = above(i, price * (1.0 + limits.take_profit_fraction), steps)
        stop = above(i, _first_stop(price, market.atr[i], limits, policy), steps)
        value = quantity * limit
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
        )
        if not exact:
            work.reason[i] = _EXACT
            continue
        gross, buying_power, positions = gross + value, buying_power - value, positions + 1
        _send_entry(i, quantity, limit, target, stop, book, work)


@njit(cache=True)
def _first_stop(price: float, atr: float, limits: RiskLimits, policy: Policy) -> float:
    stop, multiple = price * (1.0 - limits.stop_loss_fraction), policy.exits.atr_stop_multiple
    return max(stop, price - multiple * atr) if multiple > 0.0 and atr > 0.0 and atr < math.inf else stop


@njit(cache=True, inline="always")
def _send_entry(i: int, quantity: float, limit: float, target: float, stop: float, book: Book, work: Work) -> None:
    """The venue takes the entry with both its legs, or refuses it."""
    holdings, resting, counts = book.holdings, book.resting, book.counts
    counts[_ORDERS] += 1
    counts[_SEQUENCE] += 1
    reserved = cents_above(quantity * limit)
    too_close = limit - stop < _LEAST_DISTANCE or target - limit < _LEAST_DISTANCE
    if too_close or reserved > max(book.cash[0] - _reserved(book, work), 0.0) + 1e-9:
        counts[_REFUSED] += 1
        return
    _add(i, book, work)
    holdings.pending_buy[i], holdings.pending_price[i], resting.reserved[i] = quantity, limit, reserved
    resting.target[i], resting.stop[i] = target, stop
    resting.entry_sequence[i] = counts[_SEQUENCE]
    resting.target_sequence[i], resting.stop_sequence[i] = counts[_SEQUENCE] + 1, counts[_SEQUENCE] + 2
    counts[_SEQUENCE] += 2


@njit(cache=True, inline="always")
def _move_stops(market: Market, book: Book, work: Work, steps: Steps) -> None:
    """Move the stops at the venue that break-even or trailing has left at least a tick behind."""
    resting, counts = book.resting, book.counts
    for i in work.active[: counts[_ACTIVE]]:
        if work.reason[i] != _HOLD or resting.stop[i] == 0.0 or not book.holdings.stop[i] > 0.0:
            continue
        wanted = below(i, work.levels[i, 0] * (1.0 + BOUNDARY), steps)
        step = tick(i, wanted, steps)
        if wanted > 0.0 and wanted - resting.stop[i] >= step * (1.0 - 1e-6) and wanted < market.price[i]:
            counts[_SEQUENCE] += 1
            resting.stop[i], resting.stop_sequence[i] = wanted, counts[_SEQUENCE]
