"""Trend: the close against the one before."""

from __future__ import annotations

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import change
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values


class Trend:
    """+1 when the close is above the one before, -1 when it is below."""

    name = "trend"
    doc = "Votes with the last change of the close."
    parameters: tuple[Parameter, ...] = ()
    exits = ExitPolicy()

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

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The sign of the change."""
        moved = columns["change"]
        return votes(moved > 0.0, moved < 0.0, moved)
