"""What a bar fills, in the compiled loop of a portfolio: the rules of `app.engine.matching` for orders that fill whole."""

from __future__ import annotations

import math

from numba import njit

from app.backtest.compiled.portfolio_book import (
    N_ACTIVE,
    N_FILLS,
    N_TODAY,
    Book,
    Resting,
    Tapes,
    cancel_entry,
    drop,
    reserved_cash,
)
from app.backtest.compiled.portfolio_terms import Costs, Steps, commission, nearest, taken_at
from app.domain.bar import Floats
from app.domain.reason import Reason
from app.engine.rules import Holdings, Work

LEG = 100  # added to the reason of a fill that a protective leg at the venue made
_TAKE, _STOP, _BUY_SIGNAL = LEG + int(Reason.TAKE_PROFIT), LEG + int(Reason.STOP_LOSS), int(Reason.BUY_SIGNAL)


@njit(cache=True, inline="always")
def equity_of(t: int, tapes: Tapes, book: Book, work: Work, steps: Steps) -> float:
    """Cash and holdings at the newest prices, as the venue marks them."""
    value = float(book.cash[0])
    for i in work.active[: book.counts[N_ACTIVE]]:
        if book.holdings.quantity[i] > 0.0:
            value += book.holdings.quantity[i] * nearest(i, tapes.price[t, i], steps)
    return value


@njit(cache=True, inline="always")
def match(t: int, tapes: Tapes, book: Book, work: Work, fills: Floats, costs: Costs, steps: Steps) -> None:
    """Fill what bar `t` fills, in the order in which the orders were sent."""
    holdings, resting, due = book.holdings, book.resting, 0
    for i in work.active[: book.counts[N_ACTIVE]]:
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
        free = book.cash[0] - reserved_cash(book, work) + resting.reserved[i]
        cancel_entry(i, holdings, resting)
        if value > free + 1e-9:
            drop(i, book, work)
            return
        book.cash[0] -= value + charged
        holdings.quantity[i], holdings.entry[i] = quantity, price
        holdings.initial_stop[i], holdings.best[i], holdings.stop[i], holdings.partial_taken[i] = 0.0, 0.0, 0.0, 0.0
    else:
        book.cash[0] += value - charged
        holdings.quantity[i], holdings.entry[i], holdings.pending_exit[i] = 0.0, 0.0, 0.0
        resting.stop[i], resting.target[i] = 0.0, 0.0
        drop(i, book, work)
    if holdings.entries_today[i] == 0.0 and holdings.exits_today[i] == 0.0:
        book.today[counts[N_TODAY]] = i
        counts[N_TODAY] += 1
    if buys:
        holdings.entries_today[i] += 1.0
    else:
        holdings.exits_today[i] += 1.0
    row = fills[counts[N_FILLS]]
    row[0], row[1], row[2], row[3], row[4], row[5] = t, i, 1.0 if buys else -1.0, quantity, price, charged
    row[6], row[7] = reason, holdings.sleeve[i]
    counts[N_FILLS] += 1
