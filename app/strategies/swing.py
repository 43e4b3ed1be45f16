"""Swing: which side of a slow mean the fast mean is on."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import mean
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class Swing:
    """+1 while the fast mean is above the slow one, -1 while it is below."""

    name = "swing"
    doc = "Holds while the 5-bar mean of closes is above the 20-bar mean."
    parameters = (
        Parameter(name="fast", default=5, low=1, high=5_000, doc="bars of the fast mean", below="slow"),
        Parameter(name="slow", default=20, low=2, high=10_000, doc="bars of the slow mean"),
    )
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """The slow mean."""
        return int(values["slow"])

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """fast, slow: means of closes, currency."""

        def compute(bars: Bars) -> dict[str, Floats]:
            return {"fast": mean(bars.close, int(values["fast"])), "slow": mean(bars.close, int(values["slow"]))}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The side the fast mean is on."""
        fast, slow = columns["fast"], columns["slow"]
        return votes(fast > slow, fast < slow, fast, slow)
