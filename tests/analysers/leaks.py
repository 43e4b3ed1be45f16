"""Strategies that cheat, each in another way, and honest ones beside them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.strategies.strategy import Columns, Parameter, Values

Make = Callable[[Panel], dict[str, Floats]]
Judge = Callable[[Columns], Floats]


@dataclass(frozen=True)
class Planted:
    """A strategy from two functions. memory: what it declares."""

    name: str
    make: Make
    judge: Judge
    declared: int = 30
    doc: str = "planted"
    parameters: tuple[Parameter, ...] = ()
    exits: ExitPolicy = field(default_factory=ExitPolicy)

    def threshold(self, values: Values) -> float:
        return 0.5

    def memory(self, values: Values) -> int:
        return self.declared

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        return self.make(panel)

    def score(self, columns: Columns, values: Values) -> Floats:
        return self.judge(columns)


def rolling(values: Floats, length: int, how: Callable[[Floats], Floats] = lambda w: w.mean(axis=-1)) -> Floats:
    """Of the last `length` bars of each row, NaN before."""
    out = np.full(values.shape, np.nan)
    if values.shape[1] >= length:
        out[:, length - 1 :] = how(np.lib.stride_tricks.sliding_window_view(values, length, axis=1))
    return out


def shifted(values: Floats, by: int) -> Floats:
    """Row t holds the value of bar t - by; NaN where there is none."""
    out = np.full(values.shape, np.nan)
    if by >= 0:
        out[:, by:] = values[:, : values.shape[1] - by]
    else:
        out[:, :by] = values[:, -by:]
    return out


def change(values: Floats) -> Floats:
    return values / shifted(values, 1) - 1.0


def back_filled(values: Floats) -> Floats:
    """A missing value becomes the next one there is."""
    out = values.copy()
    for t in range(out.shape[1] - 2, -1, -1):
        out[:, t] = np.where(np.isnan(out[:, t]), out[:, t + 1], out[:, t])
    return out


def sign_of(name: str) -> Judge:
    return lambda columns: np.sign(columns[name])


def weekly_edge(panel: Panel) -> dict[str, Floats]:
    """Bars of five put together, labelled by their first: the close of the fifth stands at the first."""
    close = panel.close.copy()
    for begin in range(0, close.shape[1], 5):
        close[:, begin : begin + 5] = close[:, min(begin + 4, close.shape[1] - 1)][:, None]
    return {"weekly": close / panel.close - 1.0}


def joined_late(panel: Panel) -> dict[str, Floats]:
    """The first symbol serves as the index, and its bars are joined to everybody's by position, one too far."""
    index = shifted(change(panel.close[:1]), -1)
    return {"index": np.repeat(index, len(panel.symbols), axis=0)}


def by_weekday(panel: Panel) -> dict[str, Floats]:
    """Target encoding: the mean of the next day's return over all days that fall on this weekday."""
    following = shifted(change(panel.close), -1)
    weekday = (panel.timestamp // 86_400 + 3) % 7
    out = np.zeros(panel.close.shape)
    for day in np.unique(weekday):
        out[:, weekday == day] = np.nanmean(following[:, weekday == day], axis=1, keepdims=True)
    return {"weekday_return": out}


def stopped_by_the_worst(panel: Panel) -> dict[str, Floats]:
    """Leaves before the deepest fall of the whole history."""
    depth = panel.close / np.fmax.accumulate(panel.close, axis=1) - 1.0
    return {"depth": depth, "room": depth - 0.5 * np.nanmin(depth, axis=1, keepdims=True)}


def ranks_over_time(panel: Panel) -> dict[str, Floats]:
    return {"rank": np.argsort(np.argsort(panel.close, axis=1), axis=1) / panel.close.shape[1]}


def fourier(panel: Panel) -> dict[str, Floats]:
    """A smoother that sees both sides."""
    clean = np.where(np.isnan(panel.close), 0.0, panel.close)
    spectrum = np.fft.rfft(clean, axis=1)
    spectrum[:, 20:] = 0.0
    return {"smooth": panel.close / np.fft.irfft(spectrum, n=clean.shape[1], axis=1) - 1.0}


def best_symbols(panel: Panel) -> dict[str, Floats]:
    """Survivors only: whatever ended highest is what was bought all along."""
    gain = panel.close[:, -1] / panel.close[:, 0]
    return {"winner": np.repeat((gain >= np.nanmedian(gain))[:, None] * 1.0, panel.close.shape[1], axis=1)}


def high_of_day_first(panel: Panel) -> dict[str, Floats]:
    """Backwards smoothing: the exponential mean runs from the end to the start."""
    out = panel.close.copy()
    for t in range(out.shape[1] - 2, -1, -1):
        out[:, t] = np.where(np.isnan(out[:, t + 1]), out[:, t], 0.9 * out[:, t] + 0.1 * out[:, t + 1])
    return {"smooth": panel.close / out - 1.0}


def simple(panel: Panel) -> dict[str, Floats]:
    return {"gap": panel.close / rolling(panel.close, 20) - 1.0}


def standardised(columns: Columns) -> Floats:
    gap = columns["gap"]
    return np.tanh((gap - np.nanmean(gap, axis=1, keepdims=True)) / np.nanstd(gap, axis=1, keepdims=True))


# name: (columns, score, the part that must be named)
LEAKS: dict[str, tuple[Make, Judge, str]] = {
    "centred_window": (
        lambda p: {"mean": p.close / shifted(rolling(p.close, 11), -5) - 1.0},
        sign_of("mean"),
        "columns",
    ),
    "negative_shift": (lambda p: {"next": shifted(change(p.close), -1)}, sign_of("next"), "columns"),
    "scaler_over_all_data": (
        lambda p: {"z": (p.close - np.nanmean(p.close, axis=1, keepdims=True)) / np.nanstd(p.close, axis=1, keepdims=True)},
        lambda c: np.tanh(c["z"]),
        "columns",
    ),
    "score_scaled_over_all_data": (simple, standardised, "score"),
    "full_sample_threshold": (
        simple,
        lambda c: np.where(c["gap"] > np.nanquantile(c["gap"], 0.9, axis=1, keepdims=True), 1.0, 0.0),
        "score",
    ),
    "resample_edge": (weekly_edge, sign_of("weekly"), "columns"),
    "target_encoding": (by_weekday, sign_of("weekday_return"), "columns"),
    "future_index_join": (joined_late, sign_of("index"), "columns"),
    "back_fill": (lambda p: {"change": change(back_filled(p.close))}, sign_of("change"), "columns"),
    "listed_later": (
        lambda p: {"gap": p.close / back_filled(p.close)[:, :1] - 1.0, "held": back_filled(p.close)},
        sign_of("gap"),
        "columns",
    ),
    "worst_fall_stop": (stopped_by_the_worst, sign_of("room"), "columns"),
    "ranks_over_time": (ranks_over_time, lambda c: 2.0 * c["rank"] - 1.0, "columns"),
    "fourier_smoother": (fourier, sign_of("smooth"), "columns"),
    "survivors_only": (best_symbols, lambda c: c["winner"], "columns"),
    "backwards_smoothing": (high_of_day_first, sign_of("smooth"), "columns"),
    "price_level": (
        lambda p: {"price": p.close},
        lambda c: np.where(c["price"] < 60.0, 1.0, -1.0),
        "restated",
    ),
    "peeking_high": (
        lambda p: {"breakout": p.close / shifted(rolling(p.high, 10, lambda w: w.max(axis=-1)), -1) - 1.0},
        sign_of("breakout"),
        "columns",
    ),
}

HONEST: dict[str, tuple[Make, Judge, int]] = {
    "gap_to_the_mean": (simple, sign_of("gap"), 20),
    "rank_now": (
        lambda p: {"change": change(p.close)},
        lambda c: np.where(c["change"] >= np.nanmax(np.where(np.isnan(c["change"]), -9.0, c["change"]), axis=0), 1.0, -1.0),
        2,
    ),
    "nothing": (lambda p: {"zero": np.zeros(p.close.shape)}, lambda c: c["zero"], 1),
}
