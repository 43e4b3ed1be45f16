"""Comparing two books, folding an account statement, and reading one off the wire."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal as D
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.brokers.alpaca_activities import statement
from app.domain.activity import Activities, Activity, ActivityKind
from app.domain.instrument import Instrument
from app.domain.order import (
    Fill,
    Order,
    OrderType,
    Purpose,
    Side,
    TimeInForce,
    client_order_id,
    exit_client_order_id,
    is_own_id,
)
from app.domain.portfolio import Portfolio, Position, apply_activity, apply_fill
from app.domain.ports import Account
from app.domain.trading_state import TradingState
from app.engine.reconcile import after, certain, compare, compare_fills, table
from app.risk.checks import Refusal, Room, validate
from app.risk.limits import RiskLimits

T0 = datetime(2024, 3, 1, 15, tzinfo=UTC)


def holding(quantity: str, average: str = "100", symbol: str = "KO") -> Position:
    return Position(symbol=symbol, quantity=D(quantity), average_entry_price=D(average))


def book(cash: str = "1000", **held: str) -> Portfolio:
    return Portfolio(cash=D(cash), positions={symbol: holding(units, symbol=symbol) for symbol, units in held.items()})


def account(cash: str = "1000") -> Account:
    money = D(cash)
    return Account(
        account_id="a", cash=money, equity=money, previous_close_equity=money, buying_power=money, trading_blocked=False
    )


def entry(kind: ActivityKind, amount: str = "0", quantity: str = "0", price: str | None = None, name: str = "1") -> Activity:
    symbol = "KO" if D(quantity) else None
    worth = None if price is None else D(price)
    return Activity(
        activity_id=name, kind=kind, word="X", at=T0, amount=D(amount), symbol=symbol, quantity=D(quantity), price=worth
    )


def fill(name: str, quantity: str = "5", price: str = "10", **changes: Any) -> Fill:
    made = Fill(
        execution_id=name, venue_order_id="v", symbol="KO", side=Side.BUY, quantity=D(quantity), price=D(price), filled_at=T0
    )
    return replace(made, **changes)


@pytest.mark.parametrize(
    ("ours", "theirs", "held", "found"),
    [
        (book(KO="5"), account(), {"KO": holding("5")}, []),
        (book(KO="5"), account("1000.009"), {"KO": holding("5.000")}, []),
        (book(KO="5"), account("1000.01"), {"KO": holding("5")}, [("cash", "+0.01")]),
        (book(KO="5"), account("NaN"), {"KO": holding("5")}, [("cash", "+NaN")]),
        (book(KO="5"), account(), {}, [("KO", "-5")]),
        (book(), account(), {"KO": holding("0.000000001")}, [("KO", "+0.000000001")]),
    ],
)
def test_what_differs(ours: Portfolio, theirs: Account, held: dict[str, Position], found: list[tuple[str, str]]) -> None:
    assert [(one.subject, one.difference) for one in compare(ours, theirs, held)] == found


def test_executions_that_only_we_know_or_that_are_told_in_other_terms() -> None:
    ours = [fill("same"), fill("ours"), fill("terms", price="10")]
    theirs = [fill("same", quantity="5.0"), fill("terms", price="11"), fill("theirs")]
    found = compare_fills(ours, theirs)
    assert [(one.subject, one.theirs) for one in found] == [("execution ours", "none"), ("execution terms", "buy 5 KO at 11")]
    lines = table(found).splitlines()
    assert len(lines) == 3
    assert lines[1].index("buy 5 KO at 10") == lines[2].index("buy 5 KO at 10") == lines[0].index("ours")


def test_no_more_is_certain_than_both_books_say() -> None:
    ours = book(A="5", B="5", C="-5", D="5", E="5")
    held = {"A": holding("3"), "B": holding("9"), "C": holding("-2"), "D": holding("-5")}
    assert {symbol: one.quantity for symbol, one in certain(ours, held).positions.items()} == {"A": 3, "B": 5, "C": -2}


@pytest.mark.parametrize(
    ("what", "cash", "units", "average", "realized"),
    [
        (entry(ActivityKind.DEPOSIT, "300"), "1300", "10", "100", "0"),
        (entry(ActivityKind.WITHDRAWAL, "-300"), "700", "10", "100", "0"),
        (entry(ActivityKind.DIVIDEND, "2.5"), "1002.5", "10", "100", "2.5"),
        (entry(ActivityKind.FEE, "-0.01"), "999.99", "10", "100", "-0.01"),
        (entry(ActivityKind.OTHER, "-1"), "999", "10", "100", "-1"),
        (entry(ActivityKind.SPLIT, quantity="90"), "1000", "100", "10", "0"),
        (entry(ActivityKind.SPLIT, quantity="-8"), "1000", "2", "500", "0"),
        (entry(ActivityKind.SPLIT, "900", "-10"), "1900", None, None, "-100"),  # nothing is left but cash in lieu
        (entry(ActivityKind.TRANSFER, quantity="10", price="200"), "1000", "20", "150", "0"),
        (entry(ActivityKind.TRANSFER, quantity="-4"), "1000", "6", "100", "0"),
        (entry(ActivityKind.TRANSFER, quantity="-10"), "1000", None, None, "0"),
        (entry(ActivityKind.REORGANIZATION, "400", "-10"), "1400", None, None, "-600"),
        (entry(ActivityKind.ADJUSTMENT, "-7", "-1"), "993", "9", "100", "0"),
    ],
)
def test_what_an_entry_does(what: Activity, cash: str, units: str | None, average: str | None, realized: str) -> None:
    found = apply_activity(book(KO="10"), what)
    assert (found.cash, found.realized) == (D(cash), D(realized))
    held = found.positions.get("KO")
    assert (held and held.quantity, held and held.average_entry_price) == (units and D(units), average and D(average))


def test_only_transfers_move_what_gains_are_measured_against() -> None:
    moved = {kind: entry(kind, "5", "2", price="10").moved for kind in ActivityKind}
    assert {kind for kind, value in moved.items() if value == 25} == {k for k in ActivityKind if k.is_transfer}
    assert {value for kind, value in moved.items() if not kind.is_transfer} == {0}


@given(st.lists(st.integers(1, 40), max_size=8), st.randoms(use_true_random=False))
def test_the_order_of_a_statement_changes_neither_cash_nor_units(sizes: list[int], dice: Any) -> None:
    fills = [fill(str(number), str(size), str(size + 1)) for number, size in enumerate(sizes)]
    entries = [entry(ActivityKind.TRANSFER, "-1", str(size), "3", name=str(size)) for size in set(sizes)]
    told = after(book(), Activities(fills=tuple(fills), entries=tuple(entries)))
    dice.shuffle(fills)
    dice.shuffle(entries)
    again = book()
    for one in fills:
        again = apply_fill(again, one)
    for other in entries:
        again = apply_activity(again, other)
    assert again.cash == told.cash
    assert {s: p.quantity for s, p in again.positions.items()} == {s: p.quantity for s, p in told.positions.items()}


def test_own_ids_are_told_from_others() -> None:
    ours = client_order_id(account="a", strategy="s", decided_for="c", symbol="BRK.B", side=Side.BUY, purpose=Purpose.ENTRY)
    leaving = exit_client_order_id(account="a", symbol="KO", position_id="p", reason="stop", attempt=0)
    assert is_own_id(ours)
    assert is_own_id(leaving)
    for other in ("", "at-", "at-ko", ours[:-1], f"x{ours}", "6d9f8f0e-4a4c-4f5a-9a3e-0b8b4a9f8d8e", "at-home-order"):
        assert not is_own_id(other)


# --- the venue's words

FILL = {
    "id": "20240301150000000::e1", "activity_type": "FILL", "transaction_time": "2024-03-01T15:00:00.123456789Z", "price": "10",
    "qty": "2", "side": "buy", "symbol": "KO", "order_id": "v1",
}  # fmt: skip


def test_rows_are_read_once_however_often_they_are_listed() -> None:
    rows = [FILL, FILL, {**FILL, "id": "20240301150001000::e2", "side": "sell_short", "commission": "0.5"}]
    told = statement(rows)
    assert [(one.execution_id, one.side, one.commission) for one in told.fills] == [("e1", "buy", 0), ("e2", "sell", D("0.5"))]


@pytest.mark.parametrize(
    ("row", "kind", "quantity"),
    [
        ({"activity_type": "CSD", "net_amount": "100", "date": "2024-03-01"}, ActivityKind.DEPOSIT, 0),
        ({"activity_type": "CSW", "net_amount": "-100", "date": "2024-03-01"}, ActivityKind.WITHDRAWAL, 0),
        ({"activity_type": "DIVNRA", "net_amount": "-1", "qty": "10", "date": "2024-03-01"}, ActivityKind.DIVIDEND, 0),
        ({"activity_type": "JNLS", "qty": "-10", "symbol": "KO", "date": "2024-03-01"}, ActivityKind.TRANSFER, -10),
        ({"activity_type": "SPLIT", "qty": "30", "symbol": "KO", "created_at": "2024-03-01T09:00:00Z"}, ActivityKind.SPLIT, 30),
        ({"activity_type": "PTC", "net_amount": "-0.02", "date": "2024-03-01"}, ActivityKind.FEE, 0),
        ({"activity_type": "NEWWORD", "net_amount": "3", "date": "2024-03-01"}, ActivityKind.OTHER, 0),
    ],
)  # fmt: skip
def test_entries_by_the_venues_words(row: dict[str, Any], kind: ActivityKind, quantity: int) -> None:
    (one,) = statement([{"id": "20240301000000000::n1", **row}]).entries
    assert (one.kind, one.word, one.quantity) == (kind, row["activity_type"], quantity)
    assert one.at.date().isoformat() == "2024-03-01"


def test_a_cancelled_entry_is_none() -> None:
    assert (
        statement([{"id": "1::n", "activity_type": "CSD", "net_amount": "5", "date": "2024-03-01", "status": "canceled"}])
        == Activities()
    )


def test_a_bust_takes_an_execution_back_and_a_correction_restates_it() -> None:
    bust = {**FILL, "id": "20240301150100000::e9", "type": "trade_bust", "previous_execution_id": "e1"}
    (one,) = statement([bust]).fills
    assert (one.execution_id, one.reverses) == ("e9", "e1")
    undone, anew = sorted(
        statement([{**bust, "type": "trade_correct", "price": "11"}]).fills, key=lambda one: one.reverses is None
    )
    assert (undone.reverses, anew.reverses, anew.price) == ("e1", None, 11)
    assert undone.execution_id != anew.execution_id


# --- parts of a unit


@pytest.mark.parametrize(
    ("quantity", "changes", "fine"),
    [
        ("0.5", {}, True),
        ("10.123456789", {}, True),
        ("0.0000000001", {}, False),
        ("0.5", {"time_in_force": TimeInForce.GTC}, False),
        ("0.5", {"type": OrderType.LIMIT, "limit_price": D(100)}, False),
        ("0.5", {"purpose": Purpose.ENTRY, "side": Side.BUY}, False),
        ("3", {"time_in_force": TimeInForce.GTC}, True),
    ],
)
def test_parts_of_a_unit_are_sold_by_market_orders_of_the_day_alone(quantity: str, changes: dict[str, Any], fine: bool) -> None:
    order = Order(
        client_order_id="x", symbol="KO", side=Side.SELL, quantity=D(quantity), purpose=Purpose.EXIT, reason="stop_loss"
    )
    room = Room(
        state=TradingState.ACTIVE, equity=D(1000), gross_value=D(0), buying_power=D(1000), positions=frozenset(),
        held={"KO": D(20)},
    )  # fmt: skip
    instrument = Instrument(symbol="KO", fraction_step=D("0.000000001"))
    answer = validate(replace(order, **changes), instrument, room, RiskLimits())
    assert (not isinstance(answer, Refusal)) is fine
    if fine:
        whole = validate(order, Instrument(symbol="KO"), room, RiskLimits())
        assert isinstance(whole, Refusal) is bool(D(quantity) % 1)
