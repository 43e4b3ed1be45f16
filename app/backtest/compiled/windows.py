"""Means and deviations of all windows of a length, in the very order in which numpy adds up one window by itself.

numpy adds 8 to 128 numbers as eight sums of every eighth, those pairwise, then what is left one after the other ("pairwise
summation"; Higham 1993). Here many windows are added abreast in that order, so they equal `np.mean` and `np.std` of each window
to the last bit.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from app.domain.bar import Floats

_ABREAST = 64


@njit(cache=True, nogil=True, error_model="numpy")
def window_means(values: Floats, length: int, out: Floats) -> None:
    """`np.mean` of each window of 8 to 128 values. out: (n - length + 1,)."""
    parts, center = np.empty((8, _ABREAST)), np.zeros(_ABREAST)
    for first in range(0, len(out), _ABREAST):
        found = out[first : first + _ABREAST]
        _sums(values[first:], length, center, False, parts, found)
        for j in range(len(found)):
            found[j] /= length


@njit(cache=True, nogil=True, error_model="numpy")
def window_deviations(values: Floats, length: int, out: Floats) -> None:
    """`np.std` with one degree of freedom less of each window of 8 to 128 values. out: (n - length + 1,)."""
    parts, center = np.empty((8, _ABREAST)), np.zeros(_ABREAST)
    for first in range(0, len(out), _ABREAST):
        found = out[first : first + _ABREAST]
        _sums(values[first:], length, center, False, parts, found)
        for j in range(len(found)):
            center[j] = found[j] / length
        _sums(values[first:], length, center, True, parts, found)
        for j in range(len(found)):
            found[j] = math.sqrt(found[j] / (length - 1))
            center[j] = 0.0


@njit(cache=True, nogil=True, error_model="numpy")
def _sums(values: Floats, length: int, center: Floats, is_squared: bool, parts: Floats, out: Floats) -> None:
    """Sums of the values of each window, or of their squares around `center`."""
    grouped = length - length % 8
    for m in range(grouped):
        row, part = values[m:], parts[m % 8]
        if is_squared:
            for j in range(len(out)):
                away = row[j] - center[j]
                part[j] = away * away if m < 8 else part[j] + away * away
        else:
            for j in range(len(out)):
                part[j] = row[j] if m < 8 else part[j] + row[j]
    for j in range(len(out)):
        lower = (parts[0, j] + parts[1, j]) + (parts[2, j] + parts[3, j])
        out[j] = lower + ((parts[4, j] + parts[5, j]) + (parts[6, j] + parts[7, j]))
    for m in range(grouped, length):
        row = values[m:]
        for j in range(len(out)):
            away = row[j] - center[j]
            out[j] += away * away if is_squared else row[j]
