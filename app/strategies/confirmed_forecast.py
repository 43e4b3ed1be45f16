"""Hybrid: a model's forecast is followed only where the trend confirms it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import ClassVar

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import mean
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.forecasts import Forecasts, forecast_columns
from app.strategies.strategy import Columns, Parameter, Values


@dataclass(frozen=True, slots=True)
class ConfirmedForecast:
    """+1 when the models expect a rise with confidence and the close is above its mean; -1 when they expect a fall with
    confidence, or the close is below its mean by the tolerance."""

    forecasts: Forecasts = field(default_factory=dict)

    name: ClassVar[str] = "confirmed_forecast"
    doc: ClassVar[str] = "Buys what the models expect to rise while it is above its 50-bar mean."
    parameters: ClassVar[tuple[Parameter, ...]] = (
        Parameter(name="least_return", default=0.005, low=0.0, high=1.0, doc="expected return of a signal, a fraction"),
        Parameter(name="confidence", default=0.7, low=0.0, high=1.0, doc="least confidence of a signal"),
        Parameter(name="length", default=50, low=2, high=5_000, doc="bars of the mean that tells the trend"),
        Parameter(name="tolerance", default=0.02, low=0.0, high=0.5, doc="how far below the mean it still holds, a fraction"),
    )
    exits: ClassVar[ExitPolicy] = ExitPolicy()

    def with_forecasts(self, forecasts: Forecasts) -> ConfirmedForecast:
        """The same strategy, given these forecasts."""
        return ConfirmedForecast(forecasts)

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """The mean."""
        return int(values["length"])

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """expected, confidence: of the models. above_mean: of the close, a fraction."""

        def compute(bars: Bars) -> dict[str, Floats]:
            return {"above_mean": bars.close / mean(bars.close, int(values["length"])) - 1.0}

        return forecast_columns(panel, self.forecasts) | by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:
        """The confirmed signal."""
        expected, confidence, above = columns["expected"], columns["confidence"], columns["above_mean"]
        sure = confidence >= values["confidence"]
        rise = sure & (expected >= values["least_return"]) & (above > 0.0)
        fall = (sure & (expected <= -values["least_return"])) | (above < -values["tolerance"])
        return votes(rise, fall, expected, confidence, above)
