"""What a fill lost to slippage, by the cost model that worsened its price."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from app.backtest.statistics.trades import slippage_of
from app.domain.instrument import Instrument
from app.domain.order import Fill, Purpose, Side
from app.engine.costs import FREE, CostModel
from app.engine.ledger import Execution
from tests.backtest.markets import plan_of

COSTS = CostModel(slippage_bps=Decimal(5), half_spread_bps=Decimal(3), commission_bps=Decimal(9))


def execution(side: Side, price: Decimal, reason: str = "sell_signal") -> Execution:
    fill = Fill(
        execution_id="1", venue_order_id="1", symbol="SPY", side=side, quantity=Decimal(10), price=price,
        filled_at=datetime(2024, 1, 2, 15, tzinfo=UTC),
    )  # fmt: skip
    return Execution(fill=fill, client_order_id="1", purpose=Purpose.EXIT, reason=reason)


@pytest.mark.parametrize("price", ["123.45", "3999.99", "87654.32"])
def test_it_is_the_distance_from_the_price_of_the_bar(price: str) -> None:
    fair = Decimal(price)
    paid = COSTS.fill_price(fair, Side.SELL, Instrument(symbol="SPY"))
    lost = slippage_of(execution(Side.SELL, paid), COSTS)
    assert float(lost) == pytest.approx(float((fair - paid) * 10), abs=0.1)  # half a tick for each of ten units
    assert lost > 0 == slippage_of(execution(Side.SELL, paid), FREE)


def test_limit_orders_pay_none() -> None:
    assert slippage_of(execution(Side.BUY, Decimal(100)), COSTS) == 0
    assert slippage_of(execution(Side.SELL, Decimal(100), "take_profit"), COSTS) == 0
    assert slippage_of(execution(Side.SELL, Decimal(100), "stop_loss"), COSTS) > 0


def test_a_run_adds_it_up() -> None:
    from app.backtest.driver import run
    from tests.backtest.markets import NoisyForecaster, tape_of

    costly = run(plan_of(costs=COSTS), tape_of(12), NoisyForecaster())
    free = run(plan_of(costs=FREE), tape_of(12), NoisyForecaster())
    sold = sum(float(trip.quantity * trip.exit_price) for trip in costly.round_trips)
    assert free.slippage == 0 < float(costly.slippage) <= sold * 8.1e-4 + 50
