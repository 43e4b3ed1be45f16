"""What the compiled loop of a portfolio reads and keeps: the tapes, the book, the open orders, what came of it."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from app.domain.bar import Floats
from app.domain.reason import Reason
from app.engine.rules import Holdings, Integers, Work
from app.risk.breakers import Standing

REASONS = max(int(reason) for reason in Reason) + 1
FILL = 8  # columns of a fill: bar, symbol, sign, quantity, price, commission, reason, sleeve
CURVE = 4  # columns of the curve: equity, cash, positions, trading state
N_ACTIVE, N_FILLS, N_SEQUENCE, N_TODAY, N_ORDERS, N_REFUSED = range(6)  # of `Book.counts`
COUNTS = 6


class Tapes(NamedTuple):
    """The market. open, high, low, volume: shape (n_symbols, n_bars). price, age: shape (n_bars, n_symbols), the newest close
    and its age in seconds, where one row may stand for all. expected: shape (n_bars, n_sleeves, n_symbols); confidence: the
    same, or one row for all bars.
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


def opened_book(n: int, capital: float) -> Book:
    """An account with nothing but cash."""
    z, k = np.zeros((17, n)), np.zeros((9, n), np.int64)
    holdings = Holdings(*z[:13])
    resting = Resting(z[13], z[14], z[15], k[0], k[1], k[2], k[3], k[4], k[5], k[6], z[16], k[7])
    cash = np.full(1, capital)
    return Book(cash, np.zeros(COUNTS, np.int64), np.zeros(REASONS, np.int64), k[8], holdings, resting)


@njit(cache=True, inline="always")
def new_day(book: Book) -> None:
    """What was entered and left counts afresh."""
    for i in book.today[: book.counts[N_TODAY]]:
        book.holdings.entries_today[i], book.holdings.exits_today[i] = 0.0, 0.0
    book.counts[N_TODAY] = 0


@njit(cache=True, inline="always")
def held_count(book: Book, work: Work) -> int:
    """Number of holdings."""
    count = 0
    for i in work.active[: book.counts[N_ACTIVE]]:
        count += book.holdings.quantity[i] > 0.0
    return count


@njit(cache=True, inline="always")
def reserved_cash(book: Book, work: Work) -> float:
    """Cash that open entries hold."""
    total = 0.0
    for i in work.active[: book.counts[N_ACTIVE]]:
        if book.holdings.pending_buy[i] > 0.0:
            total += book.resting.reserved[i]
    return total


@njit(cache=True)
def cancel_entry(i: int, holdings: Holdings, resting: Resting) -> None:
    """The entry in symbol `i` is no more."""
    holdings.pending_buy[i], holdings.pending_price[i], resting.reserved[i] = 0.0, 0.0, 0.0


@njit(cache=True, inline="always")
def drop(i: int, book: Book, work: Work) -> None:
    """Symbol `i` is neither held nor being bought any more."""
    count, found = book.counts[N_ACTIVE], 0
    for k in range(count):
        if work.active[k] == i:
            found = k
    for k in range(found, count - 1):
        work.active[k] = work.active[k + 1]
    book.counts[N_ACTIVE] = count - 1


@njit(cache=True, inline="always")
def add(i: int, book: Book, work: Work) -> None:
    """Symbol `i` is being bought; the list stays in symbol order."""
    k = book.counts[N_ACTIVE]
    while k > 0 and work.active[k - 1] > i:
        work.active[k] = work.active[k - 1]
        k -= 1
    work.active[k] = i
    book.counts[N_ACTIVE] += 1


@njit(cache=True, inline="always")
def expire_exits(book: Book, work: Work) -> None:
    """Exits are orders of the day."""
    for i in work.active[: book.counts[N_ACTIVE]]:
        book.holdings.pending_exit[i] = 0.0
