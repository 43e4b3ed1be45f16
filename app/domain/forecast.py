"""Forecasts: what the models expect of a symbol's next daily return, and scores: what a rule strategy says of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from app.domain.bar import BarSeries


@dataclass(frozen=True, slots=True, kw_only=True)
class Forecast:
    """Expected return from the last completed daily close to the next.

    daily_return: fraction, mean of `members`. confidence: 0..1 (decision 10). last_close: currency.
    last_close_at: when that close became known. model: id of the model version, or the scripted source.
    """

    symbol: str
    daily_return: float
    confidence: float
    members: tuple[float, ...]
    last_close: float
    last_close_at: datetime
    model: str

    @property
    def target_price(self) -> float:
        """Price the forecast stands for: last_close * (1 + daily_return)."""
        return self.last_close * (1.0 + self.daily_return)


@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """What a rule strategy says of a symbol after its newest completed bar.

    score: -1..1 (see `app.strategies.strategy`); compared with the thresholds as it is, whatever the price does since.
    votes: the columns behind it, by name. as_of: when that bar became known. source: the strategy and its parameters.
    """

    symbol: str
    score: float
    votes: Mapping[str, float]
    as_of: datetime
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NoForecast:
    """Why a symbol has no forecast or score. code: machine-readable (model_missing, model_corrupt, model_foreign,
    model_incompatible, model_from_future, too_few_bars, no_bar, not_finite, not_scripted, strategy_failed)."""

    symbol: str
    code: str
    detail: str


Single = Forecast | Score | NoForecast


@dataclass(frozen=True, slots=True, kw_only=True)
class SleeveAnswers:
    """What several strategies that share an account say of a symbol, by their names."""

    symbol: str
    by_strategy: Mapping[str, Single]


Answer = Single | SleeveAnswers


def said_by(answer: Answer | None, strategy: str) -> Single | None:
    """What one of the strategies says; an answer that names none is everybody's."""
    return answer.by_strategy.get(strategy) if isinstance(answer, SleeveAnswers) else answer


class Forecaster(Protocol):
    """Anything that judges a universe from completed bars: models from daily ones, strategies from those of their timeframe."""

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> Mapping[str, Answer]:
        """One answer per symbol of `bars`; a symbol that cannot be judged gets NoForecast, never an exception."""
        ...
