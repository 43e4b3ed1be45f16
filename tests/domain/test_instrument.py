"""Quantising: idempotent, on the step, never beyond what was given."""

from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import Order, Purpose, Side, client_order_id

STEPS = st.sampled_from([Decimal(1), Decimal("0.001"), Decimal("0.00000001"), Decimal(100)])
NUMBERS = st.decimals(0, 1_000_000, places=9) | st.floats(0, 1e6)


@settings(deadline=None)
@given(STEPS, NUMBERS)
def test_quantities_go_down_to_the_step_once(step: Decimal, number: Decimal | float) -> None:
    instrument = Instrument(symbol="A", quantity_step=step)
    once = instrument.quantity_down(number)
    exact = number if isinstance(number, Decimal) else Decimal(repr(number))
    assert 0 <= exact - once < step
    assert once % step == 0
    assert instrument.quantity_down(once) == once


@settings(deadline=None)
@given(NUMBERS)
def test_prices_bracket_what_was_given(number: Decimal | float) -> None:
    instrument = Instrument(symbol="A")
    exact = number if isinstance(number, Decimal) else Decimal(repr(number))
    down, up, nearest = instrument.price_down(number), instrument.price_up(number), instrument.price_nearest(number)
    tick = instrument.tick(exact)
    assert down <= exact <= up and up - down <= tick
    assert abs(nearest - exact) <= tick / 2
    assert instrument.price_down(down) == down and instrument.price_nearest(nearest) == nearest


@settings(deadline=None)
@given(st.integers(1, 10_000_000))
def test_cents_cross_from_float_unharmed(cents: int) -> None:
    instrument, price = Instrument(symbol="A"), Decimal(cents) / 100
    assert instrument.price_nearest(cents / 100) == instrument.price_down(cents / 100) == price


@pytest.mark.parametrize("number", [float("nan"), float("inf"), Decimal("NaN"), Decimal("-Infinity")])
def test_what_is_no_number_is_refused(number: float | Decimal) -> None:
    for quantise in (Instrument(symbol="A").quantity_down, Instrument(symbol="A").price_nearest):
        with pytest.raises(InvalidInput):
            quantise(number)


@pytest.mark.parametrize("changes", [{"quantity": "0"}, {"quantity": "NaN"}, {"limit_price": "-1"}, {"stop_loss_price": "9"}])
def test_orders_without_sense_cannot_be_made(changes: dict[str, str]) -> None:
    sound = {
        "client_order_id": "x",
        "symbol": "A",
        "side": Side.BUY,
        "purpose": Purpose.ENTRY,
        "reason": "r",
        "quantity": Decimal(1),
    }
    with pytest.raises(InvalidInput):
        Order(**(sound | {name: Decimal(value) for name, value in changes.items()}))  # type: ignore[arg-type]


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.sampled_from(["a", "b", "a|b"])] * 3), min_size=2, max_size=2, unique=True))
def test_different_decisions_have_different_ids(parts: list[tuple[str, str, str]]) -> None:
    ids = {
        client_order_id(
            account="acc", strategy=strategy, decided_for=cycle, symbol=symbol.upper(), side=Side.BUY, purpose=Purpose.ENTRY
        )
        for strategy, cycle, symbol in parts
    }
    assert len(ids) == 2
