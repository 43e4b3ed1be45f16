"""One strategy whose parameters change from window to window, as one tape of scores that any engine can trade."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

import numpy as np

from app.domain.bar import BarSeries, Floats
from app.domain.forecast import Answer, Forecaster, NoForecast, Score
from app.domain.panel import Panel
from app.strategies.columns import VOTE
from app.strategies.forecaster import source
from app.strategies.strategy import Strategy, Values, evaluated


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """Values in force for decisions on bars start <= i < stop."""

    start: int
    stop: int
    values: Values


class Taped(Forecaster, Protocol):
    """A forecaster that knows all it will say: asked bar by bar by the driver, or read at once by the compiled loop."""

    def taped(self, panel: Panel) -> tuple[Floats, Floats | None]:
        """What it says when each bar of `panel` is complete: (expected return or score, confidence), each of shape (n_symbols,
        n_bars), NaN where it says nothing; a confidence of None is 1.0 throughout."""
        ...


def rescaled(score: Floats, threshold: float) -> Floats:
    """The same score with its threshold at `VOTE`, order and dead zone kept: scores of different thresholds side by side."""
    size = np.abs(score)
    beyond = VOTE + (1.0 - VOTE) * (size - threshold) / (1.0 - threshold) if threshold < 1.0 else np.ones_like(size)
    return np.sign(score) * np.where(size >= threshold, np.minimum(beyond, 1.0), size / threshold * VOTE)


class StitchedForecaster:
    """A `Forecaster` of the scores of each window's own values, computed on all bars up to each decision. Outside of the
    windows it says nothing. Thresholds are `VOTE` throughout."""

    def __init__(self, strategy: Strategy, panel: Panel, windows: Sequence[Chosen]) -> None:
        self._panel = panel
        self._score = np.full(panel.close.shape, np.nan)
        self._source = [""] * len(panel)
        for window in windows:
            first = max(0, window.start - strategy.memory(window.values) + 1)
            _, score = evaluated(strategy, panel.slice(first, window.stop), window.values)
            part = slice(window.start, window.stop)
            self._score[:, part] = rescaled(score[:, window.start - first :], strategy.threshold(window.values))
            self._source[part] = [source(strategy, window.values)] * (window.stop - window.start)

    @property
    def score(self) -> Floats:
        """Shape (n_symbols, n_bars), NaN where nothing is said."""
        return self._score

    def taped(self, panel: Panel) -> tuple[Floats, Floats | None]:
        """The scores at the bars of `panel`, which has the symbols of its own; see `Taped`."""
        newest = np.searchsorted(self._panel.known_at, panel.known_at, side="right") - 1
        return np.where(newest >= 0, self._score[:, np.maximum(newest, 0)], np.nan), None

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Answer]:
        """Scores of the newest bar complete at `at`; `bars` only say which symbols are asked for."""
        newest = int(np.searchsorted(self._panel.known_at, int(at.timestamp()), side="right")) - 1
        return {symbol: self._answer(symbol, newest) for symbol in bars}

    def _answer(self, symbol: str, newest: int) -> Answer:
        said = self._score[self._panel.symbols.index(symbol), newest] if newest >= 0 else np.nan
        if not np.isfinite(said):
            return NoForecast(symbol=symbol, code="not_finite", detail="no score of a bar complete by then")
        as_of = datetime.fromtimestamp(int(self._panel.known_at[newest]), UTC)
        named = self._source[newest]
        return Score(symbol=symbol, score=float(said), votes={"score": float(said)}, as_of=as_of, source=named)
