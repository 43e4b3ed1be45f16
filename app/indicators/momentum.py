"""Momentum: relative strength and moving averages, over finite windows."""

from __future__ import annotations

import numpy as np

from app.domain.bar import Floats
from app.indicators.window import before, decayed_mean

_FORGOTTEN = 8  # time constants after which an exponential weight counts as forgotten


def relative_strength(close: Floats, period: int = 14) -> Floats:
    """Relative strength index, 0..100, with Wilder's smoothing over a finite window: 100 * up / (up + down), both decayed
    means of the last 8 * period changes; 50 where the price never moved. Memory: `relative_strength_memory`."""
    steps = close - before(close)
    decay, length = 1.0 - 1.0 / period, _FORGOTTEN * period
    up = decayed_mean(np.maximum(steps, 0.0), length, decay)
    down = decayed_mean(np.maximum(-steps, 0.0), length, decay)
    moved = up + down
    return np.where(moved == 0.0, 50.0, 100.0 * up / np.where(moved == 0.0, 1.0, moved))


def relative_strength_memory(period: int) -> int:
    """Bars that `relative_strength` depends on."""
    return _FORGOTTEN * period + 1


def exponential_mean(values: Floats, span: int) -> Floats:
    """Exponential moving average with alpha = 2 / (span + 1), over a finite window. Memory: `exponential_memory` bars."""
    return decayed_mean(values, exponential_memory(span), 1.0 - 2.0 / (span + 1.0))


def exponential_memory(span: int) -> int:
    """Bars that `exponential_mean` depends on: those before weigh exp(-8), 1 in 3,000."""
    return _FORGOTTEN * (span + 1) // 2
