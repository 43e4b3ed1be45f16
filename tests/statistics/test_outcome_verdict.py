"""What came of a backtest, made ready to be judged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from app.backtest.outcome import Outcome
from app.backtest.statistics.trades import RoundTrip
from app.domain.bar import BarSeries
from app.engine.costs import CostModel
from app.services.verdicts.outcome_verdict import judged_result, times

DAY = 86_400
CLOSE = 75_600


def series(symbol: str, days: int = 400) -> BarSeries:
    stamps = np.arange(days, dtype=np.int64) * DAY
    close = 100 * np.exp(np.cumsum(0.01 * np.random.default_rng(len(symbol)).standard_normal(days)))
    return BarSeries(
        symbol=symbol,
        timeframe="1Day",
        timestamp=stamps,
        known_at=stamps + CLOSE,
        open=close * 1.001,
        high=close * 1.01,
        low=close * 0.99,
        close=close,
        volume=np.full(days, 1e6),
    )


def trip(symbol: str, opened: int, closed: int, *, strategy: str = "", hour: int = 15) -> RoundTrip:
    def at(day: int) -> datetime:
        return datetime.fromtimestamp(day * DAY, UTC) + timedelta(hours=hour)

    return RoundTrip(
        symbol=symbol,
        quantity=Decimal(10),
        entry_price=Decimal(100),
        exit_price=Decimal(101),
        opened_at=at(opened),
        closed_at=at(closed),
        commissions=Decimal(1),
        profit=Decimal(9),
        return_fraction=0.009,
        reason="sell_signal",
        strategy=strategy,
    )


def outcome(trips=(), first: int = 100, days: int = 300, equity=None) -> Outcome:
    known_at = (first + np.arange(days, dtype=np.int64)) * DAY + CLOSE
    curve = 10_000 * np.exp(np.cumsum(0.01 * np.random.default_rng(5).standard_normal(days))) if equity is None else equity
    return Outcome(
        capital=10_000.0,
        starts_at=first * DAY + 50_000,
        known_at=known_at,
        equity=curve,
        positions_value=np.zeros(days),
        positions=np.zeros(days, dtype=np.int64),
        trips=list(trips),
        fills=2 * len(trips),
        traded_value=2_010.0 * len(trips),
        commissions=float(len(trips)),
        slippage=0.5 * len(trips),
    )


def result(found: Outcome, **changed):
    fields = {
        "bars": {"AA": series("AA"), "B": series("B")},
        "strategy": "ensemble",
        "values": {},
        "setup": {"engine": "driver"},
        "costs": CostModel(),
        "rerun": lambda costs: float(costs.slippage_bps),
    }
    return judged_result(found, **(fields | changed))


def test_the_data_set_is_the_span_that_was_tested():
    found = result(outcome())
    assert found.data_set.symbols == ("AA", "B")
    assert found.data_set.start == datetime.fromtimestamp(100 * DAY, UTC)
    assert found.data_set.end == datetime.fromtimestamp(399 * DAY + CLOSE, UTC)
    longer = result(outcome(), bars={"AA": series("AA").slice(50, 400), "B": series("B").slice(50, 400)})
    assert longer.data_set == found.data_set  # more or less history before it is the same test


def test_trades_are_placed_in_the_bars_in_which_they_happened():
    found = result(outcome([trip("B", 110, 120), trip("AA", 130, 130), trip("B", 120, 125)]))
    assert [(stay.symbol, stay.entered, stay.left) for stay in found.stays] == [(0, 10, 20), (1, 30, 30), (0, 20, 25)]
    np.testing.assert_array_equal(found.prices[0], series("B").open[100:])
    equity = outcome().curve
    assert found.stays[0].weight == pytest.approx(1_000 / equity[10])
    assert found.trades == 3
    assert found.round_trip_cost == pytest.approx(2 * 1.5 / 2_010)


def test_strategies_that_hold_the_same_symbol_are_holders_of_their_own():
    found = result(outcome([trip("B", 110, 120, strategy="x"), trip("B", 112, 118, strategy="y")]))
    assert [stay.symbol for stay in found.stays] == [0, 1]
    assert len(found.prices) == 2


def test_returns_are_those_of_the_account():
    equity = np.full(300, 10_000.0)
    equity[0], equity[200:] = 10_100.0, 0.0
    found = result(outcome(equity=equity))
    assert found.returns[0] == pytest.approx(0.01)
    assert found.returns[200] == -1.0
    assert set(found.returns[201:]) == {0.0}
    assert result(outcome(equity=np.where(equity == 0.0, -5.0, equity))).returns.min() == -1.0


def test_costs_are_multiplied_each():
    costs = CostModel(slippage_bps=Decimal(2), commission_bps=Decimal("1.5"), minimum_commission=Decimal(1))
    assert times(costs, 3) == CostModel(slippage_bps=Decimal(6), commission_bps=Decimal("4.5"), minimum_commission=Decimal(3))
    assert times(CostModel(slippage_bps=Decimal(5_000)), 2).slippage_bps == 3_000
    assert result(outcome()).rerun(2) == 4.0
    assert result(outcome(), costs=CostModel(slippage_bps=Decimal(0))).rerun is None


def test_without_trades_there_is_nothing_to_place():
    found = result(outcome())
    assert (found.stays, found.round_trip_cost, found.trades) == ([], 0.0, 0)
