"""One instrument, one vote per bar, thousands of bars a millisecond: the compiled research kernel. Floats, not money.

The rule is that of `app.engine.matching`, in float64 and without ticks. A vote is known when its bar is complete. Flat and +1:
an entry is sent; holding and -1: all of it is sold. Filled at the next open, an entry is a market order or, with a collar, a
limit order at close * (1 + collar) that is good for the next bar alone, whose own vote then counts for nothing, and an exit
comes before the protective legs. Filled at the close, both are dealt at the close of the bar that voted: nobody can trade like
that, it is there to compare with programs that do. The protective legs, fractions of the entry price, rest from the bar after
the fill; the stop counts first when a bar touches both, unless it opens at or beyond the target. What takes liquidity pays
slippage and impact, a limit order does not.

The size is decided with the order: `fraction` of the equity over what a unit then costs at the worst (price, slippage or
collar, commission), down to the quantity step, and never more than the cash pays at the fill. All prices are numbers above
zero: a bar that lacks one is no bar, and left out before.

With `Terms.is_both` a vote of -1 goes short too: see `app.backtest.compiled.kernel_shorts`.
"""

from __future__ import annotations

import numpy as np

from app.backtest.compiled.kernel_accounts import hold, mark, settle
from app.backtest.compiled.kernel_fills import bought, exit_of, fee_of
from app.backtest.compiled.kernel_shorts import trade_both
from app.backtest.compiled.kernel_terms import (
    COMMISSIONS,
    EQUITY,
    LAST,
    LOGGED,
    PEAK,
    SUMS,
    TRADES,
    WINS,
    Bars,
    Integers,
    Sums,
    Terms,
    Votes,
    compiled,
)  # fmt: skip
from app.backtest.compiled.kernel_votes import cross, next_buy, next_sell
from app.domain.bar import Floats

_TILE = 2_048  # bars


@compiled
def are_sound(opened: Floats, high: Floats, low: Floats, close: Floats) -> bool:
    """Whether all prices are finite numbers above zero."""
    faults = 0
    for i in range(len(close)):
        above = (opened[i] > 0.0) & (high[i] > 0.0) & (low[i] > 0.0) & (close[i] > 0.0)
        below = (opened[i] < np.inf) & (high[i] < np.inf) & (low[i] < np.inf) & (close[i] < np.inf)
        faults += not (above & below)  # NaN lands here too
    return faults == 0


def walk(bars: Bars, votes: Votes, terms: Terms, marks: Integers, marked: Floats, spots: Integers, amounts: Floats) -> Sums:
    """One run. votes: a multiple of eight long, zeros behind the bars.

    marks: bars in order, whose closing equity is written to `marked`; none: of every bar, if `marked` is as long. spots,
    amounts: the trade log, a row a trade: voting bar, entry bar, exit bar (-1: still open), how it ended; quantity, entry
    price, exit price, profit after costs (of an open trade at the last close). Empty: no log.
    """
    sums = np.empty(SUMS)
    trade(bars, votes, terms, marks, marked, spots, amounts, sums)
    return Sums(*sums.tolist())


@compiled
def cross_all(
    lines: Floats,
    pairs: Integers,
    bars: Bars,
    terms: Terms,
    votes: Votes,
    marks: Integers,
    marked: Floats,
    spots: Integers,
    amounts: Floats,
    sums: Floats,
) -> None:
    """A run for each pair of lines: votes by `cross`. lines: shape (n_lines, n_bars). pairs: rows of it, shape (n_runs, 2).
    votes: room of shape (n_runs, n_bars up to a multiple of eight), zeros behind the bars. marked, sums: a row each.

    The votes of all pairs are found tile by tile, while the lines of the tile are in the cache.
    """
    n = len(bars.close)
    for start in range(0, n, _TILE):
        for k in range(len(pairs)):
            cross(lines[pairs[k, 0]], lines[pairs[k, 1]], start, min(start + _TILE, n), votes[k])
    for k in range(len(pairs)):
        trade(bars, votes[k], terms, marks, marked[k], spots, amounts, sums[k])


@compiled
def trade(
    bars: Bars,
    votes: Votes,
    terms: Terms,
    marks: Integers,
    marked: Floats,
    spots: Integers,
    amounts: Floats,
    sums: Floats,
) -> None:
    """As `walk`, into `sums`: shape (SUMS,)."""
    if terms.is_both:
        trade_both(bars, votes, terms, marks, marked, spots, amounts, sums)
    else:
        _trade_long(bars, votes, terms, marks, marked, spots, amounts, sums)


@compiled
def _trade_long(
    bars: Bars,
    votes: Votes,
    terms: Terms,
    marks: Integers,
    marked: Floats,
    spots: Integers,
    amounts: Floats,
    sums: Floats,
) -> None:
    n, words, extremes = len(bars.close), votes.view(np.int64), sums.view(np.int64)
    sums[:] = 0.0
    sums[EQUITY] = sums[LAST] = sums[PEAK] = terms.capital
    logged = marking = since = 0
    sale, settled = -1, -1  # settled: bar of an exit whose return is not counted yet
    while True:
        signal = next_buy(words, since)
        if signal < 0:
            break
        cash = sums[EQUITY]
        entry, quantity, price = bought(bars, signal, cash, terms)
        if not quantity > 0.0:
            since = entry
            continue
        if 0 <= settled < entry:  # in the same bar, both together are one return
            settle(sums)
        marking = mark(marks, marked, marking, entry, bars.close, cash, 0.0)
        fee = fee_of(quantity, price, terms)
        rest = cash - quantity * price - fee
        asked_from = entry + 1 if terms.at_close else entry
        if sale < asked_from:
            sale = next_sell(words, asked_from)
            sale = n if sale < 0 else sale
        left, exit_price, ending = exit_of(bars, entry, sale, price, quantity, terms)
        until = left if left >= 0 else n
        hold(bars, entry, until, rest, quantity, sums, extremes)
        marking = mark(marks, marked, marking, until, bars.close, rest, quantity)
        sums[EQUITY] = sums[LAST]
        sums[COMMISSIONS] += fee
        if left >= 0:
            fee = fee_of(quantity, exit_price, terms)
            sums[EQUITY] = rest + quantity * exit_price - fee
            sums[COMMISSIONS] += fee
            sums[TRADES] += 1.0
            sums[WINS] += sums[EQUITY] > cash
        if len(spots) > 0:
            spots[logged, 0], spots[logged, 1], spots[logged, 2], spots[logged, 3] = signal, entry, left, ending
            amounts[logged, 0], amounts[logged, 1], amounts[logged, 2] = quantity, price, exit_price
            amounts[logged, 3] = sums[EQUITY] - cash
        logged += 1
        settled = since = left
        if left < 0:
            break
    if settled >= 0:
        settle(sums)
    mark(marks, marked, marking, n, bars.close, sums[EQUITY], 0.0)
    sums[LOGGED] = logged
