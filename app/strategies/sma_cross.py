"""Crossing moving averages: the event of a fast mean getting above or below a slow one."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import mean
from app.strategies.columns import VOTE, Bars, by_symbol, crosses
from app.strategies.lines import Line
from app.strategies.strategy import Columns, Parameter, Values


class SmaCross:
    """+1 on the bar of the cross up, -1 on the bar of the cross down, 0 on all others."""

    name = "sma_cross"
    doc = "Buys when the fast moving average gets above the slow one, sells when it gets below."
    parameters = (
        Parameter(name="fast", default=10, low=1, high=5_000, doc="bars of the fast mean", below="slow"),
        Parameter(name="slow", default=30, low=2, high=10_000, doc="bars of the slow mean"),
    )
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """The slow mean now and one bar before."""
        return int(values["slow"]) + 1

    def lines(self, values: Values) -> tuple[Line, Line]:
        """The fast mean and the slow one."""
        return _mean_line(int(values["fast"])), _mean_line(int(values["slow"]))

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """fast, slow: means of closes, currency. cross: the vote."""

        def compute(bars: Bars) -> dict[str, Floats]:
            fast, slow = (line.compute(bars) for line in self.lines(values))
            return {"fast": fast, "slow": slow, "cross": crosses(fast, slow)}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The cross."""
        return columns["cross"]


def _mean_line(length: int) -> Line:
    return Line(("mean", length), lambda bars: mean(bars.close, length))
