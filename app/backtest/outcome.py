"""What came of a backtest, whichever engine ran it: what figures, result and report are made from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from app.backtest.statistics.benchmark import relate
from app.backtest.statistics.performance import measure, measure_calendar, ratio
from app.backtest.statistics.periods import Year, year_of
from app.backtest.statistics.trades import RoundTrip, trade_figures
from app.domain.bar import Floats, Seconds


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """An account from its capital to the end of a backtest; money in account currency.

    starts_at: when it held `capital`, seconds since 1970 UTC, before known_at[0]. known_at, equity, positions_value,
    positions: shape (n_periods,), the account at the end of each bar or session. trips: closed, in the order of their ends.
    traded_value: sum of quantity * price over all fills. slippage: None where nobody knows. benchmarks: by name, value of
    1.0, shape (n_periods + 1,), None where there are no prices; the first that is there is the one of alpha and beta.
    risk_fraction: distance of the first stop, as a fraction of the entry price, None where there is none or it varies.
    continuous: whether the market never closes; None: told by the days in known_at.
    """

    capital: float
    starts_at: int
    known_at: Seconds
    equity: Floats
    positions_value: Floats
    positions: npt.NDArray[np.int64]
    trips: Sequence[RoundTrip]
    fills: int
    traded_value: float
    commissions: float
    slippage: float | None = None
    open_positions: int = 0
    benchmarks: Mapping[str, Floats | None] = field(default_factory=dict)
    risk_fraction: float | None = None
    continuous: bool | None = None

    @cached_property
    def curve(self) -> Floats:
        """The capital, then the equity; shape (n_periods + 1,)."""
        return np.append(self.capital, self.equity)

    @cached_property
    def instants(self) -> Seconds:
        """When each value of `curve` was known."""
        return np.append(np.int64(self.starts_at), self.known_at)

    @cached_property
    def year(self) -> Year:
        """What its figures are annualised by."""
        return year_of(self.known_at, continuous=self.continuous)

    @cached_property
    def exposure(self) -> Floats:
        """Value of the holdings over equity, shape (n_periods,); NaN where there is no equity left."""
        with np.errstate(divide="ignore", invalid="ignore"):
            return np.where(self.equity > 0, self.positions_value / self.equity, np.nan)


def figures(outcome: Outcome) -> dict[str, Any]:
    """All figures, flat: those of `Performance`, `CalendarFigures`, `Relation` (to the first benchmark), `TradeFigures`, and:

    turnover_per_year: half of all that was bought and sold, over the mean equity, a year. mean_exposure, max_exposure: value of
    the holdings over equity. time_in_market: share of the periods that ended with a holding. costs: commissions and
    slippage. cost_over_capital: costs over the capital. cost_share: costs over what would have been earned without
    them, None where that was nothing.
    """
    year = outcome.year.periods
    market = next((curve for curve in outcome.benchmarks.values() if curve is not None), None)
    return (
        asdict(measure(outcome.curve, periods_per_year=year))
        | {"year": outcome.year.text}
        | asdict(measure_calendar(outcome.curve, outcome.instants))
        | asdict(relate(outcome.curve, market, periods_per_year=year))
        | asdict(trade_figures(outcome.trips))
        | _activity(outcome)
        | _costs(outcome)
    )


def _activity(outcome: Outcome) -> dict[str, Any]:
    years, mean_equity = len(outcome.equity) / outcome.year.periods, float(outcome.curve.mean())
    exposure = outcome.exposure[np.isfinite(outcome.exposure)]
    return {
        "initial_capital": outcome.capital,
        "final_equity": round(float(outcome.curve[-1]), 2),
        "turnover_per_year": outcome.traded_value / 2 / mean_equity / years if mean_equity > 0 and years else None,
        "mean_exposure": float(exposure.mean()) if len(exposure) else None,
        "max_exposure": float(exposure.max()) if len(exposure) else None,
        "time_in_market": float(np.mean(outcome.positions > 0)) if len(outcome.positions) else None,
        "fills": outcome.fills,
        "open_positions": outcome.open_positions,
    }


def _costs(outcome: Outcome) -> dict[str, Any]:
    paid = outcome.commissions + (outcome.slippage or 0.0)
    earned = float(outcome.curve[-1]) - outcome.capital + paid
    return {
        "commissions": round(outcome.commissions, 2),
        "slippage": None if outcome.slippage is None else round(outcome.slippage, 2),
        "costs": round(paid, 2),
        "cost_over_capital": ratio(paid, outcome.capital),
        "cost_share": ratio(paid, earned),
    }
