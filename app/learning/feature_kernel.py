"""The compiled arithmetic of the features: the windows of 120 bars of one symbol, abreast.

Row j is the window that begins at bar j. Every value of it is computed from bars of its own window only, in the same order
whatever stands beside it; so a row is the same to the last bit in a history of years and in the last 120 bars, and the compiler
may still compute many in SIMD. What can be put together from parts that windows share is (`app.learning.feature_folds`).

The recursive ones start afresh in each window: RSI, ATR, ADX (Wilder 1978) and MACD (Appel) seeded with plain means, as
TA-Lib has them. All but ADX are sums of decaying weights, so no bar has to be walked for them.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit

from app.domain.bar import Floats, Seconds
from app.learning.feature_folds import decayed_sum, extremes, spread

WINDOW = 120
FEATURES = 35
_LAST = WINDOW - 1
_ROWS = 1_280  # windows computed at a time: what they share stays in the second cache
ROOM = (FEATURES + 16, _ROWS + _LAST)  # shape of the room for it: given, because fresh memory costs more than the numbers in it
_LANES = 64  # of them walked abreast: their state stays in the first
_PERIOD = 14  # of ATR and ADX
_KEEP = 1.0 - 1.0 / _PERIOD
_FAST, _SLOW, _SIGNAL = 12, 26, 9
_WALKED = _SLOW + _SIGNAL - 2  # the bar of a window up to which MACD is walked: there its signal begins
_LEAST = 1e-100  # in place of a movement of nothing, which it divides


class Steps(NamedTuple):
    """What each bar brings beside its prices, shape (n_bars,). change: from the close before, a fraction. gain, loss:
    the same in currency, one of them 0. true_range: currency. up, down: directional movement, currency."""

    change: Floats
    gain: Floats
    loss: Floats
    true_range: Floats
    up: Floats
    down: Floats


@njit(cache=True, error_model="numpy")
def fill(out: Floats, values: Floats, labels: Seconds, room: Floats) -> None:
    """Write a row for each window of a symbol, (n_windows, FEATURES), in the order of `app.learning.features`.

    values: open, high, low, close, volume, (5, n_windows + WINDOW - 1). labels: of the windows' newest bars. room: of shape
    ROOM, for what comes in between.
    """
    for first in range(0, len(out), _ROWS):
        n = min(_ROWS, len(out) - first)
        stop = first + n + _LAST
        opened, high, low = values[0, first:stop], values[1, first:stop], values[2, first:stop]
        close, volume = values[3, first:stop], values[4, first:stop]
        by = _steps(high, low, close)
        rows, work, held = room[:FEATURES], room[FEATURES : FEATURES + 4], room[FEATURES + 4 :]
        _changes(close, rows)
        _volatilities(by.change, rows, work, held)
        _extremes(high, low, close, rows, work, held)
        _newest(opened, high, low, close, by.change, rows)
        _bands(close, rows, work, held)
        _volumes(volume, rows, work, held)
        for j in range(n):
            rows[28, j] = (labels[first + j] // 86_400 + 3) % 7  # Monday is 0; 1970-01-01 was a Thursday
        _strength(by, rows, work, held)
        _convergence(close, rows, work, held)
        _range(by.true_range, close, rows, work, held)
        _trend(by.up, by.down, rows[34, :n], work, held)
        for j in range(n):
            for f in range(FEATURES):
                out[first + j, f] = rows[f, j]


@njit(cache=True, error_model="numpy")
def fill_each(out: Floats, values: Floats, labels: Seconds, room: Floats) -> None:
    """A row for each symbol, (n_symbols, FEATURES). values: (n_symbols, 5, WINDOW). labels: of the newest bars."""
    for i in range(len(values)):
        fill(out[i : i + 1], values[i], labels[i : i + 1], room)


@njit(cache=True, error_model="numpy")
def _steps(high: Floats, low: Floats, close: Floats) -> Steps:
    """From each bar to its next; those of the first are 0 and in no window's sums."""
    n = len(close)
    change, gain, loss = np.zeros(n), np.zeros(n), np.zeros(n)
    true_range, up, down = np.zeros(n), np.zeros(n), np.zeros(n)
    for i in range(1, n):
        before = close[i - 1]
        moved = close[i] - before
        change[i] = close[i] / before - 1.0
        gain[i] = max(moved, 0.0)
        loss[i] = max(-moved, 0.0)
        true_range[i] = max(high[i], before) - min(low[i], before)
        above, below = high[i] - high[i - 1], low[i - 1] - low[i]
        up[i] = above if above > 0.0 and above > below else 0.0
        down[i] = below if below > 0.0 and below > above else 0.0
    return Steps(change, gain, loss, true_range, up, down)


@njit(cache=True, error_model="numpy")
def _changes(close: Floats, rows: Floats) -> None:
    spans = (1, 2, 3, 5, 10, 20, 60, 119)
    now = close[_LAST:]
    for f in range(8):
        before, row = close[_LAST - spans[f] :], rows[f, : len(now)]
        for j in range(len(now)):
            row[j] = now[j] / before[j] - 1.0


@njit(cache=True, error_model="numpy")
def _volatilities(change: Floats, rows: Floats, work: Floats, held: Floats) -> None:
    lengths = (5, 20, 60)
    for f in range(3):
        spread(change, lengths[f], held[0], held[1], work)
        rows[8 + f, : len(change) - _LAST] = held[1, _LAST : len(change)]


@njit(cache=True, error_model="numpy")
def _extremes(high: Floats, low: Floats, close: Floats, rows: Floats, work: Floats, held: Floats) -> None:
    """Distances from the highest high and the lowest low of 20, 60 and 120 bars."""
    extremes(high, low, held[0:3], held[3:6], work)
    now = close[_LAST:]
    for f in range(6):
        row, extreme = rows[11 + f], held[f, _LAST:]
        for j in range(len(now)):
            row[j] = now[j] / extreme[j] - 1.0


@njit(cache=True, error_model="numpy")
def _newest(opened: Floats, high: Floats, low: Floats, close: Floats, change: Floats, rows: Floats) -> None:
    before, move = close[_LAST - 1 :], change[_LAST:]
    opens, highs, lows, closes = opened[_LAST:], high[_LAST:], low[_LAST:], close[_LAST:]
    for j in range(len(closes)):
        o, h, lo, c = opens[j], highs[j], lows[j], closes[j]
        rows[17, j] = o / before[j] - 1.0
        rows[18, j] = c / o - 1.0
        rows[19, j] = (h - lo) / c
        rows[20, j] = _ratio(c - lo, h - lo, 0.5)
        rows[21, j] = _ratio(move[j], rows[9, j], 0.0)
        rows[22, j] = _ratio(rows[8, j], rows[10, j], 1.0)


@njit(cache=True, error_model="numpy")
def _bands(close: Floats, rows: Floats, work: Floats, held: Floats) -> None:
    """Place within, and width of, bands of two deviations around the mean of 20."""
    spread(close, 20, held[0], held[1], work)
    now, mean, deviation = close[_LAST:], held[0, _LAST:], held[1, _LAST:]
    for j in range(len(now)):
        half = 2.0 * deviation[j]
        rows[23, j] = _ratio(now[j] - mean[j], half, 0.0)
        rows[24, j] = 2.0 * half / mean[j]


@njit(cache=True, error_model="numpy")
def _volumes(volume: Floats, rows: Floats, work: Floats, held: Floats) -> None:
    spread(volume, 20, held[0], held[1], work)
    spread(volume, 60, held[2], held[3], work)
    now, mean, deviation = volume[_LAST:], held[0, _LAST:], held[1, _LAST:]
    long_mean, long_deviation = held[2, _LAST:], held[3, _LAST:]
    for j in range(len(now)):
        rows[25, j] = _ratio(now[j] - mean[j], deviation[j], 0.0)
        rows[26, j] = _ratio(now[j] - long_mean[j], long_deviation[j], 0.0)
        rows[27, j] = _ratio(now[j], mean[j], 1.0) - 1.0


@njit(cache=True, error_model="numpy")
def _smoothed(values: Floats, period: int, out: Floats, work: Floats, held: Floats) -> None:
    """Wilder's average at the end of each window, seeded with the mean of the values of bars 1 to `period`. out: (n_windows,).
    held: (>= 2, n_bars)."""
    keep, rest = 1.0 - 1.0 / period, _LAST - period
    decayed_sum(values, period, 1.0, held[0], work)
    decayed_sum(values, rest, keep, held[1], work)
    seed, sums = held[0, period:], held[1, _LAST:]
    seed_weight, weight = keep**rest / period, 1.0 / period
    for j in range(len(out)):
        out[j] = seed[j] * seed_weight + sums[j] * weight


@njit(cache=True, error_model="numpy")
def _strength(by: Steps, rows: Floats, work: Floats, held: Floats) -> None:
    """RSI of 5 and 14 bars, 0..1; 0 where nothing moved."""
    periods = (5, 14)
    n = len(by.gain)
    gain, loss = held[0, _LAST:n], held[1, _LAST:n]
    for f in range(2):
        _smoothed(by.gain, periods[f], gain, work, held[2:])
        _smoothed(by.loss, periods[f], loss, work, held[2:])
        for j in range(len(gain)):
            rows[29 + f, j] = _ratio(gain[j], gain[j] + loss[j], 0.0)


@njit(cache=True, error_model="numpy")
def _range(true_range: Floats, close: Floats, rows: Floats, work: Floats, held: Floats) -> None:
    """ATR over the close."""
    now = close[_LAST:]
    row = rows[33, : len(now)]
    _smoothed(true_range, _PERIOD, row, work, held)
    for j in range(len(now)):
        row[j] /= now[j]


@njit(cache=True, error_model="numpy")
def _convergence(close: Floats, rows: Floats, work: Floats, held: Floats) -> None:
    """MACD line and its distance from its signal, over the close. Both averages begin where the slow one can.

    They are walked up to the bar where the signal begins. Of the bars after that, let S(q) be the sum with decay q: an average
    with decay q is (1 - q) * S(q), and the average with decay g of it (1 - g) * (1 - q) / (g - q) * (g * S(g) - q * S(q)).
    """
    rest = _LAST - _WALKED
    keep, slow_keep, signal_keep = 1.0 - 2.0 / (_FAST + 1), 1.0 - 2.0 / (_SLOW + 1), 1.0 - 2.0 / (_SIGNAL + 1)
    fast, slow, signal = held[0], held[1], held[2]
    decayed_sum(close, _FAST, 1.0, fast, work)
    decayed_sum(close, _SLOW, 1.0, slow, work)
    fast, slow = fast[_SLOW - 1 : len(close) - _LAST + _SLOW - 1], slow[_SLOW - 1 : len(close) - _LAST + _SLOW - 1]
    for j in range(len(fast)):
        fast[j] /= _FAST
        slow[j] /= _SLOW
        signal[j] = fast[j] - slow[j]
    for k in range(_SLOW, _WALKED + 1):
        now = close[k:]
        for j in range(len(fast)):
            fast[j] += (now[j] - fast[j]) * (1.0 - keep)
            slow[j] += (now[j] - slow[j]) * (1.0 - slow_keep)
            signal[j] += fast[j] - slow[j]
    decayed_sum(close, rest, keep, held[3], work)
    decayed_sum(close, rest, slow_keep, held[4], work)
    decayed_sum(close, rest, signal_keep, held[5], work)
    fast_sum, slow_sum, signal_sum, now = held[3, _LAST:], held[4, _LAST:], held[5, _LAST:], close[_LAST:]
    fast_seed, slow_seed, signal_seed = keep**rest, slow_keep**rest, signal_keep**rest / _SIGNAL
    # Of the averages' own seeds, what reaches the signal.
    fast_through = (1.0 - signal_keep) * keep * (signal_keep**rest - keep**rest) / (signal_keep - keep)
    slow_through = (1.0 - signal_keep) * slow_keep * (signal_keep**rest - slow_keep**rest) / (signal_keep - slow_keep)
    fast_twice = (1.0 - signal_keep) * (1.0 - keep) / (signal_keep - keep)
    slow_twice = (1.0 - signal_keep) * (1.0 - slow_keep) / (signal_keep - slow_keep)
    for j in range(len(now)):
        line = (fast[j] * fast_seed + fast_sum[j] * (1.0 - keep)) - (slow[j] * slow_seed + slow_sum[j] * (1.0 - slow_keep))
        through = fast[j] * fast_through - slow[j] * slow_through + signal[j] * signal_seed
        of_fast = fast_twice * (signal_keep * signal_sum[j] - keep * fast_sum[j])
        of_slow = slow_twice * (signal_keep * signal_sum[j] - slow_keep * slow_sum[j])
        rows[31, j] = line / now[j]
        rows[32, j] = (line - (through + (of_fast - of_slow))) / now[j]


@njit(cache=True, error_model="numpy")
def _trend(up: Floats, down: Floats, row: Floats, work: Floats, held: Floats) -> None:
    """ADX, 0..1: the one average whose terms depend on where the window begins, so each window walks its bars."""
    decayed_sum(up, _PERIOD - 1, 1.0, held[0], work)
    decayed_sum(down, _PERIOD - 1, 1.0, held[1], work)
    for first in range(0, len(row), _LANES):
        n = min(_LANES, len(row) - first)
        at = first + _PERIOD - 1
        rises, falls, trend = held[0, at : at + n], held[1, at : at + n], row[first : first + n]
        trend[:] = 0.0
        for k in range(_PERIOD, 2 * _PERIOD, 2):
            _two_bars(up[first + k :], down[first + k :], rises, falls, trend, 1.0, 1.0)
        for j in range(n):
            trend[j] /= _PERIOD
        for k in range(2 * _PERIOD, WINDOW, 2):
            _two_bars(up[first + k :], down[first + k :], rises, falls, trend, _KEEP, 1.0 / _PERIOD)


@njit(cache=True, error_model="numpy", inline="always")
def _two_bars(up: Floats, down: Floats, rises: Floats, falls: Floats, trend: Floats, keep: float, weight: float) -> None:
    """Two more bars of each window, at the price of one division."""
    up_next, down_next = up[1:], down[1:]
    for j in range(len(trend)):
        rise, fall = rises[j] * _KEEP + up[j], falls[j] * _KEEP + down[j]
        apart, both = abs(rise - fall), max(rise + fall, _LEAST)
        rise, fall = rise * _KEEP + up_next[j], fall * _KEEP + down_next[j]
        apart_next, both_next = abs(rise - fall), max(rise + fall, _LEAST)
        rises[j], falls[j] = rise, fall
        term = (keep * apart * both_next + apart_next * both) / (both * both_next)
        trend[j] = trend[j] * (keep * keep) + term * weight


@njit(cache=True, error_model="numpy", inline="always")
def _ratio(above: float, below: float, otherwise: float) -> float:
    """above / below; `otherwise` where `below` is zero (a price that never moved, a volume that never changed)."""
    return above / (below if below != 0.0 else 1.0) if below != 0.0 else otherwise
