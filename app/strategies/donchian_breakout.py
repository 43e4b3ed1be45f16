"""Donchian channel: buys a new high, leaves at a new low of fewer bars."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import before, highest, lowest
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class DonchianBreakout:
    """+1 when the close breaks the high of the bars before it, -1 when it breaks their low."""

    name = "donchian_breakout"
    doc = "Buys a close above the highest high of the 20 bars before, sells one below the lowest low of the 10 bars before."
    parameters = (
        Parameter(name="entry", default=20, low=1, high=5_000, doc="bars of the high that is broken"),
        Parameter(name="exit", default=10, low=1, high=5_000, doc="bars of the low that is broken"),
    )
    exits = ExitPolicy(stop_loss_fraction=0.08, take_profit_fraction=0.50)

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """The longer channel and the bar that breaks it."""
        return int(max(values["entry"], values["exit"])) + 1

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """close; upper, lower: the channel of the bars before, currency."""

        def compute(bars: Bars) -> dict[str, Floats]:
            upper = before(highest(bars.high, int(values["entry"])))
            lower = before(lowest(bars.low, int(values["exit"])))
            return {"close": bars.close, "upper": upper, "lower": lower}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The side on which the close is out of the channel."""
        close, upper, lower = columns["close"], columns["upper"], columns["lower"]
        return votes(close > upper, close < lower, close, upper, lower)
