"""Day: the price change since the day began."""

from __future__ import annotations

import numpy as np

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.strategies.columns import VOTE, Bars, by_symbol, votes
from app.strategies.strategy import Columns, Parameter, Values

_DAY = 86_400  # seconds; a New York session, extended hours aside, lies within one UTC day


class Day:
    """+1 when the close is above the open of its day (UTC), -1 when it is below. Of daily bars it is the bar's own open."""

    name = "day"
    doc = "Votes with the price change since the first bar of the day."
    parameters = (
        Parameter(name="day_bars", default=390, low=1, high=1_440, doc="most bars of a day; of a longer one its last so many"),
    )
    exits = ExitPolicy(stop_loss_fraction=0.02, take_profit_fraction=0.04)

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """A day."""
        return int(values["day_bars"])

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """change: of the close since the day's first open, a fraction."""

        def compute(bars: Bars) -> dict[str, Floats]:
            day = bars.timestamp // _DAY
            here = np.arange(len(day))
            first = np.maximum(np.searchsorted(day, day), here - int(values["day_bars"]) + 1)
            return {"change": bars.close / bars.open[..., first] - 1.0}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:  # noqa: ARG002
        """The sign of the change."""
        moved = columns["change"]
        return votes(moved > 0.0, moved < 0.0, moved)
