"""Which hand each unit is in, and which prints are believed: tables and laws."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.domain.order import OrderType, Purpose, Side, TimeInForce
from app.domain.order_state import OrderState
from app.domain.portfolio import Position
from app.domain.reason import Reason
from app.domain.records import IntentOrigin, IntentRecord
from app.engine.protection import PROTECTION, Aim, Print, cover_of, is_believed, reached

NOON = datetime(2024, 1, 2, 17, 0, tzinfo=UTC)
AIM = Aim(stop=Decimal(95), target=Decimal(110))
TEN = Position(symbol="ACME", quantity=Decimal(10), average_entry_price=Decimal(100))


def intent(name: str, quantity: str = "10", **changes: Any) -> IntentRecord:
    values: dict[str, Any] = {
        "client_order_id": name, "cycle_id": None, "origin": IntentOrigin.DECISION, "state": OrderState.OPEN, "symbol": "ACME",
        "side": Side.SELL, "quantity": Decimal(quantity), "purpose": Purpose.EXIT, "reason": "x", "type": OrderType.MARKET,
        "time_in_force": TimeInForce.DAY, "limit_price": None, "stop_price": None, "take_profit_price": None,
        "stop_loss_price": None, "expires_at": None, "attempt": 1, "venue_order_id": f"v-{name}", "parent_id": None,
        "filled_quantity": Decimal(0), "filled_average_price": None, "created_at": NOON, "sent_at": NOON, "updated_at": NOON,
        "error": None,
    }  # fmt: skip
    return IntentRecord(**(values | changes))


def leg(name: str, kind: OrderType, quantity: str = "10", parent: str = "entry") -> IntentRecord:
    price = {"stop_price": Decimal(95)} if kind is OrderType.STOP else {"limit_price": Decimal(110)}
    return intent(name, quantity, origin=IntentOrigin.LEG, type=kind, parent_id=parent, **price)


ENTRY = intent("entry", side=Side.BUY, purpose=Purpose.ENTRY, type=OrderType.LIMIT, filled_quantity=Decimal(4))
LEGS = [leg("gain", OrderType.LIMIT), leg("loss", OrderType.STOP)]
OCO = {"source": PROTECTION, "type": OrderType.LIMIT, "take_profit_price": Decimal(110), "stop_loss_price": Decimal(95)}


@pytest.mark.parametrize(
    ("orders", "hands"),
    [
        ([], {"bare": 10}),
        (LEGS, {"resting": 10}),
        ([leg("loss", OrderType.STOP, "6")], {"resting": 6, "bare": 4}),
        ([*LEGS, ENTRY], {"bare": 10}),
        ([leg("gain", OrderType.LIMIT)], {"loose": 10}),
        ([intent("sale")], {"leaving": 10}),
        ([intent("sale", "4", filled_quantity=Decimal(1))], {"leaving": 3, "bare": 7}),
        ([intent("oco", **OCO)], {"loose": 10}),
        ([intent("oco", **OCO), leg("loss", OrderType.STOP, parent="oco")], {"resting": 10}),
        ([intent("oco", **OCO, state=OrderState.UNKNOWN)], {"leaving": 10}),
        ([intent("hers", "4", origin=IntentOrigin.EXTERNAL, type=OrderType.LIMIT)], {"foreign": 4, "bare": 6}),
        ([intent("hers", origin=IntentOrigin.EXTERNAL, type=OrderType.STOP, stop_price=Decimal(90))], {"resting": 10}),
        ([intent("other", symbol="EMCA")], {"bare": 10}),
    ],
)
def test_each_unit_is_in_one_hand(orders: list[IntentRecord], hands: dict[str, int]) -> None:
    cover = cover_of(TEN, orders)
    found = {name: getattr(cover, name) for name in ("resting", "leaving", "foreign", "loose", "bare")}
    assert found == {name: hands.get(name, 0) for name in found}
    assert cover.exposed == hands.get("bare", 0) + hands.get("loose", 0)


def test_an_open_entry_and_its_waiting_legs_are_named_for_the_cancel() -> None:
    assert cover_of(TEN, [*LEGS, ENTRY]).entry_ids == ("entry", "gain", "loss")


QUANTITIES = st.decimals(min_value=0, max_value=50, places=3)
KINDS = st.sampled_from([OrderType.STOP, OrderType.LIMIT, OrderType.MARKET])


@given(
    held=QUANTITIES,
    orders=st.lists(
        st.tuples(
            QUANTITIES, KINDS, st.sampled_from(IntentOrigin), st.sampled_from(OrderState), st.sampled_from([None, "entry", "p"])
        ),
        max_size=6,
    ),
)
def test_the_hands_always_add_up_to_what_is_held(held: Decimal, orders: list[tuple[Any, ...]]) -> None:
    position = Position(symbol="ACME", quantity=held, average_entry_price=Decimal(100))
    made = [
        intent(f"o{i}", str(quantity), type=kind, origin=origin, state=state, parent_id=parent)
        for i, (quantity, kind, origin, state, parent) in enumerate(orders)
    ]
    cover = cover_of(position, made)
    parts = (cover.resting, cover.leaving, cover.foreign, cover.loose, cover.bare)
    assert all(part >= 0 for part in parts)
    assert sum(parts) == held
    assert cover.whole <= cover.exposed <= held


def printed(price: str, seconds: float = 0) -> Print:
    return Print(price=Decimal(price), at=NOON + timedelta(seconds=seconds))


@pytest.mark.parametrize(
    ("new", "earlier", "closes", "believed"),
    [
        (printed("94"), [], [], False),
        (printed("94"), [], [100, 99, 94], True),
        (printed("94"), [], [100, 99, 98], False),
        (printed("94", 10), [printed("94.5")], [], True),
        (printed("94", 0), [printed("94", 0)], [], False),  # the same print, read twice
        (printed("94", 61), [printed("94.5")], [], False),
        (printed("94", 10), [printed("112")], [], False),  # the other side
        (printed("1", 10), [printed("1")], [100, 100, 100], False),  # two that the minutes deny
        (printed("1", 10), [printed("1")], [100, 100, 1], True),
        (printed("1", 10), [], [100, 100, 1], False),
        (printed("100"), [], [94, 94, 94], False),
        (printed("NaN"), [printed("94")], [94], False),
    ],
)
def test_G04_what_is_believed(new: Print, earlier: list[Print], closes: list[int], believed: bool) -> None:
    assert is_believed(new, earlier, [Decimal(close) for close in closes], AIM) is believed


@given(st.integers(1, 200_000))
def test_R07_levels_are_reached_exactly_at_the_written_rule(cents: int) -> None:
    price = Decimal(cents) / 100
    aim = Aim(stop=price * Decimal("0.95"), target=price * Decimal("1.10"))
    assert aim.stop is not None
    assert aim.target is not None
    assert reached(aim.stop, aim) is Reason.STOP_LOSS
    assert reached(aim.target, aim) is Reason.TAKE_PROFIT
    assert reached(aim.stop * Decimal("1.0000001"), aim) is None
    assert reached(aim.target * Decimal("0.9999999"), aim) is None


@pytest.mark.parametrize("price", ["NaN", "Infinity", "0", "-1"])
def test_what_is_no_price_reaches_nothing(price: str) -> None:
    assert reached(Decimal(price), AIM) is None
