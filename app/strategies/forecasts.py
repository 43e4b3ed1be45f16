"""Forecasts of models as columns: what a hybrid strategy mixes with rules on bars."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol, Self, runtime_checkable

import numpy as np

from app.domain.bar import Floats, Seconds
from app.domain.forecast import Answer, Forecast
from app.domain.panel import Panel
from app.strategies.strategy import Strategy


@dataclass(frozen=True, slots=True, kw_only=True)
class ForecastHistory:
    """Forecasts of one symbol in time order, arrays of shape (n_forecasts,). known_at: from when on each is the newest, seconds
    since 1970 UTC. target: the price it stands for, currency, NaN where there was no forecast. confidence: 0..1."""

    known_at: Seconds
    target: Floats
    confidence: Floats


Forecasts = Mapping[str, ForecastHistory]


@runtime_checkable
class Hybrid(Strategy, Protocol):
    """A strategy that uses forecasts besides bars. Without any given it can say nothing: its score is NaN."""

    def with_forecasts(self, forecasts: Forecasts) -> Self:
        """The same strategy, given these forecasts."""
        ...


def history(answers: Mapping[int, Answer]) -> ForecastHistory:
    """From the models' answers of one symbol, by when the bar behind each became known (seconds)."""
    rows = [
        (at, answer.target_price, answer.confidence) if isinstance(answer, Forecast) else (at, np.nan, np.nan)
        for at, answer in sorted(answers.items())
    ]
    known_at, target, confidence = zip(*rows, strict=True) if rows else ((), (), ())
    return ForecastHistory(
        known_at=np.array(known_at, dtype=np.int64),
        target=np.array(target, dtype=np.float64),
        confidence=np.array(confidence, dtype=np.float64),
    )


def forecast_columns(panel: Panel, forecasts: Forecasts) -> dict[str, Floats]:
    """expected: the newest forecast known at each bar, seen from its close: target / close - 1, a fraction (decision 9).
    confidence: 0..1. Both (n_symbols, n_bars), NaN where there is none."""
    target, confidence = np.full(panel.close.shape, np.nan), np.full(panel.close.shape, np.nan)
    for row, symbol in enumerate(panel.symbols):
        given = forecasts.get(symbol)
        if given is None or not len(given.known_at):
            continue
        newest = np.searchsorted(given.known_at, panel.known_at, side="right") - 1
        known = newest >= 0
        target[row, known], confidence[row, known] = given.target[newest[known]], given.confidence[newest[known]]
    with np.errstate(all="ignore"):
        expected = np.where(panel.close > 0.0, target / panel.close - 1.0, np.nan)
    return {"expected": expected, "confidence": np.where(np.isfinite(expected), confidence, np.nan)}
