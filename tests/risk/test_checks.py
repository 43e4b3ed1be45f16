"""The exact last check: each rule at its boundary, by one cent or one unit."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.instrument import Instrument
from app.domain.order import Order, OrderType, Purpose, Side, ValidatedOrder
from app.domain.trading_state import TradingState
from app.risk.checks import Refusal, Room, validate
from app.risk.limits import RiskLimits
from app.risk.sizing import BOUNDS, entry_bounds, entry_quantity

LIMITS, INSTRUMENT = RiskLimits(), Instrument(symbol="A")
ROOM = Room(
    state=TradingState.ACTIVE,
    equity=Decimal(100_000),
    gross_value=Decimal(0),
    buying_power=Decimal(100_000),
    positions=frozenset(),
    held={"A": Decimal(10)},
    prices={"A": Decimal(100)},
)
ENTRY = Order(
    client_order_id="x",
    symbol="A",
    side=Side.BUY,
    quantity=Decimal(100),
    purpose=Purpose.ENTRY,
    reason="buy_signal",
    type=OrderType.LIMIT,
    limit_price=Decimal(100),
    take_profit_price=Decimal(110),
    stop_loss_price=Decimal(95),
)
EXIT = Order(client_order_id="y", symbol="A", side=Side.SELL, quantity=Decimal(10), purpose=Purpose.EXIT, reason="stop_loss")
CENT = Decimal("0.01")


def rule(order: Order, room: Room = ROOM, instrument: Instrument = INSTRUMENT) -> str | None:
    answer = validate(order, instrument, room, LIMITS)
    return answer.rule if isinstance(answer, Refusal) else None


def names(count: int) -> frozenset[str]:
    return frozenset(f"H{i}" for i in range(count))


@pytest.mark.parametrize(
    ("holds", "breaks", "name"),
    [
        (ROOM, replace(ROOM, equity=Decimal("99999.99")), "max_position_size"),
        (replace(ROOM, gross_value=Decimal(70_000)), replace(ROOM, gross_value=70_000 + CENT), "max_exposure"),
        (replace(ROOM, buying_power=Decimal(10_000)), replace(ROOM, buying_power=10_000 - CENT), "buying_power"),
        (replace(ROOM, positions=names(6)), replace(ROOM, positions=names(7)), "max_positions"),
        (ROOM, replace(ROOM, positions=frozenset({"A"})), "one_entry"),
        (ROOM, replace(ROOM, state=TradingState.REDUCING), "trading_state"),
    ],
    ids=lambda v: v if isinstance(v, str) else "",
)
def test_room_at_the_boundary(holds: Room, breaks: Room, name: str) -> None:
    assert rule(ENTRY, holds) is None
    assert rule(ENTRY, breaks) == name


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (replace(ENTRY, stop_loss_price=Decimal("89.99")), "risk_per_trade"),
        (replace(ENTRY, quantity=Decimal("99.5")), "quantity_step"),
        (replace(ENTRY, limit_price=None, type=OrderType.MARKET), "entry_shape"),
        (replace(ENTRY, take_profit_price=None, stop_loss_price=None), "entry_shape"),
        (replace(ENTRY, side=Side.SELL), "entry_shape"),
        (replace(EXIT, quantity=Decimal(11)), "held_quantity"),
        (replace(EXIT, symbol="B"), "held_quantity"),
        (replace(EXIT, side=Side.BUY), "held_quantity"),
    ],
)
def test_terms_that_are_refused(order: Order, name: str) -> None:
    assert rule(order) == name


@pytest.mark.parametrize(
    ("order", "name"),
    [
        (replace(ENTRY, quantity=Decimal(10), limit_price=Decimal("100.50")), None),
        (replace(ENTRY, quantity=Decimal(10), limit_price=Decimal("100.51")), "price_collar"),
        (replace(ENTRY, symbol="B"), "price_collar"),  # no fresh price
        (replace(EXIT, type=OrderType.LIMIT, limit_price=Decimal("95.00")), None),
        (replace(EXIT, type=OrderType.LIMIT, limit_price=Decimal("94.99")), "price_collar"),
        (replace(EXIT, type=OrderType.LIMIT, limit_price=Decimal("200")), None),
    ],
)
def test_prices_beyond_the_collar_are_refused(order: Order, name: str | None) -> None:
    assert rule(order) == name


def test_an_exit_at_the_market_needs_no_price() -> None:
    assert rule(EXIT, replace(ROOM, prices={})) is None


def test_risk_per_trade_at_its_boundary() -> None:
    assert rule(replace(ENTRY, stop_loss_price=Decimal(90))) is None


def test_instruments_that_are_refused() -> None:
    assert rule(ENTRY, instrument=replace(INSTRUMENT, tradable=False)) == "tradable"
    assert rule(ENTRY, instrument=replace(INSTRUMENT, minimum_notional=10_000 + CENT)) == "minimum_notional"
    assert rule(ENTRY, instrument=replace(INSTRUMENT, minimum_notional=Decimal(10_000))) is None


def test_exits_pass_in_every_state_but_halted() -> None:
    for state in TradingState:
        assert rule(EXIT, replace(ROOM, state=state)) == ("halted" if state is TradingState.HALTED else None)


@pytest.mark.row("I07")
@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(1, 400), st.integers(1_00, 400_00)), max_size=12))
def test_a_run_of_entries_never_takes_more_than_there_is(wishes: list[tuple[int, int]]) -> None:
    room, taken = ROOM, []
    for i, (units, cents) in enumerate(wishes):
        price = Decimal(cents) / 100
        order = replace(
            ENTRY,
            symbol=f"S{i}",
            quantity=Decimal(units),
            limit_price=price,
            stop_loss_price=price * Decimal("0.95"),
            take_profit_price=price * Decimal("1.1"),
        )
        answer = validate(order, INSTRUMENT, replace(room, prices={f"S{i}": price}), LIMITS)
        if isinstance(answer, Refusal):
            continue
        validated, room = answer
        assert isinstance(validated, ValidatedOrder) and validated.order is order
        taken.append(units * price)
    assert sum(taken) <= 80_000 and len(taken) <= 7 and all(value <= 10_000 for value in taken)
    assert room.buying_power == 100_000 - sum(taken) and room.gross_value == sum(taken)


def test_exits_use_up_what_is_held() -> None:
    answer = validate(EXIT, INSTRUMENT, ROOM, LIMITS)
    assert not isinstance(answer, Refusal)
    assert rule(EXIT, answer[1]) == "held_quantity"


@settings(deadline=None)
@given(
    st.floats(0.01, 10_000),
    st.floats(0.0005, 0.2),
    st.floats(1_000, 1e8),
    st.floats(0, 1e8),
    st.floats(0, 1e8),
    st.sampled_from([1.0, 0.001, 100.0]),
)
def test_the_least_bound_decides_the_size(
    price: float, volatility: float, equity: float, gross: float, power: float, step: float
) -> None:
    bounds = entry_bounds(price, volatility, equity, gross, power, math.inf, LIMITS.stop_loss_fraction, LIMITS)
    units, least = entry_quantity(bounds, step, LIMITS)
    assert BOUNDS[least] == BOUNDS[min(range(5), key=lambda i: bounds[i])]
    assert 0 <= units <= max(bounds[least], 0) and abs(units / step - round(units / step)) < 1e-6
    assert units == 0 or bounds[least] * (1 - LIMITS.headroom_fraction) - units < step * (1 + 1e-6)
