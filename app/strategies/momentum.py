"""Momentum: the sign of the change over several bars."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import change
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class Momentum:
    """+1 when the close is above that of `period` bars before, -1 when it is below."""

    name = "momentum"
    doc = "Votes with the change of the close over 5 bars."
    parameters = (Parameter(name="period", default=5, low=1, high=5_000, doc="bars the change is taken over"),)
    exits = ExitPolicy()

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """The closes at both ends and between."""
        return int(values["period"]) + 1

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """change: of the close, a fraction."""

        def compute(bars: Bars) -> dict[str, Floats]:
            return {"change": change(bars.close, int(values["period"]))}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The sign of the change."""
        moved = columns["change"]
        return votes(moved > 0.0, moved < 0.0, moved)
