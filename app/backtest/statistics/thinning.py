"""Fewer points of a long curve, for files and plots. Figures are never computed on them."""

from __future__ import annotations

import numpy as np

from app.backtest.statistics.periods import Indices
from app.domain.bar import Floats


def extremes(curve: Floats, most: int) -> Indices:
    """Indices of at most `most` (4 or more) points, ascending: of each of equal stretches the first, the lowest, the highest
    and the last, so that no peak and no trough of the whole is lost. All of them where there are no more. curve: shape (n,)."""
    count = len(curve)
    if count <= most:
        return np.arange(count)
    size = -(-count // (most // 4))
    padded = np.append(curve, np.full(-count % size, curve[-1])).reshape(-1, size)
    starts = np.arange(len(padded)) * size
    kept = (starts, starts + padded.argmin(axis=1), starts + padded.argmax(axis=1), starts + size - 1)
    return np.unique(np.minimum(np.concatenate(kept), count - 1))
