"""The decayed mean of `app.indicators.window`, compiled: the same joins in the same order, a tile at a time in the cache."""

from __future__ import annotations

import numpy as np
from numba import njit

from app.domain.bar import Floats

_TILE = 1_024  # windows at a time, or more where the windows are longer


@njit(cache=True, nogil=True)
def fold_means(values: Floats, length: int, doubled: Floats, joined: Floats, out: Floats) -> None:
    """The mean of every window of `length` of `values`, shape (n,), into `out`, shape (n - length + 1,).

    doubled, joined: by power of two, the share of the older part when two blocks of it become one, and when such a block is put
    before what there is.
    """
    count, tile = len(out), max(_TILE, 2 * length)
    room = tile + length
    block, twice, done, more = np.empty(room), np.empty(room), np.empty(room), np.empty(room)
    for start in range(0, count, tile):
        windows = min(tile, count - start)
        span = blocks = windows + length - 1
        block[:span] = values[start : start + span]
        size, known, level = 1, 0, 0
        while True:
            if length & size:
                kept = span - known - size + 1
                if known:
                    _join(done[size : size + kept], block[:kept], joined[level], more)
                    done, more = more, done
                else:
                    done[:kept] = block[:kept]
                known += size
            if known == length:
                break
            blocks -= size
            _join(block[size : size + blocks], block[:blocks], doubled[level], twice)
            block, twice = twice, block
            size, level = 2 * size, level + 1
        out[start : start + windows] = done[:windows]


@njit(cache=True, nogil=True)
def _join(newer: Floats, older: Floats, share: float, out: Floats) -> None:
    target = out[: len(newer)]
    for i in range(len(newer)):
        target[i] = (older[i] - newer[i]) * share + newer[i]
