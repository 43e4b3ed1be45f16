"""Invented prices between one close and the next open: thin, small and fair.

A Brownian bridge (in the logarithm of the price) from the close to the open, with the spread of the symbol's overnight gaps
known at that close. As the gap and the bridge then have much the same spread, the walk is a martingale to whoever sees only
its past: an early move says nothing about the open that is not in the price already. A pinned walk of any other spread would
give the open away.
"""

from __future__ import annotations

import hashlib
from typing import Protocol

import numpy as np

from app.domain.bar import BarSeries
from app.engine.path import MinutePath, on_tick

_GAPS = 250
_FEWEST_GAPS = 20
_PRINTS = 0.15  # share of the minutes in which something trades
_VOLUME = 0.02  # of the volume of the day before, for the whole night


class _Hours(Protocol):
    @property
    def begin(self) -> int: ...
    @property
    def end(self) -> int: ...


def overnight_path(daily: BarSeries, evening: _Hours, morning: _Hours, seed: int) -> MinutePath | None:
    """Minutes of the evening after one session, then those of the morning before the next; NaN where nothing trades.

    None when a session has no bar, or too little is known about the symbol's gaps.
    """
    last, after = (int(np.searchsorted(daily.timestamp, at, side="right")) - 1 for at in (evening.begin, morning.end))
    if last < _FEWEST_GAPS or after != last + 1 or daily.known_at[last] != evening.begin:
        return None
    window = slice(max(1, last + 1 - _GAPS), last + 1)
    gaps = np.log(daily.open[window] / daily.close[window.start - 1 : last])
    stream = _stream(f"{seed}|{daily.symbol}|{evening.begin}|night")
    minutes = (evening.end - evening.begin + morning.end - morning.begin) // 60
    traded = stream.random(minutes) < _PRINTS
    count = int(traded.sum())
    steps = stream.standard_normal(count + 1)  # one more: the last step ends at the open itself
    walk = np.cumsum(steps) * np.sqrt(np.mean(gaps**2) / (count + 1))
    share = np.arange(1, count + 2) / (count + 1)
    gap = np.log(daily.open[last + 1] / daily.close[last])
    price = on_tick(daily.close[last] * np.exp(walk - share * walk[-1] + share * gap))[:count]
    prices, volumes = np.full(minutes, np.nan), np.zeros(minutes)
    prices[traded] = price
    volumes[traded] = np.rint((0.5 + stream.random(count)) * daily.volume[last] * _VOLUME / max(1, count))
    return MinutePath(prices, prices, prices, prices, volumes)


def _stream(purpose: str) -> np.random.Generator:
    key = hashlib.blake2b(purpose.encode(), digest_size=16).digest()
    return np.random.Generator(np.random.PCG64(int.from_bytes(key, "big")))
