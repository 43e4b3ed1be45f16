"""Hybrid: the votes of the rules and the models' forecast, weighed against each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.strategies.forecasts import Forecasts, forecast_columns
from app.strategies.strategy import Columns, Parameter, Values
from app.strategies.weighted_ensemble import WeightedEnsemble

_RULES = WeightedEnsemble()


@dataclass(frozen=True, slots=True)
class BlendedForecast:
    """(1 - share) * the weighted vote of the rules + share * the forecast as a vote: the expected return over
    `full_return`, at most one either way, times the confidence."""

    forecasts: Forecasts = field(default_factory=dict)

    name: ClassVar[str] = "blended_forecast"
    doc: ClassVar[str] = "Weighs the models' forecast against the weighted vote of the six rules."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter(name="share", default=0.5, low=0.0, high=1.0, doc="share of the models in the score"),
        Parameter(name="full_return", default=0.01, low=0.0001, high=1.0, doc="expected return of a whole vote, a fraction"),
        *_RULES.parameters,
    )
    exits: ClassVar[ExitPolicy] = ExitPolicy()

    def with_forecasts(self, forecasts: Forecasts) -> BlendedForecast:
        """The same strategy, given these forecasts."""
        return BlendedForecast(forecasts)

    def threshold(self, values: Values) -> float:
        """A parameter."""
        return values["threshold"]

    def memory(self, values: Values) -> int:
        """That of the rules."""
        return _RULES.memory(values)

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """expected, confidence: of the models. The vote of each rule, by its name."""
        return forecast_columns(panel, self.forecasts) | _RULES.columns(panel, values)

    def score(self, columns: Columns, values: Values) -> Floats:
        """The blend."""
        model = np.clip(columns["expected"] / values["full_return"], -1.0, 1.0) * columns["confidence"]
        blend: Floats = (1.0 - values["share"]) * _RULES.score(columns, values) + values["share"] * model
        return blend
