"""The compiled arithmetic of the features: many windows of 120 bars abreast, each by itself.

A lane is one window. Every statement of a lane uses bars of its own window only, in the same order whatever stands beside it;
so a row is the same to the last bit in a history of years and in the last 120 bars, and the compiler may still compute the
lanes in SIMD. Arrays are flat: bar k of lane j stands at `k * stride + j`. stride 1: one symbol's history, lane j the window
that begins at bar j. stride n: n symbols abreast, one window each.

Rows are sliced before they are indexed: an index that may be negative keeps the compiler from SIMD.

The recursive ones start afresh in each window: RSI, ATR, ADX (Wilder 1978) and MACD (Appel) seeded with plain means, as
TA-Lib has them.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from app.domain.bar import Floats, Seconds

WINDOW = 120
_LAST = WINDOW - 1
_LANES = 64  # windows computed abreast: their state stays in the first cache
_PERIOD = 14  # of ATR and ADX
_SHARE = 1.0 / _PERIOD
_FAST, _SLOW, _SIGNAL = 12, 26, 9


class Steps(NamedTuple):
    """What each bar brings beside its prices; flat, of the same shape. change: from the close before, a fraction. gain, loss:
    the same in currency, one of them 0. true_range: currency. up, down: directional movement, currency."""

    change: Floats
    gain: Floats
    loss: Floats
    true_range: Floats
    up: Floats
    down: Floats


@njit(cache=True, error_model="numpy")
def steps(high: Floats, low: Floats, close: Floats, stride: int) -> Steps:
    """From each bar of a symbol to its next; those of first bars are 0 and in no window's sums."""
    n = len(close)
    change, gain, loss = np.zeros(n), np.zeros(n), np.zeros(n)
    true_range, up, down = np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(stride, n):
        before = close[i - stride]
        moved = close[i] - before
        change[i] = close[i] / before - 1.0
        gain[i] = max(moved, 0.0)
        loss[i] = max(-moved, 0.0)
        true_range[i] = max(high[i], before) - min(low[i], before)
        above, below = high[i] - high[i - stride], low[i - stride] - low[i]
        up[i] = above if above > 0.0 and above > below else 0.0
        down[i] = below if below > 0.0 and below > above else 0.0
    return Steps(change, gain, loss, true_range, up, down)


@njit(cache=True, error_model="numpy")
def fill(
    out: Floats,
    opened: Floats,
    high: Floats,
    low: Floats,
    close: Floats,
    volume: Floats,
    labels: Seconds,
    by: Steps,
    stride: int,
) -> None:
    """Write a row for each lane, (lanes, 35), in the order of `app.learning.features`. labels: of the lanes' newest bars."""
    lanes = len(out)
    block = np.empty((35, _LANES))
    work = np.empty((8, _LANES))
    for first in range(0, lanes, _LANES):
        n = min(_LANES, lanes - first)
        _changes(close, block, first, stride, n)
        _volatilities(by.change, block, first, stride, n, work)
        _extremes(high, low, close, block, first, stride, n, work)
        _newest(opened, high, low, close, by.change, block, first, stride, n)
        _bands(close, block, first, stride, n, work)
        _volumes(volume, block, first, stride, n, work)
        for j in range(n):
            block[28, j] = (labels[first + j] // 86_400 + 3) % 7  # Monday is 0; 1970-01-01 was a Thursday
        _strength(by, block, first, stride, n, work)
        _convergence(close, block, first, stride, n, work)
        _range_and_trend(by, close, block, first, stride, n, work)
        for j in range(n):
            for f in range(35):
                out[first + j, f] = block[f, j]


@njit(cache=True, error_model="numpy")
def _changes(close: Floats, block: Floats, first: int, stride: int, n: int) -> None:
    spans = (1, 2, 3, 5, 10, 20, 60, 119)
    newest = _LAST * stride + first
    now = close[newest : newest + n]
    for f in range(8):
        before = close[newest - spans[f] * stride :]
        for j in range(n):
            block[f, j] = now[j] / before[j] - 1.0


@njit(cache=True, error_model="numpy")
def _spread(values: Floats, length: int, first: int, stride: int, n: int, mean: Floats, deviation: Floats) -> None:
    """Mean and population deviation of the last `length` values of each window, in two passes."""
    for j in range(n):
        mean[j] = 0.0
        deviation[j] = 0.0
    for k in range(WINDOW - length, WINDOW):
        row = values[k * stride + first :]
        for j in range(n):
            mean[j] += row[j]
    for j in range(n):
        mean[j] /= length
    for k in range(WINDOW - length, WINDOW):
        row = values[k * stride + first :]
        for j in range(n):
            away = row[j] - mean[j]
            deviation[j] += away * away
    for j in range(n):
        deviation[j] = math.sqrt(deviation[j] / length)


@njit(cache=True, error_model="numpy")
def _volatilities(change: Floats, block: Floats, first: int, stride: int, n: int, work: Floats) -> None:
    lengths = (5, 20, 60)
    for f in range(3):
        _spread(change, lengths[f], first, stride, n, work[0], block[8 + f])


@njit(cache=True, error_model="numpy")
def _extremes(high: Floats, low: Floats, close: Floats, block: Floats, first: int, stride: int, n: int, work: Floats) -> None:
    """Distances from the highest high and the lowest low of 20, 60 and 120 bars, the newest first."""
    top, bottom = work[0], work[1]
    newest = _LAST * stride + first
    for j in range(n):
        top[j] = high[newest + j]
        bottom[j] = low[newest + j]
    ends = (WINDOW - 20, WINDOW - 60, 0)
    k = _LAST
    for f in range(3):
        while k > ends[f]:
            k -= 1
            highs, lows = high[k * stride + first :], low[k * stride + first :]
            for j in range(n):
                top[j] = highs[j] if highs[j] > top[j] else top[j]
                bottom[j] = lows[j] if lows[j] < bottom[j] else bottom[j]
        for j in range(n):
            block[11 + f, j] = close[newest + j] / top[j] - 1.0
            block[14 + f, j] = close[newest + j] / bottom[j] - 1.0


@njit(cache=True, error_model="numpy")
def _newest(
    opened: Floats, high: Floats, low: Floats, close: Floats, change: Floats, block: Floats, first: int, stride: int, n: int
) -> None:
    newest = _LAST * stride + first
    for j in range(n):
        o, h, lo, c = opened[newest + j], high[newest + j], low[newest + j], close[newest + j]
        block[17, j] = o / close[newest - stride + j] - 1.0
        block[18, j] = c / o - 1.0
        block[19, j] = (h - lo) / c
        block[20, j] = _ratio(c - lo, h - lo, 0.5)
        block[21, j] = _ratio(change[newest + j], block[9, j], 0.0)
        block[22, j] = _ratio(block[8, j], block[10, j], 1.0)


@njit(cache=True, error_model="numpy")
def _bands(close: Floats, block: Floats, first: int, stride: int, n: int, work: Floats) -> None:
    """Place within, and width of, bands of two deviations around the mean of 20."""
    newest = _LAST * stride + first
    _spread(close, 20, first, stride, n, work[0], work[1])
    for j in range(n):
        half = 2.0 * work[1, j]
        block[23, j] = _ratio(close[newest + j] - work[0, j], half, 0.0)
        block[24, j] = 2.0 * half / work[0, j]


@njit(cache=True, error_model="numpy")
def _volumes(volume: Floats, block: Floats, first: int, stride: int, n: int, work: Floats) -> None:
    newest = _LAST * stride + first
    _spread(volume, 20, first, stride, n, work[0], work[1])
    _spread(volume, 60, first, stride, n, work[2], work[3])
    for j in range(n):
        block[25, j] = _ratio(volume[newest + j] - work[0, j], work[1, j], 0.0)
        block[26, j] = _ratio(volume[newest + j] - work[2, j], work[3, j], 0.0)
        block[27, j] = _ratio(volume[newest + j], work[0, j], 1.0) - 1.0


@njit(cache=True, error_model="numpy")
def _strength(by: Steps, block: Floats, first: int, stride: int, n: int, work: Floats) -> None:
    """RSI of 5 and 14 bars, 0..1; 0 where nothing moved."""
    periods = (5, 14)
    for f in range(2):
        period = periods[f]
        gain, loss = work[0], work[1]
        _seed(by.gain, 1, period, first, stride, n, gain)
        _seed(by.loss, 1, period, first, stride, n, loss)
        share = 1.0 / period
        for k in range(period + 1, WINDOW):
            gains, losses = by.gain[k * stride + first :], by.loss[k * stride + first :]
            for j in range(n):
                gain[j] += (gains[j] - gain[j]) * share
                loss[j] += (losses[j] - loss[j]) * share
        for j in range(n):
            block[29 + f, j] = _ratio(gain[j], gain[j] + loss[j], 0.0)


@njit(cache=True, error_model="numpy")
def _convergence(close: Floats, block: Floats, first: int, stride: int, n: int, work: Floats) -> None:
    """MACD line and its distance from its signal, over the close. Both averages begin where the slow one can."""
    fast, slow, signal = work[0], work[1], work[2]
    _seed(close, _SLOW - _FAST, _FAST, first, stride, n, fast)
    _seed(close, 0, _SLOW, first, stride, n, slow)
    for j in range(n):
        signal[j] = fast[j] - slow[j]
    for k in range(_SLOW, WINDOW):
        row = close[k * stride + first :]
        for j in range(n):
            fast[j] += (row[j] - fast[j]) * (2.0 / (_FAST + 1))
            slow[j] += (row[j] - slow[j]) * (2.0 / (_SLOW + 1))
        if k < _SLOW + _SIGNAL - 1:
            for j in range(n):
                signal[j] += fast[j] - slow[j]
            if k == _SLOW + _SIGNAL - 2:
                for j in range(n):
                    signal[j] /= _SIGNAL
        else:
            for j in range(n):
                signal[j] += (fast[j] - slow[j] - signal[j]) * (2.0 / (_SIGNAL + 1))
    newest = _LAST * stride + first
    for j in range(n):
        line = fast[j] - slow[j]
        block[31, j] = line / close[newest + j]
        block[32, j] = (line - signal[j]) / close[newest + j]


@njit(cache=True, error_model="numpy")
def _range_and_trend(by: Steps, close: Floats, block: Floats, first: int, stride: int, n: int, work: Floats) -> None:
    """ATR over the close, and ADX, 0..1."""
    atr, up, down, trend = work[0], work[1], work[2], work[3]
    _seed(by.true_range, 1, _PERIOD, first, stride, n, atr)
    _seed(by.up, 1, _PERIOD - 1, first, stride, n, up)
    _seed(by.down, 1, _PERIOD - 1, first, stride, n, down)
    for j in range(n):
        up[j] *= _PERIOD - 1  # sums, not means
        down[j] *= _PERIOD - 1
        trend[j] = 0.0
    for k in range(_PERIOD, WINDOW):
        at = k * stride + first
        ups, downs, ranges = by.up[at:], by.down[at:], by.true_range[at:]
        weight = 1.0 if k < 2 * _PERIOD else _SHARE
        keep = 1.0 if k < 2 * _PERIOD else 1.0 - _SHARE
        if k == 2 * _PERIOD:
            for j in range(n):
                trend[j] /= _PERIOD
        for j in range(n):
            up[j] += ups[j] - up[j] * _SHARE
            down[j] += downs[j] - down[j] * _SHARE
            both = up[j] + down[j]
            apart = abs(up[j] - down[j]) / (both if both > 0.0 else 1.0)  # both are 0 until the first move only
            trend[j] = trend[j] * keep + apart * weight
        if k > _PERIOD:
            for j in range(n):
                atr[j] += (ranges[j] - atr[j]) * _SHARE
    newest = _LAST * stride + first
    for j in range(n):
        block[33, j] = atr[j] / close[newest + j]
        block[34, j] = trend[j]


@njit(cache=True, error_model="numpy")
def _seed(values: Floats, begin: int, count: int, first: int, stride: int, n: int, mean: Floats) -> None:
    """Plain mean of `count` values from bar `begin` of each window."""
    for j in range(n):
        mean[j] = 0.0
    for k in range(begin, begin + count):
        row = values[k * stride + first :]
        for j in range(n):
            mean[j] += row[j]
    for j in range(n):
        mean[j] /= count


@njit(cache=True, error_model="numpy", inline="always")
def _ratio(above: float, below: float, otherwise: float) -> float:
    """above / below; `otherwise` where `below` is zero (a price that never moved, a volume that never changed)."""
    return above / (below if below != 0.0 else 1.0) if below != 0.0 else otherwise
