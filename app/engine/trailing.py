"""Where a trailing stop is reached: a stop that follows the best price since acceptance, its mark, and never goes back."""

from __future__ import annotations

from collections.abc import Callable
from decimal import Decimal
from typing import NamedTuple

import numpy as np

from app.domain.bar import Floats


class TrailedBars(NamedTuple):
    """Bars as a trailing stop sees them, arrays of shape (n_bars,). best: the price that moves the mark, high for a sell, low
    for a buy. worst: the price that reaches the stop, the other one."""

    open: Floats
    best: Floats
    worst: Floats
    close: Floats


class Trailed(NamedTuple):
    """bar_index: of the bar that reaches the stop, None when none does. price: where it is reached, the stop, or the open
    beyond it. mark: the best price by then, None without any price."""

    bar_index: int | None
    price: Decimal | None
    mark: Decimal | None


def trail(bars: TrailedBars, sign: int, mark: Decimal | None, stop_of: Callable[[Decimal], Decimal]) -> Trailed:
    """Follow `bars` with a stop that `stop_of` derives from the mark. sign: +1 buy, -1 sell. mark None: the first open."""
    priced = np.isfinite(bars.open)
    if not priced.any():
        return Trailed(None, None, mark)
    first = float(bars.open[int(priced.argmax())]) if mark is None else float(mark)
    follow = np.fmin if sign > 0 else np.fmax
    marks = follow.accumulate(np.concatenate([[first], bars.best]))
    stops = _stops(marks, stop_of)
    before, after = stops[:-1], stops[1:]
    touched = bars.worst >= before if sign > 0 else bars.worst <= before
    closed = bars.close >= after if sign > 0 else bars.close <= after
    hit = touched | closed
    index = int(hit.argmax())
    if not hit[index]:
        return Trailed(None, None, _exact(marks[-1]))
    if not touched[index]:
        reached = _exact(marks[index + 1])
        return Trailed(index, stop_of(reached), reached)
    reached, opened = _exact(marks[index]), _exact(bars.open[index])
    stop = stop_of(reached)
    return Trailed(index, opened if (opened - stop) * sign >= 0 else stop, reached)


def _stops(marks: Floats, stop_of: Callable[[Decimal], Decimal]) -> Floats:
    """The stop for each mark: one exact calculation a distinct mark, so that a price at the stop is seen as such."""
    change = np.flatnonzero(np.diff(marks, prepend=np.nan) != 0)
    stops = np.array([float(stop_of(_exact(mark))) for mark in marks[change]])
    repeated: Floats = np.repeat(stops, np.diff(change, append=len(marks)))
    return repeated


def _exact(price: float) -> Decimal:
    return Decimal(repr(float(price)))
