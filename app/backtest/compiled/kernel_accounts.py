"""Accounting of the research kernel: returns, drawdown and equity of the bars of a holding.

Between entry and exit the equity is cash + quantity * close, so bars outside a trade cost nothing, and inside a trade the
drawdown needs only the extremes of the close, bar by bar only where a trade makes both a new peak and a new deepest fall.
"""

from __future__ import annotations

from numba import njit

from app.backtest.compiled.kernel_terms import (
    DRAWDOWN,
    EQUITY,
    FIRST,
    FOURTH,
    GREATEST,
    HELD,
    LAST,
    LEAST,
    OPTIONS,
    PEAK,
    SECOND,
    THIRD,
    Bars,
    Integers,
    compiled,
)  # fmt: skip
from app.domain.bar import Floats


@compiled
def settle(sums: Floats) -> None:
    """Count the return of the bar of an exit, after which nothing is held."""
    count(sums, sums[EQUITY] / sums[LAST] - 1.0)
    deepen(sums, sums[EQUITY])
    sums[LAST] = sums[EQUITY]


@compiled
def hold(bars: Bars, entry: int, until: int, rest: float, quantity: float, sums: Floats, extremes: Integers) -> None:
    """Count the bars entry <= i < until, which end with a holding. rest: the cash beside it. extremes: `sums` in bits."""
    count(sums, (rest + quantity * bars.close[entry]) / sums[LAST] - 1.0)
    first, second, third, fourth, least, greatest = inside(bars, entry + 1, until, rest / quantity)
    sums[FIRST] += first
    sums[SECOND] += second
    sums[THIRD] += third
    sums[FOURTH] += fourth
    extremes[LEAST], extremes[GREATEST] = least, greatest
    bottom, top = rest + quantity * sums[LEAST], rest + quantity * sums[GREATEST]
    if top <= sums[PEAK]:
        sums[DRAWDOWN] = max(sums[DRAWDOWN], 1.0 - bottom / sums[PEAK])
    elif 1.0 - bottom / top <= sums[DRAWDOWN]:
        sums[PEAK] = top
    else:
        for i in range(entry, until):
            deepen(sums, rest + quantity * bars.close[i])
    sums[LAST] = rest + quantity * bars.close[until - 1]
    sums[HELD] += until - entry


@compiled
def count(sums: Floats, change: float) -> None:
    """Take one more return into the sums of powers."""
    square = change * change
    sums[FIRST] += change
    sums[SECOND] += square
    sums[THIRD] += change * square
    sums[FOURTH] += square * square


@compiled
def deepen(sums: Floats, equity: float) -> None:
    """Take one more equity into peak and drawdown."""
    if equity > sums[PEAK]:
        sums[PEAK] = equity
    else:
        sums[DRAWDOWN] = max(sums[DRAWDOWN], 1.0 - equity / sums[PEAK])


@compiled
def mark(marks: Integers, marked: Floats, marking: int, until: int, close: Floats, rest: float, quantity: float) -> int:
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


@njit(**OPTIONS, fastmath={"reassoc", "contract", "nsz"})
def inside(bars: Bars, start: int, stop: int, rest: float) -> tuple[float, float, float, float, int, int]:
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
