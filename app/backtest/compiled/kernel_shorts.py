"""The research kernel with both sides: +1 asks for a long holding, -1 for a short one.

A vote against a holding closes it and opens the other side in the same place; after a protective leg the next vote of either
side opens. A short is the mirror of a long: sold at the open less slippage or at a limit close * (1 - collar), as large as a
long would be, never worth more than the cash (so nothing is borrowed but the units), its stop above and its target below. For
each bar that ends with it, `Terms.borrow` of its value at the close is paid. Where the equity at a close is not above zero, the
short is bought back at that close and nothing is traded any more.

Bar by bar inside a trade, unlike long holdings by themselves: the fee for what is borrowed moves the cash with every bar.
"""

from __future__ import annotations

import math

import numpy as np

from app.backtest.compiled.kernel_accounts import count, deepen, mark, settle
from app.backtest.compiled.kernel_fills import affordable, entry_of, exit_of, fee_of, slippage_of, units_asked
from app.backtest.compiled.kernel_terms import (
    COMMISSIONS,
    EQUITY,
    HELD,
    LAST,
    LOGGED,
    OPEN_END,
    PEAK,
    RUIN,
    SIGNAL,
    STOP,
    TARGET,
    TRADES,
    WINS,
    Bars,
    Integers,
    Terms,
    Votes,
    compiled,
)  # fmt: skip
from app.backtest.compiled.kernel_votes import next_buy, next_sell, next_vote
from app.domain.bar import Floats


@compiled
def trade_both(
    bars: Bars,
    votes: Votes,
    terms: Terms,
    marks: Integers,
    marked: Floats,
    spots: Integers,
    amounts: Floats,
    sums: Floats,
) -> None:
    """As `app.backtest.compiled.kernel.trade`; quantities of shorts are below zero in the log."""
    n, words = len(bars.close), votes.view(np.int64)
    sums[:] = 0.0
    sums[EQUITY] = sums[LAST] = sums[PEAK] = worth = terms.capital
    logged = marking = since = sign = side = 0
    signal, against, settled = -1, -1, -1  # against: next vote against `side`. settled: an exit whose return is not counted yet
    while True:
        cash = sums[EQUITY]
        if signal < 0:
            signal = next_vote(words, since)
            if signal < 0:
                break
            sign, worth = int(votes[signal]), cash
        entry, quantity, price = _opened(bars, signal, sign, worth, cash, terms)
        if not quantity > 0.0:
            signal, since = -1, entry
            continue
        if 0 <= settled < entry:  # in the same bar, both together are one return
            settle(sums)
        marking = mark(marks, marked, marking, entry, bars.close, cash, 0.0)
        fee, units = fee_of(quantity, price, terms), sign * quantity
        sums[COMMISSIONS] += fee
        asked_from = entry + 1 if terms.at_close else entry
        if against < asked_from or sign != side:
            side, against = sign, _next_against(words, asked_from, sign, n)
        left, exit_price, ending = _ended(bars, entry, against, price, units, terms)
        until = left if left >= 0 else n
        held, rest, marking = _hold(
            bars, entry, until, cash - units * price - fee, units, terms.borrow, marks, marked, marking, sums
        )
        if held < until:
            left, ending = held, RUIN
            exit_price = bars.close[held] * (1.0 + slippage_of(quantity, bars.volume[held], terms))
        sums[EQUITY] = sums[LAST]
        if left >= 0:
            fee = fee_of(quantity, exit_price, terms)
            sums[EQUITY] = rest + sign * quantity * exit_price - fee
            sums[COMMISSIONS] += fee
            sums[TRADES] += 1.0
            sums[WINS] += sums[EQUITY] > cash
        if len(spots) > 0:
            _log(
                spots[logged], amounts[logged], (signal, entry, left, ending), (sign * quantity, price, exit_price, cash), sums
            )
        logged, settled, since = logged + 1, left, left
        if left < 0:
            break
        signal = -1
        if ending == SIGNAL:
            signal, sign, worth = against, -sign, rest + units * bars.close[against]
    if settled >= 0:
        settle(sums)
    mark(marks, marked, marking, n, bars.close, sums[EQUITY], 0.0)
    sums[LOGGED] = logged


@compiled
def _leave(equity: float, fee: float, cash: float, sums: Floats) -> None:
    """Count a closed trade. equity: after it but for the fee, cash: before it."""
    sums[EQUITY] = equity - fee
    sums[COMMISSIONS] += fee
    sums[TRADES] += 1.0
    sums[WINS] += sums[EQUITY] > cash


@compiled
def _log(
    spot: Integers, amount: Floats, bars: tuple[int, int, int, int], told: tuple[float, float, float, float], sums: Floats
) -> None:
    """A row of the trade log. told: units, prices of entry and exit, cash before."""
    for k in range(4):
        spot[k] = bars[k]
        amount[k] = told[k]
    amount[3] = sums[EQUITY] - told[3]


@compiled
def _next_against(words: Integers, start: int, sign: int, bars: int) -> int:
    """The first bar from `start` on whose vote is against a holding, `bars` if there is none."""
    found = next_sell(words, start) if sign > 0 else next_buy(words, start)
    return found if found >= 0 else bars


@compiled
def _opened(bars: Bars, signal: int, sign: int, worth: float, cash: float, terms: Terms) -> tuple[int, float, float]:
    """As `bought`, of either side. worth: the equity at the close of the vote, cash: at the fill."""
    quantity = units_asked(worth, bars.close[signal], terms)
    if not quantity > 0.0:
        return signal + 1, 0.0, math.nan
    entry, price = entry_of(bars, signal, terms) if sign > 0 else _short_entry(bars, signal, terms)
    if entry < 0:
        return signal + 2, 0.0, math.nan
    if terms.at_close or not terms.collar > 0.0:
        price *= 1.0 + sign * slippage_of(quantity, bars.volume[entry], terms)
    quantity = affordable(quantity, cash, price, terms)
    return (entry, quantity, price) if quantity > 0.0 else (max(entry, signal + 1), 0.0, price)


@compiled
def _short_entry(bars: Bars, signal: int, terms: Terms) -> tuple[int, float]:
    """As `entry_of`, of a sale."""
    at, price = signal + 1, math.nan
    if terms.at_close or not terms.collar > 0.0:
        at, price = entry_of(bars, signal, terms)
    elif at < len(bars.high) and bars.high[at] >= bars.close[signal] * (1.0 - terms.collar):
        price = max(bars.open[at], bars.close[signal] * (1.0 - terms.collar))
    else:
        at = -1
    return at, price


@compiled
def _ended(bars: Bars, entry: int, against: int, price: float, units: float, terms: Terms) -> tuple[int, float, int]:
    """As `exit_of`, of either side. against: bar of the next vote against the holding."""
    if units > 0.0:
        left, exit_price, ending = exit_of(bars, entry, against, price, units, terms)
    else:
        left, exit_price, ending = _covered(bars, entry, against, price, -units, terms)
    return left, exit_price, ending


@compiled
def _covered(bars: Bars, entry: int, buy: int, price: float, quantity: float, terms: Terms) -> tuple[int, float, int]:
    """As `exit_of`, of a short. buy: bar of the next vote to buy."""
    n = len(bars.close)
    stop = price * (1.0 + terms.stop) if terms.stop > 0.0 else math.inf
    target = price * (1.0 - terms.target) if terms.target > 0.0 else -math.inf
    for at in range(entry + 1, min(buy + 1, n)):
        reached = bars.low[at] <= target
        if reached and (not bars.high[at] >= stop or bars.open[at] <= target):
            return at, min(bars.open[at], target), TARGET
        if bars.high[at] >= stop:
            return at, max(bars.open[at], stop) * (1.0 + slippage_of(quantity, bars.volume[at], terms)), STOP
    at = buy if terms.at_close else buy + 1
    if at >= n:
        return -1, math.nan, OPEN_END
    before = bars.close[at] if terms.at_close else bars.open[at]
    return at, before * (1.0 + slippage_of(quantity, bars.volume[at], terms)), SIGNAL


@compiled
def _hold(
    bars: Bars,
    entry: int,
    until: int,
    rest: float,
    units: float,
    borrow: float,
    marks: Integers,
    marked: Floats,
    marking: int,
    sums: Floats,
) -> tuple[int, float, int]:
    """Count the bars entry <= i < until, which end with `units`, below zero if short; (first bar not counted, cash beside them,
    number of the next mark). The bar is before `until` where a short has used up the equity."""
    last = sums[LAST]
    for i in range(entry, until):
        paid = -units * bars.close[i] * borrow if units < 0.0 else 0.0
        equity = rest - paid + units * bars.close[i]
        if units < 0.0 and not equity > 0.0:
            until = i
            break
        rest -= paid
        count(sums, equity / last - 1.0)
        deepen(sums, equity)
        last = equity
        marking = mark(marks, marked, marking, i + 1, bars.close, equity, 0.0)
    sums[LAST] = last
    sums[HELD] += until - entry
    return until, rest, marking
