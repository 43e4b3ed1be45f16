"""Relative strength: buys what has fallen too far, sells what has risen too far."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.momentum import relative_strength, relative_strength_memory
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class Rsi:
    """+1 while the relative strength index is in the oversold zone, -1 while it is in the overbought zone."""

    name = "rsi"
    doc = "Buys in the oversold zone of the relative strength index, sells in the overbought zone."
    parameters = (
        Parameter(name="period", default=14, low=2, high=500, doc="bars of the smoothing (Wilder)"),
        Parameter(name="oversold", default=30.0, low=0.0, high=100.0, doc="it buys at or below this", below="overbought"),
        Parameter(name="overbought", default=70.0, low=0.0, high=100.0, doc="it sells at or above this"),
    )
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """Eight periods, after which Wilder's smoothing has forgotten all but 1 in 3,000."""
        return relative_strength_memory(int(values["period"]))

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """rsi: 0..100."""

        def compute(bars: Bars) -> dict[str, Floats]:
            return {"rsi": relative_strength(bars.close, int(values["period"]))}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:
        """The zone the index is in."""
        index = columns["rsi"]
        return votes(index <= values["oversold"], index >= values["overbought"], index)
