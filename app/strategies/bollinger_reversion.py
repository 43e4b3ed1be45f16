"""Bollinger bands: buys at the lower band, sells back at the middle."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.volatility import bollinger
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class BollingerReversion:
    """+1 while the close is at or below the lower band, -1 while it is at or above the middle."""

    name = "bollinger_reversion"
    doc = "Buys a close at or below the lower Bollinger band, sells once it is back at the mean."
    parameters = (
        Parameter(name="length", default=20, low=2, high=5_000, doc="bars of mean and deviation"),
        Parameter(name="width", default=2.0, low=0.1, high=10.0, doc="deviations between the mean and a band"),
    )
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """The window of the bands."""
        return int(values["length"])

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """close, lower, middle: currency."""

        def compute(bars: Bars) -> dict[str, Floats]:
            lower, middle, _ = bollinger(bars.close, int(values["length"]), values["width"])
            return {"close": bars.close, "lower": lower, "middle": middle}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """Where the close is."""
        close, lower, middle = columns["close"], columns["lower"], columns["middle"]
        return votes(close <= lower, close >= middle, close, lower, middle)
