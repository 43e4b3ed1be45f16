"""No write of the ledger without an event: a new write method gets one and a case here, or a reason why it needs none."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import timedelta
from decimal import Decimal

import pytest

from app.domain.activity import Activities, Activity, ActivityKind
from app.domain.order import ValidatedOrder
from app.domain.order_state import OrderEvent
from app.domain.ports import Account
from app.services.database_service import DatabaseService
from app.storage.trading_ledger import TradingLedger
from tests.storage.made import (
    CASH,
    LATER,
    T0,
    after,
    capacity,
    decided,
    exit_order,
    fill,
    holding,
    open_books,
    order,
    risk,
    start_cycle,
    venue_order,
)

# Write methods that tell the log nothing, each with the reason.
WITHOUT_EVENTS: dict[str, str] = {}

PATIENCE = timedelta(seconds=60)


def _sent(ledger: DatabaseService) -> None:
    decided(ledger, order())
    ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)


def _ready(ledger: DatabaseService) -> None:
    decided(ledger, order())


def _finish(ledger: DatabaseService) -> None:
    ledger.finish_cycle("c1", outcome="completed", detail="", finished_at=LATER, timings={}, equity=None)


def _commit(ledger: DatabaseService) -> None:
    orders = [ValidatedOrder(order("by-hand"))]
    ledger.commit_orders(orders, source="manual", capacity=capacity(), expires_at=LATER, at=T0)


_DIVIDEND = Activity(activity_id="d", kind=ActivityKind.DIVIDEND, word="DIV", at=T0, amount=Decimal("2.50"), symbol="KO")


def _open(ledger: DatabaseService) -> None:
    account = Account(
        account_id="a", cash=CASH, equity=CASH, previous_close_equity=CASH, buying_power=CASH, trading_blocked=False
    )
    ledger.open_books(account, [holding("KO", Decimal(1))], orders=[], history=Activities(), had_past=True, at=T0)


def _reconcile(ledger: DatabaseService) -> None:
    found = [{"subject": "KO", "ours": "1", "theirs": "2", "difference": "1"}]
    ledger.record_reconciliation(at=T0, trigger="cycle", fills=0, adopted=[], explained=[], unexplained=found)


def _restate(ledger: DatabaseService) -> None:
    ledger.restate_order(venue_order(quantity=Decimal(3)))


Step = Callable[[DatabaseService], object]
# What goes before, and the write itself with the kinds of event it must add.
WRITES: dict[str, tuple[Step, Step, set[str]]] = {
    "claim_cycle": (lambda _: None, start_cycle, {"started"}),
    "record_decision": (open_books, lambda a: decided(a, order()), {"started", "seen", "decided", "risk_changed"}),
    "commit_orders": (lambda a: (open_books(a), a.save_risk_state(risk())), _commit, {"decided"}),
    "finish_cycle": (start_cycle, _finish, {"ended"}),
    "claim_intent": (_ready, lambda a: a.claim_intent("at-aapl-1", cycle_id="c1", now=T0), {"sent"}),
    "settle_intent": (_sent, lambda a: a.settle_intent("at-aapl-1", OrderEvent.LOSE_ANSWER), {"answered"}),
    "miss_intent": (_sent, lambda a: a.miss_intent("at-aapl-1", now=T0, grace=None), {"reconciled"}),
    "note_pending": (_sent, lambda a: a.note_pending(["at-aapl-1"], now=T0, patience=PATIENCE), {"reconciled"}),
    "adopt_order": (lambda _: None, lambda a: a.adopt_order(venue_order("stranger")), {"reconciled", "answered"}),
    "expire_ready_intents": (_ready, lambda a: a.expire_ready_intents(before_cycle="c2"), {"canceled"}),
    "expire_stale_intents": (_ready, lambda a: a.expire_stale_intents(after(900)), {"canceled"}),
    "open_account": (lambda _: None, lambda a: a.open_account("a", CASH, T0), {"started", "booked"}),
    "adopt_positions": (open_books, lambda a: a.adopt_positions([holding("KO", Decimal(1))], T0), {"reconciled", "booked"}),
    "book_fills": (lambda a: (_sent(a), a.adopt_order(venue_order())), lambda a: a.book_fills([fill()]), {"filled", "booked"}),
    "open_books": (lambda _: None, _open, {"started", "reconciled", "booked"}),
    "book_activities": (open_books, lambda a: a.book_activities([_DIVIDEND]), {"reconciled", "booked"}),
    "record_reconciliation": (lambda _: None, _reconcile, {"reconciled"}),
    "adopt_known_order": (_sent, lambda a: a.adopt_known_order(venue_order()), {"answered"}),
    "restate_order": (lambda a: (_sent(a), a.adopt_order(venue_order())), _restate, {"reconciled"}),
    "expire_unsent": (_ready, lambda a: a.expire_unsent(["at-aapl-1"]), {"canceled"}),
    "save_risk_state": (lambda _: None, lambda a: a.save_risk_state(risk()), {"risk_changed"}),
}


def _writes() -> set[str]:
    methods = inspect.getmembers(TradingLedger, inspect.isfunction)
    return {name for name, method in methods if not name.startswith("_") and "_db.write(" in inspect.getsource(method)}


def test_every_write_has_a_case_or_a_reason():
    known = set(WRITES) | set(WITHOUT_EVENTS)
    assert _writes() == known, "a write without an event? see tests/audit/test_written.py and docs/audit.md"


@pytest.mark.parametrize("name", WRITES)
def test_a_write_tells_the_log(database, hand_clock, name):
    before, write, kinds = WRITES[name]
    ledger = DatabaseService(database, hand_clock)
    before(ledger)
    last = ledger.check_audit()[1].seq
    write(ledger)
    now = ledger.check_audit()[1].seq
    told = {event.kind for event in ledger.audit_events(range(last + 1, now + 1)) if "config" not in event.payload}
    assert kinds <= told


def test_a_persons_change_of_the_risk_state_is_the_operators(database, hand_clock):
    ledger = DatabaseService(database, hand_clock)
    ledger.save_risk_state(risk(actor="admin"))
    assert ledger.audit_events([2])[0].kind == "operator"


def test_an_order_for_which_there_is_no_room_is_told_with_the_reason(database, hand_clock):
    ledger = DatabaseService(database, hand_clock)
    open_books(ledger)
    ledger.save_risk_state(risk())
    orders = [ValidatedOrder(exit_order("x"))]
    ledger.commit_orders(orders, source="manual", capacity=capacity(), expires_at=LATER, at=T0)
    _, (event,) = ledger.audited_order("x")
    assert event.kind == "refused"
    assert "held" in event.payload["order"]["error"]
    assert event.payload["room"]["positions"] == 0
