"""Price action: a break of the past high or low."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import before, highest, lowest
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class PriceAction:
    """+1 when the close is above the highest high of the bars before it, -1 when it is below their lowest low."""

    name = "price_action"
    doc = "Votes for a close out of the range of the 20 bars before."
    parameters = (Parameter(name="lookback", default=20, low=1, high=5_000, doc="bars before, whose range is broken"),)
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """The range and the bar that breaks it."""
        return int(values["lookback"]) + 1

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """close; high, low: of the bars before, currency."""

        def compute(bars: Bars) -> dict[str, Floats]:
            length = int(values["lookback"])
            return {
                "close": bars.close,
                "high": before(highest(bars.high, length)),
                "low": before(lowest(bars.low, length)),
            }

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The side on which the close is out of the range."""
        close, high, low = columns["close"], columns["high"], columns["low"]
        return votes(close > high, close < low, close, high, low)
