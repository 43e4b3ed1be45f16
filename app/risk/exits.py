"""Exit policies as data: where the stop, the target and the partial target of a holding are, and whether a price reached one.

The rule, for a holding bought at `entry` (its average price), with R = entry - initial stop:

initial     entry * (1 - stop_loss_fraction); with `atr_stop_multiple`, entry - multiple * ATR where that is higher. The ATR is
            that of the first reading after the entry: it may tighten the fraction that sizes are made for, never widen it.
break-even  once the best price since the entry was `break_even_at_r` R above it, the stop is at the entry.
trailing    best * (1 - trailing_fraction), and best - trailing_atr_multiple * ATR.
target      entry * (1 + take_profit_fraction).
partial     once, at `partial_at_r` R above the entry, `partial_fraction` of the holding is sold.

The stop is the highest of them all and never moves down: what break-even and trailing reached is remembered. A price counts as
having reached a level within `BOUNDARY` of it. What is no number neither moves a level nor reaches one. Pure and compiled: the
decision and the backtest call the same functions; the exit monitor acts on the levels that the decision wrote down. Prices in
the instrument's currency.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from app.domain.exits import FRESH, ExitPolicy, Levels, Progress, rebased

__all__ = [
    "BOUNDARY",
    "FRESH",
    "NOT_DUE",
    "PARTIAL_DUE",
    "STOP_DUE",
    "TARGET_DUE",
    "ExitPolicy",
    "Levels",
    "Progress",
    "due",
    "follow",
    "levels",
    "reached",
    "rebased",
]

BOUNDARY = 1e-9  # relative; an exact -5 % move computed in floats must count as -5 % (prices differ by 1e-7 or more)
NOT_DUE, STOP_DUE, TARGET_DUE, PARTIAL_DUE = 0, 1, 2, 3


@njit(cache=True)
def levels(entry: float, progress: Progress, policy: ExitPolicy) -> Levels:
    """Where the exits of a holding are: its entry price and what `follow` has remembered tell all."""
    if not (entry > 0.0 and entry < np.inf):
        return Levels(np.nan, np.nan, np.nan)
    initial = _initial_stop(entry, progress.initial_stop, policy)
    target = entry * (1.0 + policy.take_profit_fraction) if policy.take_profit_fraction > 0.0 else np.nan
    partial = np.nan
    if policy.partial_at_r > 0.0 and policy.partial_fraction > 0.0 and progress.partial_taken == 0.0:
        partial = entry + policy.partial_at_r * (entry - initial)
    return Levels(_higher(initial, progress.stop), target, partial)


@njit(cache=True)
def follow(entry: float, progress: Progress, price: float, atr: float, policy: ExitPolicy) -> Progress:
    """The memory after one more believed price. atr: average true range of the completed days, NaN if unknown."""
    if not (entry > 0.0 and entry < np.inf and price > 0.0 and price < np.inf):
        return progress
    remembered = progress.initial_stop
    if policy.atr_stop_multiple > 0.0 and not (remembered > 0.0):
        remembered = max(0.0, entry - policy.atr_stop_multiple * atr) if atr > 0.0 and atr < np.inf else 0.0
    initial = _initial_stop(entry, remembered, policy)
    best = max(_higher(progress.best, entry), price)
    stop = _moved_stop(entry, entry - initial, best, progress.stop, atr, policy)
    return Progress(remembered, best, stop, progress.partial_taken)


@njit(cache=True)
def due(price: float, at: Levels) -> int:
    """Which exit `price` asks for: the stop before the target before the partial target."""
    if not (price > 0.0 and price < np.inf):
        return NOT_DUE
    if price <= at.stop * (1.0 + BOUNDARY):
        return STOP_DUE
    if reached(price, at.target):
        return TARGET_DUE
    return PARTIAL_DUE if reached(price, at.partial) else NOT_DUE


@njit(cache=True)
def reached(price: float, level: float) -> bool:
    """Whether a price has risen to a level."""
    return price >= level * (1.0 - BOUNDARY)


@njit(cache=True)
def _initial_stop(entry: float, by_atr: float, policy: ExitPolicy) -> float:
    stop = entry * (1.0 - policy.stop_loss_fraction) if policy.stop_loss_fraction > 0.0 else np.nan
    return _higher(stop, by_atr) if policy.atr_stop_multiple > 0.0 and by_atr < entry else stop


@njit(cache=True)
def _moved_stop(entry: float, risk: float, best: float, before: float, atr: float, policy: ExitPolicy) -> float:
    """The highest stop that break-even and trailing reached, 0.0 if none."""
    stop = before
    if policy.break_even_at_r > 0.0 and risk > 0.0 and reached(best, entry + policy.break_even_at_r * risk):
        stop = _higher(stop, entry)
    if policy.trailing_fraction > 0.0:
        stop = _higher(stop, best * (1.0 - policy.trailing_fraction))
    if policy.trailing_atr_multiple > 0.0 and atr > 0.0 and atr < np.inf:
        stop = _higher(stop, best - policy.trailing_atr_multiple * atr)
    return stop


@njit(cache=True)
def _higher(one: float, other: float) -> float:
    """The higher of two prices; one that is no price does not count."""
    if not (other > 0.0 and other < np.inf):
        return one
    return max(one, other) if one > 0.0 else other
