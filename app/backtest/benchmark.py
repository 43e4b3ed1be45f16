"""What doing nothing clever would have earned: buy at the first session's open, hold to the last close."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from app.domain.bar import BarSeries, Floats


def buy_and_hold(bars: Mapping[str, BarSeries], closes_at: Sequence[int], *, cost_fraction: float = 0.0) -> Floats | None:
    """Value of 1.0 put in equal parts into every symbol that has a bar in the first session, shape (n_sessions + 1,).

    closes_at: when each session closed, seconds since 1970 UTC. A symbol without a bar keeps its last close.
    cost_fraction: paid once, on the purchase. None when no symbol can be bought.
    """
    curves = [curve for series in bars.values() if (curve := _held(series, closes_at)) is not None]
    if not curves:
        return None
    held: Floats = np.mean(curves, axis=0) * (1.0 - cost_fraction)
    return np.concatenate(([1.0], held))


def _held(bars: BarSeries, closes_at: Sequence[int]) -> Floats | None:
    """Value at each close of 1.0 bought at the open of the first session; None without a bar in it."""
    newest = np.searchsorted(bars.known_at, np.asarray(closes_at, dtype=np.int64), side="right") - 1
    first = int(newest[0]) if len(newest) else -1
    if first < 0 or bars.known_at[first] != closes_at[0] or not bars.open[first] > 0:
        return None
    held: Floats = bars.close[newest] / bars.open[first]
    return held
