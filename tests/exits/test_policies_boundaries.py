"""R07 for the exits that move: break-even, trailing and partial targets fire exactly at the written rule, for every price from
0.01 to 2,000.00 in cents.

In whole cents, so in exact numbers: at +1 R of a 5 % stop at 100 * price >= 105 * entry, a trailing stop of 4 % at 100 * price
<= 96 * best."""

from __future__ import annotations

import numpy as np
from numba import njit

from app.risk.exits import FRESH, PARTIAL_DUE, STOP_DUE, ExitPolicy, Progress, due, follow, levels

CENTS = np.arange(1, 200_001)
BREAK_EVEN = ExitPolicy(break_even_at_r=1.0)
TRAILING = ExitPolicy(trailing_fraction=0.04, take_profit_fraction=0.0)
PARTIAL = ExitPolicy(partial_at_r=1.0, partial_fraction=0.5)


@njit
def _moved(entry, price, policy):  # type: ignore[no-untyped-def]
    """The stop remembered after one price."""
    stops = np.empty(len(entry))
    for i in range(len(entry)):
        stops[i] = follow(entry[i], FRESH, price[i], np.nan, policy).stop
    return stops


@njit
def _asked(entry, best, price, policy):  # type: ignore[no-untyped-def]
    """What a price asks for after the best one."""
    codes = np.empty(len(entry), np.int64)
    for i in range(len(entry)):
        progress = follow(entry[i], Progress(0.0, 0.0, 0.0, 0.0), best[i], np.nan, policy)
        codes[i] = due(price[i], levels(entry[i], progress, policy))
    return codes


def test_break_even_begins_at_one_r() -> None:
    at = -(-CENTS * 105 // 100)
    assert (_moved(CENTS / 100, at / 100, BREAK_EVEN) == CENTS / 100).all()
    below = at - 1 > 0
    assert (_moved(CENTS[below] / 100, (at[below] - 1) / 100, BREAK_EVEN) == 0.0).all()


def test_break_even_stops_at_the_entry() -> None:
    best = -(-CENTS * 105 // 100)
    assert (_asked(CENTS / 100, best / 100, CENTS / 100, BREAK_EVEN) == STOP_DUE).all()
    assert (_asked(CENTS / 100, best / 100, (CENTS + 1) / 100, BREAK_EVEN) != STOP_DUE).all()


def test_a_trailing_stop_follows_the_best_price() -> None:
    at = CENTS * 96 // 100
    sound = at >= 1
    assert (_asked(CENTS[sound] / 100, CENTS[sound] / 100, at[sound] / 100, TRAILING) == STOP_DUE).all()
    assert (_asked(CENTS / 100, CENTS / 100, (at + 1) / 100, TRAILING) != STOP_DUE).all()


def test_the_partial_target() -> None:
    at = -(-CENTS * 105 // 100)
    wide = at * 100 < CENTS * 110  # below the target of the whole
    assert (_asked(CENTS[wide] / 100, at[wide] / 100, at[wide] / 100, PARTIAL) == PARTIAL_DUE).all()
    assert (_asked(CENTS / 100, (at - 1) / 100, (at - 1) / 100, PARTIAL) != PARTIAL_DUE).all()
