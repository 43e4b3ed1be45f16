"""Features: what the models see of a symbol. Row t is a function of exactly the bars t-119..t, and scale-free.

All numbers are ratios of prices or of volumes, so a split or another currency changes nothing. Recursive indicators are
started afresh on each window of 120 bars; so a row computed live from the last 120 bars equals the row computed in
training from years of them, to the last bit.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from app.domain.bar import BarSeries, Floats, Seconds

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
        values = _values(bars)
        _fill(matrix[MEMORY - 1 :], values, bars.timestamp[MEMORY - 1 :], stride=1)
        complete = _complete(values)
        if not complete[MEMORY - 1 :].all():
            matrix[~complete] = np.nan
    return matrix


def feature_rows(series: Sequence[BarSeries]) -> Floats:
    """The newest row of each series, shape (n_series, n_features), each from its last 120 bars; NaN where there are
    fewer or they are not sound."""
    matrix = np.full((len(series), len(FEATURE_NAMES)), np.nan)
    recent = {index: bars.last(MEMORY) for index, bars in enumerate(series) if len(bars) >= MEMORY}
    if not recent:
        return matrix
    values = np.stack([_values(bars) for bars in recent.values()], axis=-1)
    rows, labels = np.empty((len(recent), len(FEATURE_NAMES))), np.array([bars.timestamp[-1] for bars in recent.values()])
    _fill(rows, values.reshape(len(values), -1), labels, stride=len(recent))
    for position, index in enumerate(recent):
        if _complete(values[:, :, position])[-1]:
            matrix[index] = rows[position]
    return matrix


def _fill(rows: Floats, values: Floats, labels: Seconds, *, stride: int) -> None:
    """rows: (n_labels, n_features). values: (5, n), laid out as `app.learning.feature_kernel` says."""
    from app.learning.feature_kernel import fill, steps  # compiled code weighs 100 MB: only who computes features loads it

    opened, high, low, close, volume = values
    fill(rows, opened, high, low, close, volume, labels, steps(high, low, close, stride), stride)


def _values(bars: BarSeries) -> Floats:
    """(5, n_bars): open, high, low, close, volume."""
    return np.stack((bars.open, bars.high, bars.low, bars.close, bars.volume)).astype(np.float64, copy=False)


def _complete(values: Floats) -> npt.NDArray[np.bool_]:
    """(n_bars,): whether 120 sound bars end here."""
    sound = np.isfinite(values).all(axis=0) & (values[:4] > 0).all(axis=0) & (values[4] >= 0)
    unsound_before = np.concatenate(([0], np.cumsum(~sound)))
    out = np.zeros(values.shape[1], dtype=np.bool_)
    out[MEMORY - 1 :] = unsound_before[MEMORY:] == unsound_before[:-MEMORY]
    return out
