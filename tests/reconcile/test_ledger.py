"""What the ledger does with an account statement, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal as D

import pytest

from app.domain.activity import Activities, Activity, ActivityKind
from app.domain.errors import Conflict
from app.domain.order import Fill, OrderType, Side, VenueOrder
from app.domain.portfolio import Position
from app.domain.ports import Account
from app.domain.records import IntentOrigin
from app.domain.trading_state import TradingState
from app.services.database_service import DatabaseService
from tests.storage.made import risk

T0 = datetime.fromisoformat("2024-03-01T15:00:00+00:00")
OURS = "at-ko-" + "0123456789ab" * 2


def after(minutes: float) -> datetime:
    return T0 + timedelta(minutes=minutes)


def account(cash: str = "1000") -> Account:
    money = D(cash)
    return Account(
        account_id="a", cash=money, equity=money, previous_close_equity=money, buying_power=money, trading_blocked=False
    )


def fill(name: str, minutes: float, quantity: str = "10", price: str = "10", order: str = "v1") -> Fill:
    return Fill(
        execution_id=name, venue_order_id=order, symbol="KO", side=Side.BUY, quantity=D(quantity), price=D(price),
        filled_at=after(minutes),
    )  # fmt: skip


def entry(name: str, kind: ActivityKind, minutes: float, amount: str = "0", quantity: str = "0") -> Activity:
    symbol = "KO" if D(quantity) else None
    return Activity(
        activity_id=name, kind=kind, word="X", at=after(minutes), amount=D(amount), symbol=symbol, quantity=D(quantity)
    )


def resting(name: str, client: str, **changes: object) -> VenueOrder:
    order = VenueOrder(
        venue_order_id=name, client_order_id=client, symbol="KO", side=Side.BUY, type=OrderType.LIMIT, quantity=D(10),
        filled_quantity=D(0), filled_average_price=None, status="new", submitted_at=after(-30), limit_price=D(9),
    )  # fmt: skip
    return replace(order, **changes)


def test_an_entry_is_booked_once_with_its_message(ledger: DatabaseService) -> None:
    with pytest.raises(Conflict):
        ledger.book_activities([entry("d", ActivityKind.DIVIDEND, 5, "2.50")])
    ledger.open_account("a", D(1000), T0)
    entries = [entry("d", ActivityKind.DIVIDEND, 5, "2.50"), entry("f", ActivityKind.FEE, 6, "-0.10")]
    assert ledger.book_activities([*entries, *entries]) == entries
    assert ledger.book_activities(entries) == []
    held = ledger.portfolio()
    assert (held.cash, held.realized) == (D("1002.40"), D("2.40"))
    assert len(ledger.outbox_pending()) == 2
    assert list(ledger.activities(T0)) == entries


def test_a_split_counts_in_its_place_whenever_it_is_told(ledger: DatabaseService) -> None:
    """G07: bought before and after it, one of the purchases told late."""
    ledger.open_account("a", D(10_000), T0)
    ledger.book_fills([fill("b", 1, "10", "100"), fill("c", 30, "10", "25")])
    ledger.book_activities([entry("s", ActivityKind.SPLIT, 20, quantity="60")])  # of 20 units, one of them still untold
    ledger.book_fills([fill("a", 2, "10", "100")])
    held = ledger.portfolio().positions["KO"]
    assert (held.quantity, held.average_entry_price) == (D(90), D(2250) / 90)
    assert any("divided by" in message.message for message in ledger.outbox_pending())


def test_a_transfer_moves_baseline_and_peak_with_the_money(ledger: DatabaseService) -> None:
    """I04: in one transaction, so that no crash can part them."""
    ledger.open_account("a", D(100_000), T0)
    ledger.save_risk_state(risk(baseline_equity=D(100_000), high_water_equity=D(110_000)))
    before = ledger.risk_state()
    ledger.book_activities([entry("w", ActivityKind.WITHDRAWAL, 5, "-30000"), entry("d", ActivityKind.DIVIDEND, 5, "70")])
    state = ledger.risk_state()
    assert before is not None
    assert state == replace(before, baseline_equity=D(70_000), high_water_equity=D(80_000), epoch=before.epoch + 1)
    ledger.book_activities([entry("w", ActivityKind.WITHDRAWAL, 5, "-30000")])
    assert ledger.risk_state() == state
    ledger.book_activities([entry("all", ActivityKind.WITHDRAWAL, 6, "-70000")])
    halted = ledger.risk_state()
    assert halted is not None
    assert (halted.trading_state, halted.baseline_equity) == (TradingState.HALTED, D(70_000))


def test_books_begin_whole_with_what_the_venue_shows(ledger: DatabaseService) -> None:
    """R08: a partly filled entry of ours, its leg, a person's order, and money that came before."""
    entry_order = resting("v1", OURS, filled_quantity=D(4), status="partially_filled")
    leg = resting("v2", "leg", side=Side.SELL, parent_order_id="v1", status="held")
    theirs = resting("v3", "somebody")
    past = Activities(fills=(fill("e1", -20, "4"),), entries=(entry("old", ActivityKind.DEPOSIT, -5, "1000"),))
    held = [Position(symbol="KO", quantity=D(4), average_entry_price=D(10))]
    for began in (True, False):  # the second time nothing happens
        assert (
            ledger.open_books(account(), held, orders=[entry_order, leg, theirs], history=past, had_past=True, at=T0) is began
        )
    portfolio, opened = ledger.portfolio(), ledger.account()
    assert (portfolio.cash, portfolio.positions["KO"].quantity) == (D(1000), D(4))
    assert opened is not None and opened.had_past
    kinds = {one.client_order_id: (one.origin, one.parent_id, one.booked_quantity) for one in ledger.orders()}
    assert kinds == {
        OURS: (IntentOrigin.DECISION, None, D(4)),
        "leg": (IntentOrigin.LEG, OURS, D(0)),
        "somebody": (IntentOrigin.EXTERNAL, None, D(0)),
    }
    assert ledger.book_activities(past.entries) == []
    ledger.book_activities([entry("late", ActivityKind.DEPOSIT, -5, "1")])  # dated before, told after: it counts
    ledger.book_fills([*past.fills, fill("e2", 1, "6")])
    after_all = ledger.portfolio()
    assert (after_all.cash, after_all.positions["KO"].quantity) == (D(941), D(10))
    assert not any("Bought 4" in message.message for message in ledger.outbox_pending())


def test_an_order_of_ours_that_was_forgotten_halts_trading(ledger: DatabaseService) -> None:
    """E11."""
    ledger.open_account("a", D(1000), T0)
    ledger.save_risk_state(risk())
    ledger.adopt_order(resting("v7", "6d9f8f0e-4a4c"))
    assert ledger.risk_state() == risk()
    ledger.adopt_order(resting("v8", OURS))
    state = ledger.risk_state()
    assert state is not None
    assert (state.trading_state, state.cause) == (TradingState.HALTED, "books_lost")
    assert ledger.intent(OURS).origin is IntentOrigin.DECISION


def test_terms_that_the_venue_changed_by_itself_are_taken_over(ledger: DatabaseService) -> None:
    ledger.open_account("a", D(1000), T0)
    ledger.adopt_order(resting("v1", "theirs"))
    ledger.restate_order(resting("v1", "theirs", quantity=D(40), limit_price=D("2.25")))
    ledger.restate_order(resting("v2", "nobody"))
    one = ledger.intent("theirs")
    assert (one.quantity, one.limit_price) == (D(40), D("2.25"))


def test_what_is_unexplained_is_news_once(ledger: DatabaseService) -> None:
    row = {"subject": "KO", "ours": "1", "theirs": "0", "difference": "-1"}
    rows = [(), (row,), (row,), ({**row, "theirs": "2"},), (), ()]
    news = [
        ledger.record_reconciliation(at=after(n), trigger="cycle", fills=n, adopted=(), explained=(), unexplained=what)
        for n, what in enumerate(rows)
    ]
    assert news == [False, True, False, True, True, False]
    newest = ledger.reconciliations(3)
    assert [(one.at, one.fills, len(one.unexplained)) for one in newest] == [
        (after(5), 5, 0),
        (after(4), 4, 0),
        (after(3), 3, 1),
    ]


def test_what_of_a_statement_is_not_booked(ledger: DatabaseService) -> None:
    ledger.open_account("a", D(1000), T0)
    ledger.book_fills([fill("a", 1)])
    ledger.book_activities([entry("d", ActivityKind.DIVIDEND, 5, "1")])
    told = Activities(fills=(fill("a", 1), fill("b", 2)), entries=(entry("d", ActivityKind.DIVIDEND, 5, "1"),))
    assert ledger.unbooked(told) == Activities(fills=(fill("b", 2),))
    assert [one.execution_id for one in ledger.fills_since(after(1))] == ["a"]
