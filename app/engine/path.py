"""The derived path inside a bar: minute bars that agree with the open, high, low, close and volume of the bar they fill.

A derived path is an invention and is marked so wherever it is shown. What it promises: it starts at the open, ends at the
close, touches high and low exactly, never leaves them, sits on the price tick, and its volumes add up. It is a pure
function of (seed, symbol, day, bar): counter-based random numbers (splitmix64 over a blake2b key), additions and square
roots only, so that every machine computes the same path, one bar at a time or many at once.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from datetime import date
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from app.domain.bar import Floats

POINTS_PER_MINUTE = 4
_ANCHOR_DRAWS = 3
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_MIX_1, _MIX_2 = np.uint64(0xBF58476D1CE4E5B9), np.uint64(0x94D049BB133111EB)
_ROOT_3 = 1.7320508075688772
_RANGE_OF_WALK = 1.6  # expected range of a driftless walk of unit variance: sqrt(8 / pi)


class MinutePath(NamedTuple):
    """Minute bars without labels; every array has shape (steps,) from `day_path`, (n_bars, steps) from `bar_paths`."""

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


def day_path(
    seed: int, symbol: str, day: date, steps: int, open: float, high: float, low: float, close: float, volume: float
) -> MinutePath:
    """`steps` minute bars inside one daily bar, volume heavier near open and close."""
    o, h, lo, c, v = (np.array([x], dtype=np.float64) for x in (open, high, low, close, volume))
    paths = bar_paths([path_key(seed, symbol, day)], steps, open=o, high=h, low=lo, close=c, volume=v, smile=True)
    return MinutePath(*(array[0] for array in paths))


def bar_paths(
    keys: Sequence[int], steps: int, *, open: Floats, high: Floats, low: Floats, close: Floats, volume: Floats, smile: bool
) -> MinutePath:
    """`steps` minute bars inside each of n bars; inputs have shape (n_bars,), results (n_bars, steps).

    smile: volume follows the U shape of a trading day; else it is spread evenly, but for noise.
    """
    o, h, lo, c = (on_tick(np.asarray(x, dtype=np.float64)) for x in (open, high, low, close))
    points = steps * POINTS_PER_MINUTE
    draws = _uniforms(np.array(keys, dtype=np.uint64), _ANCHOR_DRAWS + points + steps)
    price = _bridge(draws[:, :_ANCHOR_DRAWS], draws[:, _ANCHOR_DRAWS : _ANCHOR_DRAWS + points], o=o, h=h, lo=lo, c=c)
    minutes = price.reshape(len(o), steps, POINTS_PER_MINUTE)
    return MinutePath(
        open=minutes[:, :, 0].copy(),
        high=minutes.max(axis=2),
        low=minutes.min(axis=2),
        close=minutes[:, :, -1].copy(),
        volume=_volumes(draws[:, _ANCHOR_DRAWS + points :], np.asarray(volume, dtype=np.float64), smile=smile),
    )


def _uniforms(keys: npt.NDArray[np.uint64], count: int) -> Floats:
    """Uniform numbers in [0, 1), shape (n_keys, count): splitmix64 of key + counter (Steele, Lea, Flood 2014)."""
    z = keys[:, None] + np.arange(1, count + 1, dtype=np.uint64) * _GOLDEN
    z = (z ^ (z >> np.uint64(30))) * _MIX_1
    z = (z ^ (z >> np.uint64(27))) * _MIX_2
    z ^= z >> np.uint64(31)
    uniforms: Floats = (z >> np.uint64(11)).astype(np.float64) * 2.0**-53
    return uniforms


def _bridge(anchor_draws: Floats, noise: Floats, *, o: Floats, h: Floats, lo: Floats, c: Floats) -> Floats:
    """Points of shape (n_bars, n_points): a random walk pinned at open, both extremes and close, folded into [low, high]."""
    n_points = noise.shape[1]
    rows, time = np.arange(len(o)), np.arange(n_points, dtype=np.float64)
    span = h - lo
    # The low tends to come first in a rising bar, and the extremes cluster near both ends, as in a random walk.
    rise = np.divide(c - o, span, out=np.zeros_like(span), where=span > 0)
    low_first = anchor_draws[:, 2] < 0.5 + 0.45 * rise
    spots = anchor_draws[:, :2]
    spots = 1.0 + np.floor(spots * spots * (3.0 - 2.0 * spots) * (n_points - 2))
    first = np.minimum(spots.min(axis=1), n_points - 3.0)
    second = np.maximum(np.minimum(spots.max(axis=1), n_points - 2.0), first + 1.0)
    at_first, at_second = np.where(low_first, lo, h), np.where(low_first, h, lo)

    scale = span / (_RANGE_OF_WALK * np.sqrt(float(n_points)))
    walk = np.cumsum((2.0 * noise - 1.0) * _ROOT_3, axis=1) * scale[:, None]
    i, j = first.astype(np.int64), second.astype(np.int64)
    knots_t = np.stack([np.zeros_like(first), first, second, np.full_like(first, n_points - 1.0)])
    knots_p = np.stack([o - walk[:, 0], at_first - walk[rows, i], at_second - walk[rows, j], c - walk[:, -1]])
    slope = np.diff(knots_p, axis=0) / np.diff(knots_t, axis=0)
    segment = (time >= first[:, None]).astype(np.int8) + (time >= second[:, None])
    base = knots_p[:3] - slope * knots_t[:3]
    row = rows[:, None]
    price = walk + base[segment, row] + slope[segment, row] * time

    top, bottom = h[:, None], lo[:, None]
    price = np.where(price > top, 2.0 * top - price, price)
    price = np.where(price < bottom, 2.0 * bottom - price, price)
    price = np.clip(on_tick(price), bottom, top)
    price[:, 0], price[rows, i], price[rows, j], price[:, -1] = o, at_first, at_second, c
    return price


def _volumes(draws: Floats, total: Floats, *, smile: bool) -> Floats:
    """Whole units per minute, shape (n_bars, steps), adding up to `total` exactly."""
    steps = draws.shape[1]
    place = (np.arange(steps) + 0.5) / steps * 2.0 - 1.0
    weight = (0.4 + 1.2 * draws) * (1.0 + 2.0 * place * place if smile else 1.0)
    share = np.cumsum(weight, axis=1)
    filled = np.floor(share / share[:, -1:] * total[:, None])
    filled[:, -1] = total
    return np.diff(filled, axis=1, prepend=0.0)
