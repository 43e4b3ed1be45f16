"""Statistics of the trailing windows of a series, put together from halves, the halves from quarters, each computed once.

log2(length) passes that the compiler computes in SIMD, and no value carries anything from bars before its window: element i
depends on its own window alone, in an order that only the length decides, so it is the same to the last bit in a history of
years and in the window by itself. Outputs are as long as the series and mean something from their first full window on.
"""

from __future__ import annotations

import math

from numba import njit

from app.domain.bar import Floats


@njit(cache=True, error_model="numpy")
def decayed_sum(values: Floats, length: int, decay: float, out: Floats, work: Floats) -> None:
    """Of the last `length` values, each weighing `decay` times the one after it, the newest 1. work: (>= 2, n)."""
    n, now = len(values), values
    size, count, turn = 1, 0, 0  # of the blocks at hand; of the newest part of the windows that is done
    while True:
        if length & size:
            done, block = out[count + size - 1 :], now[size - 1 : n - count]
            if count == 0:
                done[: len(block)] = block
            else:
                weight = decay**count
                for i in range(len(block)):
                    done[i] += weight * block[i]
            count += size
            if count == length:
                return
        newer, older, twice = now[2 * size - 1 :], now[size - 1 : n - size], work[turn, 2 * size - 1 : n]
        weight = decay**size
        for i in range(len(older)):
            twice[i] = newer[i] + weight * older[i]
        now, size, turn = work[turn, :n], 2 * size, 1 - turn


@njit(cache=True, error_model="numpy")
def spread(values: Floats, length: int, mean: Floats, deviation: Floats, work: Floats) -> None:
    """Mean and population deviation of the last `length` values, by joining means and squares around them (Chan, Golub and
    LeVeque 1979); exactly c and 0 where all of them are c. work: (>= 4, n)."""
    n, size, count, turn = len(values), 1, 0, 0
    work[0, :n], work[1, :n] = values, 0.0
    while True:
        means, squares = work[2 * turn, :n], work[2 * turn + 1, :n]
        if length & size:
            if count == 0:
                mean[size - 1 : n], deviation[size - 1 : n] = means[size - 1 :], squares[size - 1 :]
            else:
                start = count + size - 1
                _add(mean[start:n], deviation[start:n], count, means[size - 1 :], squares[size - 1 :], size)
            count += size
            if count == length:
                break
        turn = 1 - turn
        _double(means, squares, size, work[2 * turn, :n], work[2 * turn + 1, :n])
        size *= 2
    for i in range(length - 1, n):
        deviation[i] = math.sqrt(deviation[i] / length)


@njit(cache=True, error_model="numpy")
def _add(mean: Floats, squares: Floats, count: int, older_mean: Floats, older_squares: Floats, others: int) -> None:
    """Take an older part of `others` values into the mean and squares of a newer one of `count`."""
    share, factor = others / (count + others), count * others / (count + others)
    for i in range(len(mean)):
        apart = older_mean[i] - mean[i]
        squares[i] += older_squares[i] + apart * apart * factor
        mean[i] += apart * share


@njit(cache=True, error_model="numpy")
def _double(mean: Floats, squares: Floats, size: int, means: Floats, sums: Floats) -> None:
    """Mean and squares of blocks of twice the size, into means and sums."""
    start, n, factor = 2 * size - 1, len(mean), size / 2.0
    newer, older, newer_squares, older_squares = mean[start:], mean[size - 1 : n - size], squares[start:], squares[size - 1 :]
    means, sums = means[start:], sums[start:]
    for i in range(len(older)):
        apart = older[i] - newer[i]
        sums[i] = newer_squares[i] + older_squares[i] + apart * apart * factor
        means[i] = newer[i] + apart * 0.5


@njit(cache=True, error_model="numpy")
def extremes(high: Floats, low: Floats, top: Floats, bottom: Floats, work: Floats) -> None:
    """Highest high and lowest low of the last 20, 60 and 120 bars, into the rows of top and bottom. work: (>= 4, n)."""
    n, highs, lows, size, turn, row = len(high), high, low, 1, 0, 0
    spans = (20, 60, 120)
    while row < 3:
        if 2 * size > spans[row]:  # two blocks that overlap
            _widest(highs, lows, size, spans[row], top[row], bottom[row])
            row += 1
            continue
        _widest(highs, lows, size, 2 * size, work[2 * turn, :n], work[2 * turn + 1, :n])
        highs, lows, size, turn = work[2 * turn, :n], work[2 * turn + 1, :n], 2 * size, 1 - turn


@njit(cache=True, error_model="numpy")
def _widest(highs: Floats, lows: Floats, size: int, span: int, top: Floats, bottom: Floats) -> None:
    """Extremes of `span` bars out of those of `size`, which are at least half as many."""
    n = len(highs)
    highs_now, highs_before, top = highs[span - 1 :], highs[size - 1 : n - span + size], top[span - 1 :]
    lows_now, lows_before, bottom = lows[span - 1 :], lows[size - 1 : n - span + size], bottom[span - 1 :]
    for i in range(len(highs_before)):
        top[i] = highs_now[i] if highs_now[i] > highs_before[i] else highs_before[i]
        bottom[i] = lows_now[i] if lows_now[i] < lows_before[i] else lows_before[i]
