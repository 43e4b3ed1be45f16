"""Cross-sectional momentum: holds the symbols that rose most, by rank among all at the same bar (Jegadeesh and Titman 1993)."""

from __future__ import annotations

import numpy as np

from app.domain.bar import Floats
from app.domain.exits import ExitPolicy
from app.domain.panel import Panel
from app.indicators.window import before, change
from app.strategies.columns import VOTE, Bars, by_symbol
from app.strategies.strategy import Columns, Parameter, Values


class CrossSectionalMomentum:
    """+1 for the `buy` symbols with the greatest change, -1 for those no longer among the best `keep`, 0 between."""

    name = "cross_sectional_momentum"
    doc = "Buys the 5 symbols that rose most in 60 bars, sells those no longer among the best 10."
    parameters = (
        Parameter(name="lookback", default=60, low=1, high=5_000, doc="bars the change is taken over"),
        Parameter(name="skip", default=5, low=0, high=500, doc="newest bars left out of it"),
        Parameter(name="buy", default=5, low=1, high=1_000, doc="symbols bought, from the best", below="keep"),
        Parameter(name="keep", default=10, low=2, high=2_000, doc="rank up to which a holding is kept"),
    )
    exits = ExitPolicy(stop_loss_fraction=0.10, take_profit_fraction=0.50)

    def threshold(self, values: Values) -> float:  # noqa: ARG002
        """Half a vote."""
        return VOTE

    def memory(self, values: Values) -> int:
        """Both ends of the change, and what is left out."""
        return int(values["lookback"]) + int(values["skip"]) + 1

    def columns(self, panel: Panel, values: Values) -> dict[str, Floats]:
        """change: of the close, a fraction, up to `skip` bars ago."""
        skip = int(values["skip"])

        def compute(bars: Bars) -> dict[str, Floats]:
            moved = change(bars.close, int(values["lookback"]))
            return {"change": before(moved, skip) if skip else moved}

        return by_symbol(panel, compute)

    def score(self, columns: Columns, values: Values) -> Floats:
        """Ranks at each bar among the symbols whose change is known; of equal ones the earlier symbol is the better."""
        moved = columns["change"]
        order = np.argsort(-moved, axis=0, kind="stable")  # what is not a number comes last
        rank = np.empty_like(order)
        np.put_along_axis(rank, order, np.arange(len(moved))[:, None], axis=0)
        score = (rank < values["buy"]).astype(np.float64) - (rank >= values["keep"])
        return np.where(np.isfinite(moved), score, np.nan)
