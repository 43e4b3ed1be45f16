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

Between entry and exit the equity is cash + quantity * close, so bars outside a trade cost nothing, and inside a trade the
drawdown needs only the extremes of the close, bar by bar only where a trade makes both a new peak and a new deepest fall.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from numba import njit

from app.domain.bar import Floats

Votes = npt.NDArray[np.int8]
Integers = npt.NDArray[np.int64]

# No reference counts (_nrt): nothing here makes an array, and counting the holders of those it is given, atomically at each
# call of a small function, took two thirds of the time. Divisions as numpy's, because one that may raise keeps the compiler
# from taking several bars at once.
_OPTIONS = {"cache": True, "nogil": True, "error_model": "numpy", "_nrt": False}
_compiled = njit(**_OPTIONS)
OPEN_END, SIGNAL, STOP, TARGET = 0, 1, 2, 3
_TILE = 2_048  # bars
_EVERY_ONE = 0x0101010101010101  # the lowest bit of each of eight bytes
_PLACES = 0x0001020304050607  # times 1 << 8 * k it has k in its highest byte


class Bars(NamedTuple):
    """Bars of one instrument, shape (n_bars,), C-contiguous, every price above zero. bits: those of the closes, as whole
    numbers."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats
    bits: Integers


class Terms(NamedTuple):
    """What the kernel is told; fractions of a price or value, money in account currency, 0.0: off.

    step: of the quantity. impact: at the whole volume of a bar. at_close: fill at the close of the voting bar.
    """

    capital: float
    fraction: float
    collar: float
    stop: float
    target: float
    step: float
    slippage: float
    impact: float
    commission: float
    per_share: float
    minimum: float
    at_close: bool


class Sums(NamedTuple):
    """What a run came to. equity: at its end. first to fourth: sums of the powers of the bar returns. drawdown: the deepest, a
    magnitude. trades: closed ones; wins: of them, with a profit after costs. held: bars that ended with a holding. commissions:
    currency. logged: rows of the trade log, an open trade among them. last, peak: the newest and the highest equity counted.
    least, greatest: closes of the last trade."""

    equity: float
    first: float
    second: float
    third: float
    fourth: float
    drawdown: float
    trades: float
    wins: float
    held: float
    commissions: float
    logged: float
    last: float
    peak: float
    least: float
    greatest: float


SUMS = len(Sums._fields)
(
    _EQUITY, _FIRST, _SECOND, _THIRD, _FOURTH, _DRAWDOWN, _TRADES, _WINS, _HELD, _COMMISSIONS, _LOGGED,
    _LAST, _PEAK, _LEAST, _GREATEST,
) = range(SUMS)  # fmt: skip


def walk(bars: Bars, votes: Votes, terms: Terms, marks: Integers, marked: Floats, spots: Integers, amounts: Floats) -> Sums:
    """One run. votes: a multiple of eight long, zeros behind the bars.

    marks: bars in order, whose closing equity is written to `marked`; none: of every bar, if `marked` is as long. spots,
    amounts: the trade log, a row a trade: voting bar, entry bar, exit bar (-1: still open), how it ended; quantity, entry
    price, exit price, profit after costs (of an open trade at the last close). Empty: no log.
    """
    sums = np.empty(SUMS)
    trade(bars, votes, terms, marks, marked, spots, amounts, sums)
    return Sums(*sums.tolist())


@_compiled
def are_sound(opened: Floats, high: Floats, low: Floats, close: Floats) -> bool:
    """Whether all prices are finite numbers above zero."""
    faults = 0
    for i in range(len(close)):
        above = (opened[i] > 0.0) & (high[i] > 0.0) & (low[i] > 0.0) & (close[i] > 0.0)
        below = (opened[i] < np.inf) & (high[i] < np.inf) & (low[i] < np.inf) & (close[i] < np.inf)
        faults += not (above & below)  # NaN lands here too
    return faults == 0


@_compiled
def vote(score: Floats, threshold: float, votes: Votes) -> None:
    """Votes of a score, none where it is NaN. votes may be longer: the rest stays as it is."""
    out = votes[: len(score)]
    for i in range(len(score)):
        out[i] = np.int8(score[i] >= threshold) - np.int8(score[i] <= -threshold)


@_compiled
def cross(fast: Floats, slow: Floats, start: int, stop: int, votes: Votes) -> None:
    """Votes in bars start <= i < stop: +1 where `fast` crosses above `slow`, -1 where below; none where either is unknown."""
    if start == 0 and stop > 0:
        votes[0] = 0
        start = 1
    # Slices, because an index that cannot be negative is what lets the compiler take several bars at once.
    fast_before, slow_before = fast[start - 1 : stop - 1], slow[start - 1 : stop - 1]
    fast_now, slow_now, out = fast[start:stop], slow[start:stop], votes[start:stop]
    for i in range(len(out)):
        up = (fast_now[i] > slow_now[i]) & (fast_before[i] <= slow_before[i])
        down = (fast_now[i] < slow_now[i]) & (fast_before[i] >= slow_before[i])
        out[i] = np.int8(up) - np.int8(down)


@_compiled
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


@_compiled
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
    n, words, extremes = len(bars.close), votes.view(np.int64), sums.view(np.int64)
    sums[:] = 0.0
    sums[_EQUITY] = sums[_LAST] = sums[_PEAK] = terms.capital
    logged = marking = since = 0
    sale, settled = -1, -1  # settled: bar of an exit whose return is not counted yet
    while True:
        signal = _next_buy(words, since)
        if signal < 0:
            break
        cash = sums[_EQUITY]
        entry, quantity, price = _bought(bars, signal, cash, terms)
        if not quantity > 0.0:
            since = entry
            continue
        if 0 <= settled < entry:  # in the same bar, both together are one return
            _settle(sums)
        marking = _mark(marks, marked, marking, entry, bars.close, cash, 0.0)
        fee = _commission(quantity, price, terms)
        rest = cash - quantity * price - fee
        asked_from = entry + 1 if terms.at_close else entry
        if sale < asked_from:
            sale = _next_sell(words, asked_from)
            sale = n if sale < 0 else sale
        left, exit_price, ending = _exit(bars, entry, sale, price, quantity, terms)
        until = left if left >= 0 else n
        _hold(bars, entry, until, rest, quantity, sums, extremes)
        marking = _mark(marks, marked, marking, until, bars.close, rest, quantity)
        sums[_EQUITY] = sums[_LAST]
        sums[_COMMISSIONS] += fee
        if left >= 0:
            fee = _commission(quantity, exit_price, terms)
            sums[_EQUITY] = rest + quantity * exit_price - fee
            sums[_COMMISSIONS] += fee
            sums[_TRADES] += 1.0
            sums[_WINS] += sums[_EQUITY] > cash
        if len(spots) > 0:
            spots[logged, 0], spots[logged, 1], spots[logged, 2], spots[logged, 3] = signal, entry, left, ending
            amounts[logged, 0], amounts[logged, 1], amounts[logged, 2] = quantity, price, exit_price
            amounts[logged, 3] = sums[_EQUITY] - cash
        logged += 1
        settled = since = left
        if left < 0:
            break
    if settled >= 0:
        _settle(sums)
    _mark(marks, marked, marking, n, bars.close, sums[_EQUITY], 0.0)
    sums[_LOGGED] = logged


@_compiled
def _bought(bars: Bars, signal: int, cash: float, terms: Terms) -> tuple[int, float, float]:
    """(bar, quantity, price with slippage) of the entry that `signal` asked for; quantity 0 if there is none, the bar then that
    of the next vote that counts: an order that rests for a bar stands in the way of the one which that bar asks for."""
    quantity = _quantity(cash, bars.close[signal], terms)
    if not quantity > 0.0:
        return signal + 1, 0.0, math.nan
    entry, price = _entry(bars, signal, terms)
    if entry < 0:
        return signal + 2, 0.0, math.nan
    if terms.at_close or not terms.collar > 0.0:
        price *= 1.0 + _slippage(quantity, bars.volume[entry], terms)
    quantity = _affordable(quantity, cash, price, terms)
    return (entry, quantity, price) if quantity > 0.0 else (max(entry, signal + 1), 0.0, price)


@_compiled
def _settle(sums: Floats) -> None:
    """Count the return of the bar of an exit, after which nothing is held."""
    _count(sums, sums[_EQUITY] / sums[_LAST] - 1.0)
    _deepen(sums, sums[_EQUITY])
    sums[_LAST] = sums[_EQUITY]


@_compiled
def _hold(bars: Bars, entry: int, until: int, rest: float, quantity: float, sums: Floats, extremes: Integers) -> None:
    """Count the bars entry <= i < until, which end with a holding. rest: the cash beside it. extremes: `sums` in bits."""
    _count(sums, (rest + quantity * bars.close[entry]) / sums[_LAST] - 1.0)
    first, second, third, fourth, least, greatest = _inside(bars, entry + 1, until, rest / quantity)
    sums[_FIRST] += first
    sums[_SECOND] += second
    sums[_THIRD] += third
    sums[_FOURTH] += fourth
    extremes[_LEAST], extremes[_GREATEST] = least, greatest
    bottom, top = rest + quantity * sums[_LEAST], rest + quantity * sums[_GREATEST]
    if top <= sums[_PEAK]:
        sums[_DRAWDOWN] = max(sums[_DRAWDOWN], 1.0 - bottom / sums[_PEAK])
    elif 1.0 - bottom / top <= sums[_DRAWDOWN]:
        sums[_PEAK] = top
    else:
        for i in range(entry, until):
            _deepen(sums, rest + quantity * bars.close[i])
    sums[_LAST] = rest + quantity * bars.close[until - 1]
    sums[_HELD] += until - entry


@_compiled
def _count(sums: Floats, change: float) -> None:
    square = change * change
    sums[_FIRST] += change
    sums[_SECOND] += square
    sums[_THIRD] += change * square
    sums[_FOURTH] += square * square


@_compiled
def _deepen(sums: Floats, equity: float) -> None:
    """Take one more equity into peak and drawdown."""
    if equity > sums[_PEAK]:
        sums[_PEAK] = equity
    else:
        sums[_DRAWDOWN] = max(sums[_DRAWDOWN], 1.0 - equity / sums[_PEAK])


@_compiled
def _mark(marks: Integers, marked: Floats, marking: int, until: int, close: Floats, rest: float, quantity: float) -> int:
    """Write the equity of the marks from number `marking` on that come before bar `until`; the number of the next."""
    if len(marks) == 0:
        stop = min(until, len(marked))
        bars, target = close[marking:stop], marked[marking:stop]
        for i in range(len(target)):
            target[i] = rest + quantity * bars[i]
        return stop
    while marking < len(marks) and marks[marking] < until:
        marked[marking] = rest + quantity * close[marks[marking]]
        marking += 1
    return marking


@_compiled
def _next_buy(words: Integers, start: int) -> int:
    """The first bar from `start` on that votes +1, or -1. words: the votes, eight in each."""
    keep = -1 << 8 * (start & 7)
    for k in range(start >> 3, len(words)):
        # A byte of +1 has its lowest bit and no sign, one of -1 has both.
        found = words[k] & keep & _EVERY_ONE & ~(words[k] >> 7)
        if found:
            return int(8 * k + ((found & -found) * _PLACES >> 56))
        keep = -1
    return -1


@_compiled
def _next_sell(words: Integers, start: int) -> int:
    """The first bar from `start` on that votes -1, or -1."""
    keep = -1 << 8 * (start & 7)
    for k in range(start >> 3, len(words)):
        found = words[k] >> 7 & keep & _EVERY_ONE
        if found:
            return int(8 * k + ((found & -found) * _PLACES >> 56))
        keep = -1
    return -1


@_compiled
def _entry(bars: Bars, signal: int, terms: Terms) -> tuple[int, float]:
    """(bar, price before slippage) of the fill of an entry that `signal` asked for; bar -1 if there is none."""
    if terms.at_close:
        return signal, bars.close[signal]
    if terms.collar > 0.0:
        limit, at = bars.close[signal] * (1.0 + terms.collar), signal + 1
        if at < len(bars.low) and bars.low[at] <= limit:
            return at, min(bars.open[at], limit)
        return -1, math.nan
    return (signal + 1, bars.open[signal + 1]) if signal + 1 < len(bars.open) else (-1, math.nan)


@_compiled
def _exit(bars: Bars, entry: int, sale: int, price: float, quantity: float, terms: Terms) -> tuple[int, float, int]:
    """(bar, price with slippage, how) of the end of a holding; bar -1 if it never ends. sale: bar of the next vote to sell."""
    n = len(bars.close)
    if terms.stop > 0.0 or terms.target > 0.0:
        stop = price * (1.0 - terms.stop) if terms.stop > 0.0 else -math.inf
        target = price * (1.0 + terms.target) if terms.target > 0.0 else math.inf
        at = _touched(bars, entry + 1, min(sale + 1, n), stop, target)
        if at >= 0:
            reached = bars.high[at] >= target
            if reached and (not bars.low[at] <= stop or bars.open[at] >= target):
                return at, max(bars.open[at], target), TARGET
            worse = 1.0 - _slippage(quantity, bars.volume[at], terms)
            return at, min(bars.open[at], stop) * worse, STOP
    at = sale if terms.at_close else sale + 1
    if at >= n:
        return -1, math.nan, OPEN_END
    before = bars.close[at] if terms.at_close else bars.open[at]
    return at, before * (1.0 - _slippage(quantity, bars.volume[at], terms)), SIGNAL


@_compiled
def _touched(bars: Bars, start: int, stop: int, low: float, high: float) -> int:
    """The first bar in start <= i < stop that reaches `low` or `high`, or -1."""
    for i in range(start, stop):
        if (bars.low[i] <= low) | (bars.high[i] >= high):
            return i
    return -1


@_compiled
def _slippage(quantity: float, volume: float, terms: Terms) -> float:
    """The fraction of its price that a fill of `quantity` in a bar of `volume` is worse (see `app.engine.costs`)."""
    if terms.impact == 0.0:
        return terms.slippage
    share = min(1.0, quantity / volume) if volume > 0.0 else 1.0
    return terms.slippage + terms.impact * math.sqrt(share)


@_compiled
def _commission(quantity: float, price: float, terms: Terms) -> float:
    charged: float = quantity * price * terms.commission + quantity * terms.per_share
    return max(charged, terms.minimum)


@_compiled
def _quantity(equity: float, close: float, terms: Terms) -> float:
    """What an entry asks for."""
    worst = close * (1.0 + (terms.collar if terms.collar > 0.0 else terms.slippage))
    units: float = _on_step(terms.fraction * equity / (worst * (1.0 + terms.commission) + terms.per_share), terms.step)
    return units


@_compiled
def _affordable(quantity: float, cash: float, price: float, terms: Terms) -> float:
    """As much of `quantity` as the cash pays with its commission."""
    if quantity * price + _commission(quantity, price, terms) <= cash:
        return quantity
    most = min(cash / (price * (1.0 + terms.commission) + terms.per_share), (cash - terms.minimum) / price)
    units: float = _on_step(min(quantity, most), terms.step)
    return units


@_compiled
def _on_step(quantity: float, step: float) -> float:
    return math.floor(quantity / step + 1e-9) * step if step > 0.0 else quantity


@njit(**_OPTIONS, fastmath={"reassoc", "contract", "nsz"})
def _inside(bars: Bars, start: int, stop: int, rest: float) -> tuple[float, float, float, float, int, int]:
    """Of a holding in bars start <= i < stop: sums of the first four powers of its returns; the bits of the least and of the
    greatest close, that of bar start - 1 among them. rest: cash per unit held.

    The order of the additions is left to the compiler, so that it may take several bars at once. The extremes are those of the
    bits for the same reason: floats above zero are ordered as they are, and whole numbers have no NaN to look after.
    """
    close, bits = bars.close, bars.bits
    first = second = third = fourth = 0.0
    now, before, seen = close[start:stop], close[start - 1 : stop - 1], bits[start:stop]
    least = greatest = bits[start - 1]
    for i in range(len(now)):
        change = (now[i] - before[i]) / (before[i] + rest)
        square = change * change
        first += change
        second += square
        third += change * square
        fourth += square * square
        least, greatest = min(least, seen[i]), max(greatest, seen[i])
    return first, second, third, fourth, least, greatest
