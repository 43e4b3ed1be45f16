"""A pair of exits for units already held: what makes one, and that the simulated exchange takes it."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from app.brokers.alpaca import AlpacaBroker
from app.brokers.alpaca_wire import AlpacaWire
from app.brokers.rate_limit import TokenBucket
from app.domain.errors import InvalidInput
from app.domain.order import Order, OrderClass, OrderType, Purpose, Side, TimeInForce, ValidatedOrder
from tests.trading.exchange import serve_exchange


def a_pair(quantity: int = 3, gain: str = "900.00", loss: str = "1.00") -> Order:
    return Order(
        client_order_id="pair",
        symbol="AAPL",
        side=Side.SELL,
        quantity=Decimal(quantity),
        purpose=Purpose.EXIT,
        reason="protect",
        type=OrderType.LIMIT,
        time_in_force=TimeInForce.GTC,
        limit_price=Decimal(gain),
        take_profit_price=Decimal(gain),
        stop_loss_price=Decimal(loss),
    )


def test_protective_prices_make_an_exit_an_oco() -> None:
    assert a_pair().order_class is OrderClass.OCO


@pytest.mark.parametrize(
    "wrong",
    [{"type": OrderType.MARKET}, {"limit_price": Decimal(899)}, {"stop_loss_price": Decimal(900)}, {"take_profit_price": None}],
)
def test_what_is_no_pair_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidInput):
        replace(a_pair(), **wrong)


def test_the_exchange_takes_it_and_tells_its_stop() -> None:
    with serve_exchange(symbols=("AAPL",)) as exchange:
        exchange.move(next_open=True)
        exchange.order(symbol="AAPL", qty="3", side="buy", type="market", time_in_force="day").raise_for_status()
        exchange.move(advance_seconds=120)
        broker = AlpacaBroker(
            key="k", secret="s", url=exchange.url, paper=True, timeout_seconds=10, wire=AlpacaWire(TokenBucket(60_000))
        )
        order = broker.submit(ValidatedOrder(a_pair()))
        assert (order.type, order.limit_price, order.quantity) == (OrderType.LIMIT, Decimal(900), Decimal(3))
        (stop,) = order.legs
        assert (stop.type, stop.stop_price, stop.parent_order_id) == (OrderType.STOP, Decimal(1), order.venue_order_id)
        broker.cancel(order.venue_order_id)
        assert broker.open_orders() == []
