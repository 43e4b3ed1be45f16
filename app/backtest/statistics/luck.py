"""Whether the times of the trades mattered, and whether the parameters stand on a plateau or on a peak."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

from app.domain.bar import Floats
from app.domain.errors import InvalidInput

ENTRY_DRAWS = 5_000
_CELLS = 1_000_000  # placed holdings at a time
# With fewer draws beyond it than this, a count says little and the normal tail is used: a sum of many trades is near it.
_COUNTABLE = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class Stay:
    """A holding in the market. symbol: row of the prices. entered, left: bar indices, entered <= left. weight: the share of
    equity it was worth, below zero for a short."""

    symbol: int
    entered: int
    left: int
    weight: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class RandomEntry:
    """Ours among as many holdings, as long, at random times. probability: of random times doing as well or better. own,
    median: sums of weighted log returns after costs, ours and of the middle draw."""

    probability: float
    own: float
    median: float
    draws: int
    stays: int


def random_entry_test(
    prices: Floats, stays: Sequence[Stay], generator: np.random.Generator, *, round_trip_cost: float, draws: int = ENTRY_DRAWS
) -> RandomEntry:
    """prices: shape (n_symbols, n_bars), NaN where there is none; every stay, ours too, is valued from the price of its first
    bar to that of its last, less `round_trip_cost`, a fraction.

    A draw shuffles the stays of each symbol and puts random gaps between them, within the bars that have a price: nothing
    overlaps, and each is held as long as ours was. Raises InvalidInput where ours overlap within a symbol."""
    if not stays:
        raise InvalidInput("there are no holdings to compare with random ones")
    own, drawn = 0.0, np.zeros(draws)
    for symbol in sorted({stay.symbol for stay in stays}):
        kept = [stay for stay in stays if stay.symbol == symbol]
        valid = np.flatnonzero(prices[symbol] > 0.0)
        if not len(valid) or min(stay.entered for stay in kept) < valid[0]:
            raise InvalidInput("a holding begins before its symbol has a price")
        path = _filled(prices[symbol, valid[0] : valid[-1] + 1])
        first = int(valid[0])
        last = len(path) - 1
        begin = np.array([min(stay.entered - first, last) for stay in kept])
        length = np.array([min(stay.left - first, last) for stay in kept]) - begin
        weight = np.array([stay.weight for stay in kept])
        if (length < 0).any() or length.sum() > last:
            raise InvalidInput("holdings of a symbol must not overlap, nor end before they begin")
        own += float(weight @ (path[begin + length] - path[begin]))
        drawn += _placed(path, length, weight, generator, draws)
    cost = math.log1p(-round_trip_cost) * sum(abs(stay.weight) for stay in stays)
    return RandomEntry(
        probability=_tail(own, drawn), own=own + cost, median=float(np.median(drawn)) + cost, draws=draws, stays=len(stays)
    )


def _placed(path: Floats, length: np.ndarray, weight: Floats, generator: np.random.Generator, draws: int) -> Floats:
    """Sums of weighted log returns of the stays at random times, shape (draws,). path: log prices."""
    free, rows, parts = len(path) - 1 - int(length.sum()), max(1, _CELLS // len(length)), []
    for begin in range(0, draws, rows):
        shape = min(rows, draws - begin), len(length)
        order = generator.random(shape).argsort(axis=1)
        lengths = length[order]
        gaps = np.sort(generator.integers(0, free + 1, shape), axis=1)
        entered = gaps + np.cumsum(lengths, axis=1) - lengths
        parts.append(((path[entered + lengths] - path[entered]) * weight[order]).sum(axis=1))
    return np.concatenate(parts)


def _filled(prices: Floats) -> Floats:
    """Logarithms of prices, each gap at the price before it; the first is a price."""
    place = np.maximum.accumulate(np.where(prices > 0.0, np.arange(len(prices)), 0))
    return np.log(prices[place])


def _tail(own: float, drawn: Floats) -> float:
    beyond = int((drawn >= own).sum())
    counted = (beyond + 1) / (len(drawn) + 1)
    deviation = float(drawn.std())
    if beyond >= _COUNTABLE or not deviation > 0.0:
        return counted
    return min(counted, NormalDist().cdf(-(own - float(drawn.mean())) / deviation))


@dataclass(frozen=True, slots=True, kw_only=True)
class Plateau:
    """share: of the best set's neighbours whose result is within the tolerance of its own."""

    neighbours: int
    share: float


def parameter_plateau(
    sets: Sequence[Mapping[str, float]],
    results: Sequence[float] | Floats,
    chosen: Mapping[str, float],
    *,
    tolerance: float = 0.5,
) -> Plateau | None:
    """The neighbours of `chosen` among the evaluated sets: those that differ by no more than one tried step in any parameter.

    results: larger is better, of each set. tolerance: the part of the result of `chosen` that a neighbour may lack. None
    without neighbours, and where `chosen` itself was not evaluated or earned nothing."""
    names = list(chosen)
    same = [i for i, values in enumerate(sets) if values.keys() == chosen.keys()]
    if not names or not same:
        return None
    table = np.array([[float(sets[i][name]) for name in names] for i in same])
    steps = np.stack([np.unique(column, return_inverse=True)[1] for column in table.T], axis=1)
    own = np.flatnonzero((table == [float(chosen[name]) for name in names]).all(axis=1))
    if not len(own):
        return None
    distance = np.abs(steps - steps[own[0]]).max(axis=1)
    figures = np.asarray(results, dtype=np.float64)[same]
    best, near = figures[own[0]], figures[distance == 1]
    if not len(near) or not best > 0.0:
        return None
    return Plateau(neighbours=len(near), share=float((near >= best * (1.0 - tolerance)).mean()))


def pooled(plateaus: Iterable[Plateau | None]) -> Plateau | None:
    """Several choices as one: the share over the neighbours of all of them. None where none has any."""
    known = [plateau for plateau in plateaus if plateau is not None]
    neighbours = sum(plateau.neighbours for plateau in known)
    if not neighbours:
        return None
    return Plateau(neighbours=neighbours, share=sum(plateau.share * plateau.neighbours for plateau in known) / neighbours)
