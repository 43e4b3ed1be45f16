"""Statistics over trailing windows, computed so that a value depends on its window alone, to the last bit.

Running sums are avoided on purpose: they carry rounding from bars long gone, so history and live would differ.
Time is the last axis; axes before it (symbols) are carried along.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from app.domain.bar import Floats


def windows(values: Floats, length: int) -> Floats:
    """Every full window: (..., n) becomes (..., n - length + 1, length), contiguous. Empty when there is none."""
    count = max(0, values.shape[-1] - length + 1)
    # Gathered by take, not a strided view or an index: it answers in C order, and only contiguous rows make every
    # reduction add in the same order, however many rows there are.
    return np.take(values, np.arange(count)[:, None] + np.arange(length), axis=-1)


def change(values: Floats, span: int) -> Floats:
    """values[t] / values[t - span] - 1, a fraction. Memory: span + 1 bars."""
    return _padded(values[..., span:] / values[..., :-span] - 1.0, values.shape)


def mean(values: Floats, length: int) -> Floats:
    """Arithmetic mean of the last `length` values. Memory: length bars."""
    return _padded(windows(values, length).sum(axis=-1) / length, values.shape)


def deviation(values: Floats, length: int) -> Floats:
    """Population standard deviation of the last `length` values, two passes. Memory: length bars."""
    rows = windows(values, length)
    centred = rows - (rows.sum(axis=-1) / length)[..., None]
    return _padded(np.sqrt((centred * centred).sum(axis=-1) / length), values.shape)


def highest(values: Floats, length: int) -> Floats:
    """Greatest of the last `length` values. Memory: length bars."""
    return _padded(windows(values, length).max(axis=-1), values.shape)


def lowest(values: Floats, length: int) -> Floats:
    """Least of the last `length` values. Memory: length bars."""
    return _padded(windows(values, length).min(axis=-1), values.shape)


def trailing(indicator: Callable[..., Floats], *arrays: Floats, memory: int) -> Floats:
    """A recursive indicator made finite: value t is the last value of `indicator` over the last `memory` bars only.

    arrays: each (n,). Memory: `memory` bars.
    """
    count = len(arrays[0])
    out = np.full(count, np.nan)
    for end in range(memory, count + 1):
        out[end - 1] = indicator(*(array[end - memory : end] for array in arrays))[-1]
    return out


def _padded(values: Floats, shape: tuple[int, ...]) -> Floats:
    out = np.full(shape, np.nan)
    if values.shape[-1]:
        out[..., shape[-1] - values.shape[-1] :] = values
    return out
