"""What doing nothing clever would have earned: buy at the first session's open, hold to the last close; and how much of a
curve is explained by it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from app.backtest.statistics.performance import simple_returns
from app.domain.bar import BarSeries, Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Relation:
    """The line through the returns of each period against those of the benchmark (CAPM with a risk-free rate of zero; Jensen,
    "The Performance of Mutual Funds", 1968), by least squares.

    beta: its slope. alpha: its intercept times the periods of a year, so an arithmetic yearly rate. correlation: Pearson's.
    """

    alpha: float | None = None
    beta: float | None = None
    correlation: float | None = None


def relate(equity: Floats, benchmark: Floats | None, *, periods_per_year: float) -> Relation:
    """Both of shape (n_periods + 1,), known at the same instants. All None with fewer than three returns, or where the
    benchmark did not move; correlation None where the curve did not."""
    if benchmark is None or len(equity) < 4:
        return Relation()
    ours, theirs = simple_returns(equity), simple_returns(benchmark)
    own, other = ours - ours.mean(), theirs - theirs.mean()
    variance, product = float(other @ other), float(own @ other)
    if not variance > 1e-24:
        return Relation()
    beta = product / variance
    length = float(np.sqrt(own @ own) * np.sqrt(variance))
    return Relation(
        alpha=float(ours.mean() - beta * theirs.mean()) * periods_per_year,
        beta=beta,
        correlation=product / length if length > 1e-24 else None,
    )


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
