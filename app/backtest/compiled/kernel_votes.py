"""Votes of the research kernel: out of scores and lines, and the next one from a bar on, eight bars at a time."""

from __future__ import annotations

import numpy as np

from app.backtest.compiled.kernel_terms import Integers, Votes, compiled
from app.domain.bar import Floats

_EVERY_ONE = 0x0101010101010101  # the lowest bit of each of eight bytes
_PLACES = 0x0001020304050607  # times 1 << 8 * k it has k in its highest byte


@compiled
def vote(score: Floats, threshold: float, votes: Votes) -> None:
    """Votes of a score, none where it is NaN. votes may be longer: the rest stays as it is."""
    out = votes[: len(score)]
    for i in range(len(score)):
        out[i] = np.int8(score[i] >= threshold) - np.int8(score[i] <= -threshold)


@compiled
def cross(fast: Floats, slow: Floats, start: int, stop: int, votes: Votes) -> None:
    """Votes in bars start <= i < stop: +1 where `fast` crosses above `slow`, -1 where below; none where either is unknown."""
    if start == 0 and stop > 0:
        votes[0] = 0
        start = 1
    # Slices, because an index that cannot be negative is what lets the compiler take several bars at once.
    fast_before, slow_before = fast[start - 1 : stop - 1], slow[start - 1 : stop - 1]
    fast_now, slow_now, out = fast[start:stop], slow[start:stop], votes[start:stop]
    for i in range(len(out)):
        up = (fast_now[i] > slow_now[i]) & (fast_before[i] <= slow_before[i])
        down = (fast_now[i] < slow_now[i]) & (fast_before[i] >= slow_before[i])
        out[i] = np.int8(up) - np.int8(down)


@compiled
def next_buy(words: Integers, start: int) -> int:
    """The first bar from `start` on that votes +1, or -1. words: the votes, eight in each."""
    keep = -1 << 8 * (start & 7)
    for k in range(start >> 3, len(words)):
        # A byte of +1 has its lowest bit and no sign, one of -1 has both.
        found = words[k] & keep & _EVERY_ONE & ~(words[k] >> 7)
        if found:
            return int(8 * k + ((found & -found) * _PLACES >> 56))
        keep = -1
    return -1


@compiled
def next_sell(words: Integers, start: int) -> int:
    """The first bar from `start` on that votes -1, or -1."""
    keep = -1 << 8 * (start & 7)
    for k in range(start >> 3, len(words)):
        found = words[k] >> 7 & keep & _EVERY_ONE
        if found:
            return int(8 * k + ((found & -found) * _PLACES >> 56))
        keep = -1
    return -1


@compiled
def next_vote(words: Integers, start: int) -> int:
    """The first bar from `start` on that votes either way, or -1."""
    keep = -1 << 8 * (start & 7)
    for k in range(start >> 3, len(words)):
        found = words[k] & keep & _EVERY_ONE
        if found:
            return int(8 * k + ((found & -found) * _PLACES >> 56))
        keep = -1
    return -1
