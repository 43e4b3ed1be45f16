"""The derived path inside a bar: minute bars that agree with the open, high, low, close and volume of the bar they fill.

A derived path is an invention and is marked so wherever it is shown. What it promises: it starts at the open, ends at the
close, touches high and low exactly, never leaves them, sits on the price tick, and its volumes add up; and it is fair:
over bars that are random walks it is a random walk, so that nothing can be earned from how it is derived. (A bridge pinned
at the extremes is not: it turns back from its early moves, which pays whoever buys dips.) It is a pure function of (seed,
symbol, day, bar): counter-based random numbers (splitmix64 over a blake2b key) and plain arithmetic only, so that every
machine computes the same path, one bar at a time or many at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from functools import lru_cache
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.domain.bar import Floats

POINTS_PER_MINUTE = 4
_ANCHOR_DRAWS = 1
_WALKS = 2048
_NEAREST = 12
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)


class MinutePath(NamedTuple):
    """Minute bars without labels; every array has shape (n_bars, steps)."""

    open: Floats
    high: Floats
    low: Floats
    close: Floats
    volume: Floats


def on_tick(prices: Floats) -> Floats:
    """Prices on the US tick: cents from 1.00 up, hundredths of a cent below. Keeps order, so high >= low stays true."""
    return np.where(prices >= 1.0, np.rint(prices * 100.0) / 100.0, np.rint(prices * 10_000.0) / 10_000.0)


def path_key(seed: int, symbol: str, day: date, part: int = 0) -> int:
    """The key of one bar's path. part: number of the source bar within the day, 0 for a daily bar."""
    text = f"{seed}|{symbol}|{day.isoformat()}|{part}"
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def bar_paths(
    keys: Sequence[int], steps: int, *, open: Floats, high: Floats, low: Floats, close: Floats, volume: Floats, smile: bool
) -> MinutePath:
    """`steps` minute bars inside each of n bars; inputs have shape (n_bars,), results (n_bars, steps).

    smile: volume follows the U shape of a trading day; else it is spread evenly, but for noise.
    """
    o, h, lo, c = (on_tick(np.asarray(x, dtype=np.float64)) for x in (open, high, low, close))
    points = steps * POINTS_PER_MINUTE
    draws = _uniforms(np.array(keys, dtype=np.uint64), _ANCHOR_DRAWS + steps)
    price = _bridge(draws[:, :_ANCHOR_DRAWS], points, o=o, h=h, lo=lo, c=c)
    minutes = price.reshape(len(o), steps, POINTS_PER_MINUTE)
    return MinutePath(
        open=minutes[:, :, 0].copy(),
        high=minutes.max(axis=2),
        low=minutes.min(axis=2),
        close=minutes[:, :, -1].copy(),
        volume=_volumes(draws[:, _ANCHOR_DRAWS:], np.asarray(volume, dtype=np.float64), smile=smile),
    )


def _uniforms(keys: npt.NDArray[np.uint64], count: int) -> Floats:
    """Uniform numbers in [0, 1), shape (n_keys, count): splitmix64 of key + counter (Steele, Lea, Flood 2014)."""
    z = keys[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    uniforms: Floats = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniforms


def _bridge(anchor_draws: Floats, n_points: int, *, o: Floats, h: Floats, lo: Floats, c: Floats) -> Floats:
    """Points of shape (n_bars, n_points): for each bar a walk that opened and closed at much the same height of its range,
    drawn among the nearest ones, bent to the bar's own heights and scaled to its range."""
    library = _walks(n_points)
    span = h - lo
    flat = span <= 0.0
    start = np.divide(o - lo, span, out=np.full_like(span, 0.5), where=~flat)
    end = np.divide(c - lo, span, out=np.full_like(span, 0.5), where=~flat)
    far = (library.start - start[:, None]) ** 2 + (library.end - end[:, None]) ** 2
    near = np.sort(np.argpartition(far, _NEAREST, axis=1)[:, :_NEAREST], axis=1)
    rows = np.arange(len(o))
    pick = near[rows, (anchor_draws[:, 0] * _NEAREST).astype(np.int64)]

    walk, mirrored = pick % _WALKS, pick >= _WALKS
    height, i, j = library.height[walk].astype(np.float64), library.first[walk], library.second[walk]
    height[mirrored] = 1.0 - height[mirrored]
    time, first, second = np.arange(n_points, dtype=np.float64), i[:, None], j[:, None]
    height += (start - height[:, 0])[:, None] * np.maximum(0.0, 1.0 - time / first)
    height += (end - height[:, -1])[:, None] * np.maximum(0.0, (time - second) / (n_points - 1.0 - second))
    height = np.abs(height)
    height = 1.0 - np.abs(1.0 - height)
    top, bottom = h[:, None], lo[:, None]
    price = np.clip(on_tick(bottom + height * span[:, None]), bottom, top)
    low_first = library.low_first[walk] != mirrored
    price[:, 0], price[:, -1] = o, c
    price[rows, i], price[rows, j] = np.where(low_first, lo, h), np.where(low_first, h, lo)
    return price


class _Walks(NamedTuple):
    """Random walks scaled to the range 0..1. height: (n_walks, n_points). first, second: where the extremes lie; low_first:
    which of them is the low. start, end: (2 * n_walks,), heights of the ends of the walks, then of their mirror images."""

    height: npt.NDArray[np.float32]
    start: Floats
    end: Floats
    first: npt.NDArray[np.int64]
    second: npt.NDArray[np.int64]
    low_first: npt.NDArray[np.bool_]


@lru_cache(maxsize=4)
def _walks(n_points: int) -> _Walks:
    """`_WALKS` walks, the same on every machine; 13 MB for the minutes of a full day."""
    keys = np.arange(1, _WALKS + 1, dtype=np.uint64) * _MIX_1
    walk = np.cumsum((2.0 * _uniforms(keys, n_points) - 1.0), axis=1)
    low, high = walk.argmin(axis=1), walk.argmax(axis=1)
    rows = np.arange(_WALKS)
    bottom = walk[rows, low][:, None]
    height = (walk - bottom) / (walk[rows, high][:, None] - bottom)
    # Both extremes lie inside, apart from each other, so that open and close keep their own points.
    first = np.clip(np.minimum(low, high), 1, n_points - 3)
    second = np.clip(np.maximum(low, high), first + 1, n_points - 2)
    start, end = height[:, 0], height[:, -1]
    return _Walks(
        height=height.astype(np.float32),
        start=np.concatenate([start, 1.0 - start]),
        end=np.concatenate([end, 1.0 - end]),
        first=first,
        second=second,
        low_first=low < high,
    )


def _volumes(draws: Floats, total: Floats, *, smile: bool) -> Floats:
    """Whole units per minute, shape (n_bars, steps), adding up to `total` exactly."""
    steps = draws.shape[1]
    place = (np.arange(steps) + 0.5) / steps * 2.0 - 1.0
    weight = (0.4 + 1.2 * draws) * (1.0 + 2.0 * place * place if smile else 1.0)
    share = np.cumsum(weight, axis=1)
    filled = np.floor(share / share[:, -1:] * total[:, None])
    filled[:, -1] = total
    return np.diff(filled, axis=1, prepend=0.0)
