"""Statistics over trailing windows, computed so that a value depends on its window alone, to the last bit.

Running sums are avoided on purpose: they carry rounding from bars long gone, so history and live would differ. A window
is put together from halves instead, the halves from quarters, each computed once for all the windows they are part of:
log2(length) passes, and memory for a few arrays of the size of the given one, however long the window.

Time is the last axis; axes before it (symbols) are carried along.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from app.domain.bar import Floats

State = tuple[Floats, ...]  # what is known of each window, arrays of one shape
Join = Callable[[State, int, State, int], State]  # newer part, its length, older part, its length


def change(values: Floats, span: int) -> Floats:
    """values[t] / values[t - span] - 1, a fraction. Memory: span + 1 bars."""
    return _padded(values[..., span:] / values[..., :-span] - 1.0, values.shape)


def before(values: Floats, span: int = 1) -> Floats:
    """values[t - span]. Memory: span + 1 bars."""
    return _padded(values[..., :-span], values.shape)


def mean(values: Floats, length: int) -> Floats:
    """Arithmetic mean of the last `length` values; exactly c where all of them are c. Memory: length bars."""
    return decayed_mean(values, length, 1.0)


def decayed_mean(values: Floats, length: int, decay: float) -> Floats:
    """Weighted mean of the last `length` values, each weighing `decay` (above 0 to 1) times the one after it; exactly c where
    all of them are c. Memory: length bars."""

    from app.indicators.folding import fold_means  # compiled: kept out of processes that ask for none

    def share(newer: int, older: int) -> float:
        return decay**newer * weight(older) / weight(newer + older)

    def weight(count: int) -> float:
        return float(count) if decay == 1.0 else (1.0 - decay**count) / (1.0 - decay)

    sizes = [1 << level for level in range(length.bit_length())]
    doubled = np.array([share(size, size) for size in sizes])
    joined = np.array([share(length & (size - 1), size) for size in sizes])
    rows = np.ascontiguousarray(values, dtype=np.float64).reshape(math.prod(values.shape[:-1]), values.shape[-1])
    out = np.empty(rows.shape)
    out[:, : length - 1] = np.nan
    for row, target in zip(rows, out, strict=True):
        fold_means(row, length, doubled, joined, target[length - 1 :])
    return out.reshape(values.shape)


def deviation(values: Floats, length: int) -> Floats:
    """Population standard deviation of the last `length` values, by joining means and squares around them (Chan, Golub and
    LeVeque 1979); exactly 0 where all of them are equal. Memory: length bars."""
    squares = _folded((values, values - values), length, _join_moments)[1]
    return _padded(np.sqrt(squares / length), values.shape)


def highest(values: Floats, length: int) -> Floats:
    """Greatest of the last `length` values. Memory: length bars."""
    return _padded(_folded((values,), length, lambda a, _, b, __: (np.maximum(a[0], b[0]),))[0], values.shape)


def lowest(values: Floats, length: int) -> Floats:
    """Least of the last `length` values. Memory: length bars."""
    return _padded(_folded((values,), length, lambda a, _, b, __: (np.minimum(a[0], b[0]),))[0], values.shape)


def _join_moments(newer: State, count: int, older: State, others: int) -> State:
    """Mean and sum of squares around it, of two parts together."""
    total = count + others
    apart = older[0] - newer[0]
    squares = newer[1] + older[1]
    squares += apart * apart * (count * others / total)
    apart *= others / total
    apart += newer[0]
    return apart, squares


def _folded(values: State, length: int, join: Join) -> State:
    """The state of every full window: arrays (..., n) become (..., n - length + 1), empty when there is none.

    Element by element, in an order that only `length` decides; so a window gives the same bits wherever it stands.
    """
    total = values[0].shape[-1]
    if total < length:
        return tuple(one[..., :0] for one in values)
    block, size = values, 1  # every window of a power of two
    done: State = ()
    count = 0  # the newest part of the windows asked for
    while True:
        if length & size:
            count += size
            older = tuple(one[..., : total - count + 1] for one in block)
            done = join(tuple(one[..., size:] for one in done), count - size, older, size) if done else older
        if count == length:
            return done
        newer, older = tuple(one[..., size:] for one in block), tuple(one[..., :-size] for one in block)
        block, size = join(newer, size, older, size), 2 * size


def _padded(values: Floats, shape: tuple[int, ...]) -> Floats:
    out = np.full(shape, np.nan)
    if values.shape[-1]:
        out[..., shape[-1] - values.shape[-1] :] = values
    return out
