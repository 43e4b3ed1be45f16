"""What the stream tells, read: nothing that arrives ends the reader."""

from __future__ import annotations

from decimal import Decimal
from typing import Any

import pytest

from app.brokers.alpaca_stream import AlpacaStream, _read
from app.domain.trade_update import TradeUpdate, Unreadable

ORDER = {
    "id": "o1",
    "client_order_id": "at-aapl-1",
    "symbol": "AAPL",
    "side": "buy",
    "type": "market",
    "qty": "3",
    "filled_qty": "3",
    "filled_avg_price": "180.1",
    "status": "filled",
    "submitted_at": "2024-01-03T14:40:00Z",
}
FILL = {
    "event": "fill",
    "execution_id": "e1",
    "price": "180.1",
    "qty": "3",
    "timestamp": "2024-01-03T14:41:00.123456789Z",
    "order": ORDER,
}


def test_a_fill_is_an_order_and_an_execution() -> None:
    told = _read({"stream": "trade_updates", "data": FILL})
    assert isinstance(told, TradeUpdate)
    assert told.fill is not None
    assert (told.fill.execution_id, told.fill.quantity, told.fill.price) == ("e1", Decimal(3), Decimal("180.1"))
    assert told.order.client_order_id == "at-aapl-1"


@pytest.mark.parametrize("event", ["new", "canceled", "pending_cancel", "a_word_of_tomorrow"])
def test_other_events_carry_no_execution(event: str) -> None:
    told = _read({"data": {**FILL, "event": event}})
    assert isinstance(told, TradeUpdate)
    assert told.fill is None


@pytest.mark.parametrize(
    "broken",
    [
        {},
        {"data": None},
        {"data": []},
        {"data": {**FILL, "order": None}},
        {"data": {**FILL, "qty": "many"}},
        {"data": {**FILL, "price": None}},
        {"data": {**FILL, "timestamp": "soon"}},
        {"data": {**FILL, "order": {**ORDER, "side": "sideways"}}},
        {"data": {name: value for name, value in FILL.items() if name != "execution_id"}},
    ],
)
def test_what_cannot_be_read_says_so(broken: dict[str, Any]) -> None:
    assert isinstance(_read(broken), Unreadable)


def test_a_reader_far_behind_is_told_to_look_for_itself() -> None:
    stream = AlpacaStream(key="k", secret="s", url="ws://127.0.0.1:1/stream", paper=True)
    for _ in range(10_001):
        stream.tell(Unreadable(reason="x"))
    assert stream.next(0.1) == Unreadable(reason="too many messages waited")
    assert stream.next(0.0) is None
