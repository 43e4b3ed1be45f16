"""Scalping: follows one bar's move when it is large enough."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import change
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class Scalping:
    """+1 when the close moved up by at least `move`, -1 when it moved down by as much, else no vote."""

    name = "scalping"
    doc = "Votes with the last change of the close when it is at least 0.1 %."
    parameters = (Parameter(name="move", default=0.001, low=0.00001, high=0.5, doc="least move of one bar, a fraction"),)
    exits = ExitPolicy(stop_loss_fraction=0.01, take_profit_fraction=0.02)

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:  # noqa: ARG002
        """Two closes."""
        return 2

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:  # noqa: ARG002
        """change: of the close, a fraction."""

        def compute(bars: Bars) -> dict[str, Floats]:
            return {"change": change(bars.close, 1)}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:
        """The sign of a large enough change."""
        moved, least = columns["change"], values["move"]
        return votes(moved >= least, moved <= -least, moved)
