"""Features: what the models see of a symbol. Row t is a function of exactly the bars t-119..t, and scale-free.

All numbers are ratios of prices or of volumes, so a split or another currency changes nothing. Recursive indicators are
started afresh on each window of 120 bars; so a row computed live from the last 120 bars equals the row computed in
training from years of them, to the last bit.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.domain.bar import BarSeries, Floats

MEMORY = 120
_SPANS = (1, 2, 3, 5, 10, 20, 60, 119)
_VOLATILITIES = (5, 20, 60)
_EXTREMES = (20, 60, 120)
_RECURSIVE = ("rsi_5", "rsi_14", "macd_line", "macd_difference", "atr_fraction", "adx_14")
FEATURE_NAMES: tuple[str, ...] = (
    *(f"return_{span}" for span in _SPANS),
    *(f"volatility_{length}" for length in _VOLATILITIES),
    *(f"below_high_{length}" for length in _EXTREMES),
    *(f"above_low_{length}" for length in _EXTREMES),
    "gap",
    "session_return",
    "range_fraction",
    "close_in_range",
    "return_in_volatilities",
    "volatility_ratio",
    "band_position",
    "band_width",
    "volume_score_20",
    "volume_score_60",
    "volume_change",
    "weekday",
    *_RECURSIVE,
)


def feature_matrix(bars: BarSeries) -> Floats:
    """All rows, shape (n_bars, n_features), columns as FEATURE_NAMES.

    Rows without 120 bars, and rows whose 120 bars contain a price that is not a finite number above zero or a volume
    that is not a finite number of at least zero, are NaN throughout.
    """
    matrix = np.empty((len(bars), len(FEATURE_NAMES)))
    matrix[: MEMORY - 1] = np.nan
    if len(bars) >= MEMORY:
        from app.learning.feature_kernel import fill  # compiled code weighs 100 MB: only who computes features loads it

        values = np.empty((5, len(bars)))
        _write(values, bars)
        fill(matrix[MEMORY - 1 :], values, bars.timestamp[MEMORY - 1 :], _room())
        sound = _sound(values)
        if not sound.all():
            matrix[~_complete(sound)] = np.nan
    return matrix


def feature_rows(series: Sequence[BarSeries]) -> Floats:
    """The newest row of each series, shape (n_series, n_features), each from its last 120 bars; NaN where there are
    fewer or they are not sound."""
    matrix = np.full((len(series), len(FEATURE_NAMES)), np.nan)
    enough = [index for index, bars in enumerate(series) if len(bars) >= MEMORY]
    if enough:
        from app.learning.feature_kernel import fill_each

        values, labels = np.empty((len(enough), 5, MEMORY)), np.empty(len(enough), dtype=np.int64)
        for position, index in enumerate(enough):
            _write(values[position], series[index])
            labels[position] = series[index].timestamp[-1]
        rows = np.empty((len(enough), len(FEATURE_NAMES)))
        fill_each(rows, values, labels, _room())
        whole = _sound(values).all(axis=-1)
        matrix[np.array(enough)[whole]] = rows[whole]
    return matrix


_kept = threading.local()


def _room() -> Floats:
    """What the kernel computes in, one for each thread."""
    if not hasattr(_kept, "room"):
        from app.learning.feature_kernel import ROOM

        _kept.room = np.empty(ROOM)
    room: Floats = _kept.room
    return room


def _write(values: Floats, bars: BarSeries) -> None:
    """open, high, low, close, volume of the newest bars into values, (5, n)."""
    start = len(bars) - values.shape[1]
    for row, column in zip(values, (bars.open, bars.high, bars.low, bars.close, bars.volume), strict=True):
        row[:] = column[start:]


def _sound(values: Floats) -> npt.NDArray[np.bool_]:
    """(..., n_bars): whether the prices are finite numbers above zero and the volume one of at least zero. values: (..., 5,
    n_bars)."""
    prices, volume = values[..., :4, :], values[..., 4, :]
    greatest = values.max(axis=-2)  # NaN if one of them is
    sound: npt.NDArray[np.bool_] = (prices.min(axis=-2) > 0.0) & (volume >= 0.0) & (greatest < np.inf)
    return sound


def _complete(sound: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """(n_bars,): whether 120 sound bars end here."""
    unsound_before = np.concatenate(([0], np.cumsum(~sound)))
    out = np.zeros(len(sound), dtype=np.bool_)
    out[MEMORY - 1 :] = unsound_before[MEMORY:] == unsound_before[:-MEMORY]
    return out
