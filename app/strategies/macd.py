"""Moving-average convergence and divergence: the event of the line crossing its signal line (Appel)."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.momentum import exponential_mean, exponential_memory
from app.strategies.columns import VOTE, Bars, by_symbol, crosses
from app.strategies.strategy import Columns, Parameter, Values


class Macd:
    """+1 on the bar at which the line gets above its signal line, -1 on the one at which it gets below, else 0."""

    name = "macd"
    doc = "Buys when the MACD line gets above its signal line, sells when it gets below."
    parameters = (
        Parameter(name="fast", default=12, low=1, high=500, doc="span of the fast exponential mean, bars", below="slow"),
        Parameter(name="slow", default=26, low=2, high=1_000, doc="span of the slow exponential mean, bars"),
        Parameter(name="signal", default=9, low=1, high=500, doc="span of the signal line, bars"),
    )
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """What the signal line remembers of what the slow mean remembers, and one bar before."""
        return exponential_memory(int(values["slow"])) + exponential_memory(int(values["signal"]))

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """line, signal: currency. cross: the vote."""

        def compute(bars: Bars) -> dict[str, Floats]:
            line = exponential_mean(bars.close, int(values["fast"])) - exponential_mean(bars.close, int(values["slow"]))
            signal = exponential_mean(line, int(values["signal"]))
            return {"line": line, "signal": signal, "cross": crosses(line, signal)}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The cross."""
        return columns["cross"]
