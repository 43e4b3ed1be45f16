"""What strategies are written with: the bars of each symbol abreast, and votes out of conditions."""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.domain.bar import BarSeries, Floats, Seconds
from app.domain.panel import PRICES, Panel
from app.indicators.window import before

Truths = npt.NDArray[np.bool_]

VOTE = 0.5  # the threshold of a strategy whose score is one vote: +1, -1 or 0


class Bars(NamedTuple):
    """Bars without gaps. timestamp: (n_bars,). The others: (..., n_bars), the axes before time being symbols."""

    timestamp: Seconds
    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def by_symbol(panel: Panel, compute: Callable[[Bars], dict[str, Floats]]) -> dict[str, Floats]:
    """`compute` over the bars each symbol has; where it has none (or one whose prices are no numbers above zero) the columns
    are NaN. So neither gaps nor what other symbols are in the panel change a symbol's own columns.

    compute: any number of symbols abreast to columns of shape (..., n_bars).
    """
    there = sound(panel)
    whole = there.all(axis=1)
    with np.errstate(all="ignore"):
        if whole.all():
            return compute(Bars(panel.timestamp, *(getattr(panel, name) for name in PRICES)))
        found: dict[str, Floats] = {}
        # All symbols without a gap at once, the others one by one.
        for rows, bars in ((whole, np.ones(len(panel), dtype=np.bool_)), *((i, there[i]) for i in np.flatnonzero(~whole))):
            part = compute(Bars(panel.timestamp[bars], *(getattr(panel, name)[rows][..., bars] for name in PRICES)))
            for name, column in part.items():
                target = found.setdefault(name, np.full(there.shape, np.nan))
                if np.ndim(rows):
                    target[rows] = column
                else:
                    target[rows, bars] = column
    return found


def votes(up: Truths, down: Truths, *known: Floats) -> Floats:
    """+1 where only `up`, -1 where only `down`, 0 where neither or both; NaN where one of `known` is not a number."""
    vote = up.astype(np.float64) - down
    for column in known:
        vote[~np.isfinite(column)] = np.nan
    return vote


def crosses(first: Floats, second: Floats) -> Floats:
    """+1 on the bar at which `first` gets above `second`, -1 on the one at which it gets below, else 0. Equal is neither above
    nor below. Memory: one bar more than theirs."""
    first_before, second_before = before(first), before(second)
    up = (first > second) & (first_before <= second_before)
    down = (first < second) & (first_before >= second_before)
    return votes(up, down, first, second, first_before, second_before)


def sound(bars: Panel | BarSeries) -> Truths:
    """(..., n_bars): whether there is a bar whose prices are finite numbers above zero."""
    least = np.minimum(np.minimum(bars.open, bars.high), np.minimum(bars.low, bars.close))  # NaN if one of them is
    greatest = np.maximum(np.maximum(bars.open, bars.high), np.maximum(bars.low, bars.close))
    there: Truths = (least > 0.0) & (greatest < np.inf)
    return there
