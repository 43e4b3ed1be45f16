"""Other markets: the same past with another future, with gaps, or as a later split tells it. Pure, seeded by the data."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import numpy as np
import numpy.typing as npt

from app.domain.bar import BarSeries

Bars = Mapping[str, BarSeries]
PRICES = ("open", "high", "low", "close")
CHEAP = ("cut off", "another order", "another level", "missing")
COSTLY = ("cut off", "another level")


def futures(bars: Bars, at: datetime, wanted: Sequence[str] = CHEAP) -> Iterator[tuple[str, Bars]]:
    """Markets that agree with `bars` in everything known by `at`, and in nothing after it, by what was done to it."""
    made: dict[str, Callable[[BarSeries, int], BarSeries]] = {
        "cut off": lambda series, known: series.slice(0, known),
        "another order": _reordered,
        "another level": _levelled,
        "missing": _emptied,
    }
    for name in wanted:
        yield name, {symbol: made[name](series, len(series.known_by(at))) for symbol, series in bars.items()}


def instants(bars: Bars, *, first: int, count: int, seed: int = 7) -> list[datetime]:
    """`count` instants at which at least `first` bars were known and some were not, spread over the bars: half of them when a
    bar has just become known, half a second before the next one is. Fewer where the bars do not suffice."""
    known = np.unique(np.concatenate([series.known_at for series in bars.values()])) if bars else np.empty(0, dtype=np.int64)
    first = max(1, first)
    if len(known) <= first + 1:
        return []
    draw = np.random.default_rng(seed)
    edges = np.linspace(first, len(known) - 1, count + 1).astype(int)
    picked = sorted({int(draw.integers(low, max(low + 1, high))) for low, high in pairwise(edges)})
    # The newest lies inside a bar: there a bar under way can be taken for a finished one.
    return [
        datetime.fromtimestamp(int(known[i - 1] if (len(picked) - number) % 2 == 0 else known[i] - 1), UTC)
        for number, i in enumerate(picked)
    ]


def holed(bars: Bars) -> dict[str, BarSeries]:
    """The same market as a feed with gaps tells it: of every symbol three bars in a row are missing in two places, and every
    second symbol was listed only when a third of the bars had passed. Fills from later bars show there."""
    made = {}
    for number, (symbol, series) in enumerate(bars.items()):
        gone = np.zeros(len(series), dtype=bool)
        for place in (len(series) // 2, 4 * len(series) // 5):
            gone[place + number % 3 : place + number % 3 + 3] = True
        gone[: len(series) // 3 if number % 2 else 0] = True
        made[symbol] = _empty_where(series, gone)
    return made


def split_later(bars: Bars) -> dict[str, BarSeries]:
    """The same bars as they are told after a later split of two for one: half the price, twice the volume, to the bit."""
    return {
        symbol: replace(series, volume=series.volume * 2.0, **{name: getattr(series, name) * 0.5 for name in PRICES})
        for symbol, series in bars.items()
    }


def _reordered(series: BarSeries, known: int) -> BarSeries:
    """What is not known yet comes in another order."""
    order = np.arange(len(series))
    order[known:] = np.random.default_rng(known).permutation(order[known:])
    mixed: dict[str, Any] = {name: getattr(series, name)[order] for name in (*PRICES, "volume")}
    return replace(series, **mixed)


def _levelled(series: BarSeries, known: int) -> BarSeries:
    """What is not known yet is told at four times the price and nine times the volume."""
    later = np.arange(len(series)) >= known
    return replace(
        series,
        volume=np.where(later, series.volume * 9.0, series.volume),
        **{name: np.where(later, getattr(series, name) * 4.0, getattr(series, name)) for name in PRICES},
    )


def _emptied(series: BarSeries, known: int) -> BarSeries:
    return _empty_where(series, np.arange(len(series)) >= known)


def _empty_where(series: BarSeries, gone: npt.NDArray[np.bool_]) -> BarSeries:
    left: dict[str, Any] = {name: np.where(gone, np.nan, getattr(series, name)) for name in (*PRICES, "volume")}
    return replace(series, **left)
