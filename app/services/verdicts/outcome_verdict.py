"""What came of a backtest, made ready to be judged, whichever engine ran it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import asdict
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np

from app.backtest.outcome import Outcome
from app.backtest.statistics.luck import Stay
from app.backtest.statistics.trades import RoundTrip
from app.domain.bar import BarSeries, Floats, Seconds
from app.domain.panel import Panel, align
from app.domain.trial import data_set
from app.engine.costs import CostModel
from app.services.verdicts.verdict_service import Result

_MOST_BPS = Decimal(3_000)  # of each kind: together they must stay below the whole price


def judged_result(
    outcome: Outcome,
    *,
    bars: Mapping[str, BarSeries],
    strategy: str,
    values: Mapping[str, float],
    setup: Mapping[str, Any],
    costs: CostModel,
    rerun: Callable[[CostModel], float],
    source: str = "backtest",
    seed: int = 7,
) -> Result:
    """bars: what was traded, the history before it too. setup: everything but the values that changes the answer. rerun: total
    return of the same backtest under other costs; it is run twice, unless `costs` are nothing. A trade is compared with random
    ones by the opens of the bars in which it began and ended."""
    tested = _tested(align(bars), outcome)
    prices, stays = _stays(tested, outcome)
    equity = outcome.curve
    return Result(
        data_set=data_set(tested),
        strategy=strategy,
        values=values,
        setup=setup,
        source=source,
        returns=_returns(equity),
        periods_per_year=outcome.year.periods,
        trades=len(outcome.trips),
        round_trip_cost=_round_trip_cost(outcome),
        prices=prices,
        stays=stays,
        rerun=(lambda multiple: rerun(times(costs, multiple))) if any(asdict(costs).values()) else None,
        figures={"total_return": float(equity[-1] / equity[0] - 1.0), "trades": float(len(outcome.trips))},
        seed=seed,
    )


def times(costs: CostModel, multiple: int) -> CostModel:
    """Every cost so many times as high; bps at most 3,000 of each kind."""
    scaled = {name: value * multiple for name, value in asdict(costs).items()}
    return CostModel(**{name: min(value, _MOST_BPS) if name.endswith("_bps") else value for name, value in scaled.items()})


def _tested(panel: Panel, outcome: Outcome) -> Panel:
    """The bars of the backtest itself; what came before only fed the columns and the models."""
    first = int(np.searchsorted(panel.known_at, outcome.starts_at, side="right"))
    stop = int(np.searchsorted(panel.known_at, int(outcome.known_at[-1]), side="right"))
    return panel.slice(min(first, len(panel) - 1), max(stop, first + 1))


def _returns(equity: Floats) -> Floats:
    """Simple returns; nothing is left to lose after a total loss."""
    before = equity[:-1]
    alive = before > 0.0
    return np.where(alive, np.maximum(equity[1:] / np.where(alive, before, 1.0) - 1.0, -1.0), 0.0)


def _round_trip_cost(outcome: Outcome) -> float:
    paid = outcome.commissions + (outcome.slippage or 0.0)
    return min(2.0 * paid / outcome.traded_value, 0.5) if outcome.traded_value > 0.0 else 0.0


def _stays(panel: Panel, outcome: Outcome) -> tuple[Floats, list[Stay]]:
    """Prices by holder, shape (n_holders, n_bars), and the trades as stays: a symbol that several strategies hold at once is
    as many holders, because one does not keep the other from it."""
    holders = list(dict.fromkeys((trip.symbol, trip.strategy) for trip in outcome.trips))
    rows = [panel.symbols.index(symbol) for symbol, _ in holders]
    stays = [
        Stay(
            symbol=holders.index((trip.symbol, trip.strategy)),
            entered=_bar_of(panel.known_at, trip.opened_at),
            left=_bar_of(panel.known_at, trip.closed_at),
            weight=_weight(trip, outcome),
        )
        for trip in outcome.trips
    ]
    return panel.open[rows], stays


def _bar_of(known_at: Seconds, at: datetime) -> int:
    """The bar in which `at` lies."""
    return min(int(np.searchsorted(known_at, int(at.timestamp()))), len(known_at) - 1)


def _weight(trip: RoundTrip, outcome: Outcome) -> float:
    """Share of the equity at the end of the period before."""
    before = float(outcome.curve[int(np.searchsorted(outcome.known_at, int(trip.opened_at.timestamp())))])
    return float(trip.quantity * trip.entry_price) / before if before > 0.0 else 0.0
