"""The event loop of `app.backtest.driver` on a `BarTape`, compiled: the same rules, the same matching, float money.

The decision is `app.engine.rules.judge`, the lines that live trading runs. What stands around it there in decimals (order
terms, the exact check, the venue's book) is repeated here in floats for what a decision can send: limit entries with a
take-profit and a stop-loss, market exits, stops that move up; all of them fill whole. Tests hold both loops together.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt
from numba import njit

from app.backtest.compiled.portfolio_book import (
    CURVE,
    FILL,
    N_FILLS,
    N_TODAY,
    Book,
    Tapes,
    Traded,
    expire_exits,
    held_count,
    new_day,
    opened_book,
)
from app.backtest.compiled.portfolio_decide import decide_and_send
from app.backtest.compiled.portfolio_match import equity_of, match
from app.backtest.compiled.portfolio_terms import Costs, Steps
from app.domain.bar import Floats
from app.domain.reason import Reason
from app.domain.trading_state import STEADY
from app.engine.rules import Measures, Venue, Work, room_for
from app.risk.breakers import Standing
from app.risk.limits import RiskLimits

_ENTRIES = int(Reason.ENTRIES_TODAY)
_PLAUSIBLE = 0.25  # as in `app.engine.decide`


def trade(
    tapes: Tapes,
    first: int,
    capital: float,
    standing: Standing,
    venue: Venue,
    steps: Steps,
    costs: Costs,
    limits: RiskLimits,
    rules: Floats,
    keep: bool,
) -> Traded:
    """Trade the sessions from `first` on. rules: of the sleeves, see `app.engine.rules.Sleeves`. keep: whether the reason of
    every symbol at every decision is kept."""
    n_bars, n = tapes.price.shape
    book = opened_book(n, capital)
    curve, changes = np.zeros((n_bars, CURVE)), np.empty((2 * n_bars, 6))
    # Each slot fills once a bar at most; rows that are never written take no memory.
    fills = np.empty((n_bars * min(n, limits.max_positions), FILL))
    said = np.zeros((n_bars if keep else 0, n), np.int8)
    work = room_for(n, len(rules))
    ended, baseline, changed = _run(
        tapes, first, capital, standing, venue, steps, costs, limits, rules, book, work, curve, fills, changes, said
    )
    found = fills[: book.counts[N_FILLS]].copy()
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
    rules: Floats,
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
        new_day(book)
        for t in range(tapes.edges[session], tapes.edges[session + 1]):
            match(t, tapes, book, work, fills, costs, steps)
            last = t + 1 == tapes.edges[session + 1]
            at_close = tapes.known_at[t] >= tapes.closes_at[session]
            if last and at_close:
                expire_exits(book, work)
            equity = equity_of(t, tapes, book, work, steps)
            if session != baseline_session and _plausible(previous, equity, baseline):
                baseline, baseline_session = previous, session
                standing = _calm(standing)
            before = standing
            standing, measures = decide_and_send(
                t, session, tapes, book, work, before, equity, baseline, venue, steps, limits, rules
            )
            changed = _note(t, before, standing, measures, changes, changed)
            changed = _disable(t, book, work, changes, changed)
            if len(said) > 0:
                for i in range(len(work.reason)):
                    said[t, i] = work.reason[i]
            if last and not at_close:
                expire_exits(book, work)
            curve[t, 0], curve[t, 1], curve[t, 2], curve[t, 3] = equity, book.cash[0], held_count(book, work), standing.state
        previous = curve[tapes.edges[session + 1] - 1, 0]
    return standing, baseline, changed


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
    for i in book.today[: book.counts[N_TODAY]]:
        if work.reason[i] == _ENTRIES and book.holdings.disabled[i] == 0.0:
            book.holdings.disabled[i], found = 1.0, True
    if not found:
        return count
    changes[count, 0], changes[count, 1] = t, -1.0
    return count + 1
