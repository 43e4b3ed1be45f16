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
from app.indicators.momentum import macd, rsi
from app.indicators.trend import adx
from app.indicators.volatility import atr, bollinger, realised_volatility
from app.indicators.window import change, deviation, highest, lowest, mean

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
    if len(bars) < MEMORY:
        return np.full((len(bars), len(FEATURE_NAMES)), np.nan)
    values = _values(bars)
    complete = _complete(values)
    recursive = np.full((len(bars), len(_RECURSIVE)), np.nan)
    for end in np.flatnonzero(complete) + 1:
        recursive[end - 1] = _recursive_columns(values[1:4, end - MEMORY : end])
    matrix = np.hstack((_windowed_columns(values, bars.timestamp), recursive))
    matrix[~complete] = np.nan
    return matrix


def feature_rows(series: Sequence[BarSeries]) -> Floats:
    """The newest row of each series, shape (n_series, n_features), each from its last 120 bars; NaN where there are
    fewer or they are not sound."""
    matrix = np.full((len(series), len(FEATURE_NAMES)), np.nan)
    recent = {index: bars.last(MEMORY) for index, bars in enumerate(series) if len(bars) >= MEMORY}
    if not recent:
        return matrix
    values = np.stack([_values(bars) for bars in recent.values()], axis=1)
    columns = _windowed_columns(values, np.stack([bars.timestamp for bars in recent.values()]))
    for position, index in enumerate(recent):
        if _complete(values[:, position])[-1]:
            matrix[index] = (*columns[position, -1], *_recursive_columns(values[1:4, position]))
    return matrix


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


def _windowed_columns(values: Floats, timestamp: Seconds) -> Floats:
    """Features that need no recursion. values: (5, ..., n_bars); answers (..., n_bars, n_columns)."""
    opened, high, low, close, volume = values
    with np.errstate(all="ignore"):
        returns = change(close, 1)
        volatility = {length: realised_volatility(close, length) for length in _VOLATILITIES}
        lower, middle, upper = bollinger(close)
        mean_volume = mean(volume, 20)
        previous = np.full_like(close, np.nan)
        previous[..., 1:] = close[..., :-1]
        columns = (
            *(change(close, span) for span in _SPANS),
            *volatility.values(),
            *(close / highest(high, length) - 1.0 for length in _EXTREMES),
            *(close / lowest(low, length) - 1.0 for length in _EXTREMES),
            opened / previous - 1.0,
            close / opened - 1.0,
            (high - low) / close,
            _ratio(close - low, high - low, otherwise=0.5),
            _ratio(returns, volatility[20]),
            _ratio(volatility[5], volatility[60], otherwise=1.0),
            _ratio(close - middle, upper - middle),
            (upper - lower) / middle,
            _ratio(volume - mean_volume, deviation(volume, 20)),
            _ratio(volume - mean(volume, 60), deviation(volume, 60)),
            _ratio(volume, mean_volume, otherwise=1.0) - 1.0,
            ((timestamp // 86_400 + 3) % 7).astype(np.float64),  # Monday is 0; 1970-01-01 was a Thursday
        )
    return np.stack(columns, axis=-1)


def _recursive_columns(window: Floats) -> tuple[float, ...]:
    """Features whose indicators remember everything, so they see this window only. window: (3, 120) high, low, close."""
    high, low, close = window
    line, _, difference = macd(close)
    last = close[-1]
    return (
        rsi(close, 5)[-1] / 100.0,
        rsi(close, 14)[-1] / 100.0,
        line[-1] / last,
        difference[-1] / last,
        atr(high, low, close)[-1] / last,
        adx(high, low, close)[-1] / 100.0,
    )


def _ratio(above: Floats, below: Floats, *, otherwise: float = 0.0) -> Floats:
    """above / below; `otherwise` where `below` is zero (a price that never moved, a volume that never changed)."""
    return np.where(below != 0.0, above / np.where(below != 0.0, below, 1.0), otherwise)
