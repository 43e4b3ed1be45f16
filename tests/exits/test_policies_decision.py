"""What a decision does about holdings under an exit policy: which stops it moves, what it sells, what it remembers."""

from __future__ import annotations

import math
from dataclasses import replace
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.exits import ExitPolicy, Progress
from app.domain.order import OrderClass, Purpose
from app.domain.reason import Reason
from app.domain.trading_state import TradingState
from app.engine.decide import decide
from app.engine.decision import Book, Decision, LegMove
from app.engine.recording import Inputs, from_json, to_json
from tests.engine.worlds import (
    LIMITS,
    POLICY,
    Quote,
    book_of,
    context_of,
    decided,
    held,
    open_order,
    record_of,
    risk_of,
    view_of,
)

TRAILING = ExitPolicy(trailing_fraction=0.04)
EVERYTHING = ExitPolicy(
    atr_stop_multiple=2.0,
    break_even_at_r=0.5,
    partial_at_r=0.8,
    partial_fraction=0.4,
    trailing_fraction=0.04,
    trailing_atr_multiple=1.5,
)


def stop_leg(stop: str = "95.00", **changes: Any) -> Any:
    legs = {"protective": True, "stop_price": Decimal(stop)} | changes
    return open_order("A", purpose=Purpose.EXIT, **legs)


def answered(price: float, exits: ExitPolicy, units: int = 10, **changes: Any) -> Decision:
    quotes = {"A": Quote(price=price)}
    book = book_of([held("A", units, 100)], quotes=quotes, cash=99_000, **changes)
    return decided(quotes, book, policy=POLICY._replace(exits=exits))


def test_a_trailing_stop_moves_the_leg_up() -> None:
    decision = answered(105.0, TRAILING, open_orders=(stop_leg(),))
    assert decision.moves == (LegMove(client_order_id="A-exit", symbol="A", stop_price=Decimal("100.80")),)
    assert record_of(decision, "A").detail == "the stop-loss moves up to 100.80"
    plan = decision.plans["A"]
    assert (plan.stop, plan.target, plan.progress.best) == (Decimal("100.80"), Decimal("110.00"), 105.0)


@pytest.mark.parametrize(
    ("leg", "state"),
    [
        (stop_leg("100.80"), TradingState.ACTIVE),
        (stop_leg("100.80000001"), TradingState.ACTIVE),
        (stop_leg("101.00"), TradingState.ACTIVE),
        (stop_leg(external=True), TradingState.ACTIVE),
        (stop_leg(at_venue=False), TradingState.ACTIVE),
        (stop_leg(stop_price=None), TradingState.ACTIVE),
        (stop_leg(), TradingState.HALTED),
    ],
)
def test_a_stop_that_is_near_enough_or_not_ours_stays(leg: Any, state: TradingState) -> None:
    assert answered(105.0, TRAILING, open_orders=(leg,), risk=risk_of(state)).moves == ()


def test_without_a_policy_nothing_moves_however_far_behind_the_leg_is() -> None:
    assert answered(109.0, ExitPolicy(), open_orders=(stop_leg("90.00"),)).moves == ()


def test_a_doubted_price_leaves_no_trace() -> None:
    quotes = {"A": Quote(price=1000.0, last_close=100.0)}
    book = book_of([held("A", 10, 100)], quotes=quotes, cash=99_000, open_orders=(stop_leg(),))
    decision = decided(quotes, book, policy=POLICY._replace(exits=TRAILING))
    assert decision.plans["A"].progress == Progress()
    assert decision.moves == ()


def test_a_part_is_sold_behind_the_pair_that_covers_the_rest() -> None:
    exits = ExitPolicy(partial_at_r=1.0, partial_fraction=0.45, break_even_at_r=1.0)
    decision = answered(105.0, exits, open_orders=(stop_leg(),))
    pair, sale = (one.order for one in decision.orders)
    assert (pair.order_class, pair.quantity, pair.limit_price, pair.stop_loss_price) == (
        OrderClass.OCO, Decimal(6), Decimal("110.00"), Decimal("100.00"),
    )  # fmt: skip
    assert (sale.order_class, sale.quantity, sale.reason) == (OrderClass.SIMPLE, Decimal(4), "partial_profit")
    assert pair.client_order_id != sale.client_order_id
    assert decision.cancels == ("A-exit",)
    assert record_of(decision, "A").quantity == 4
    assert decision.plans["A"].progress.partial_taken == 0.0  # it counts once it has filled


@pytest.mark.parametrize("units", [1, 2])
def test_a_holding_too_small_to_be_parted_stays_whole(units: int) -> None:
    decision = answered(105.0, ExitPolicy(partial_at_r=1.0, partial_fraction=0.4), units)
    assert record_of(decision, "A").reason is Reason.HOLD_POSITION


def test_the_part_is_sold_once() -> None:
    decision = answered(105.0, ExitPolicy(partial_at_r=1.0, partial_fraction=0.5), progress={"A": Progress(0, 105, 0, 1.0)})
    assert record_of(decision, "A").reason is Reason.HOLD_POSITION
    assert decision.plans["A"].partial is None


def test_an_entry_is_sent_with_the_stop_of_its_atr() -> None:
    quotes = {"A": Quote(price=100.0, expected=0.02)}
    view = replace(view_of(quotes), atr=np.array([1.0]))
    for multiple, stop in ((0.0, "95.00"), (2.0, "98.00"), (9.0, "95.00")):
        policy = POLICY._replace(exits=ExitPolicy(atr_stop_multiple=multiple))
        (entry,) = decide(view, book_of(), context_of(quotes), LIMITS, policy).orders
        assert entry.order.stop_loss_price == Decimal(stop)


def test_recordings_keep_policy_and_memory_and_older_ones_can_be_read() -> None:
    quotes = {"A": Quote(price=104.0)}
    book = book_of([held("A", 10, 100)], quotes=quotes, progress={"A": Progress(97.0, 103.1, 98.9, 1.0)})
    view = replace(view_of(quotes), atr=np.array([1.25]))
    inputs = Inputs(view=view, book=book, context=context_of(quotes), limits=LIMITS, policy=POLICY._replace(exits=EVERYTHING))
    recorded = to_json(inputs)
    again = from_json(recorded)
    assert (again.book, again.policy, again.view.atr) == (inputs.book, inputs.policy, view.atr)
    del recorded["policy"]["exits"], recorded["book"]["progress"], recorded["view"]["atr"]
    older = from_json(recorded)
    assert (older.book.progress, older.policy.exits, older.view.atr) == ({}, ExitPolicy(), None)


@settings(deadline=None, max_examples=150)
@given(
    prices=st.lists(st.one_of(st.floats(90.0, 125.0), st.sampled_from([math.nan, 0.0, 1e9])), min_size=1, max_size=12),
    units=st.integers(1, 40),
    atr=st.one_of(st.floats(0.1, 5.0), st.just(math.nan)),
)
def test_stops_never_move_away_and_sales_never_exceed_the_holding(prices: list[float], units: int, atr: float) -> None:
    """A holding is followed through readings; each partial sale fills."""
    progress: dict[str, Progress] = {}
    resting, left, parts = Decimal("95.00"), Decimal(units), 0
    for price in prices:
        quotes = {"A": Quote(price=round(price, 2))}
        leg = stop_leg(str(resting))
        book: Book = book_of([held("A", left, 100)], quotes=quotes, equity=100_000, open_orders=(leg,), progress=progress)
        view = replace(view_of(quotes), atr=np.array([atr]))
        decision = decide(view, book, context_of(quotes), LIMITS, POLICY._replace(exits=EVERYTHING))
        for move in decision.moves:
            assert move.stop_price > resting
            resting = move.stop_price
        assert sum((one.order.quantity for one in decision.orders), Decimal(0)) <= left
        plan = decision.plans["A"]
        assert plan.progress.stop >= (progress["A"].stop if progress else 0.0)
        progress = {"A": plan.progress}
        reason = record_of(decision, "A").reason
        if reason is Reason.PARTIAL_PROFIT:
            parts += 1
            left -= record_of(decision, "A").quantity or 0
            progress = {"A": plan.progress._replace(partial_taken=1.0)}
        elif decision.orders:
            break
    assert left > 0
    assert parts <= 1
