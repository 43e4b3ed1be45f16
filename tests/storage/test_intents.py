from __future__ import annotations

from dataclasses import replace
from decimal import Decimal

import pytest

from app.domain.errors import Conflict, InvalidInput, NotFound
from app.domain.order import OrderType, Purpose, Side
from app.domain.order_report import reported_event
from app.domain.order_state import TERMINAL, TRANSITIONS, OrderEvent, OrderState
from app.domain.records import IntentOrigin
from tests.storage.made import LATER, T0, after, decided, exit_order, fill, order, venue_order

E, S = OrderEvent, OrderState
# How an intent gets into each state.
PATHS = {
    S.READY: (), S.SENT: (E.CLAIM,), S.UNKNOWN: (E.CLAIM, E.LOSE_ANSWER), S.OPEN: (E.CLAIM, E.ACCEPT),
    S.PARTIALLY_FILLED: (E.CLAIM, E.FILL_PART), S.FILLED: (E.CLAIM, E.FILL_ALL), S.CANCELED: (E.CLAIM, E.CANCEL),
    S.EXPIRED: (E.EXPIRE,), S.REJECTED: (E.CLAIM, E.REJECT),
}  # fmt: skip
OUTRUN = {(state, event) for state in TERMINAL for event in (E.ACCEPT, E.FILL_PART, E.LOSE_ANSWER)} | {
    (S.OPEN, E.LOSE_ANSWER), (S.PARTIALLY_FILLED, E.LOSE_ANSWER), (S.FILLED, E.CANCEL), (S.EXPIRED, E.CANCEL),
    (S.FILLED, E.EXPIRE), (S.CANCELED, E.EXPIRE), (S.FILLED, E.REJECT), (S.CANCELED, E.REJECT), (S.EXPIRED, E.REJECT),
}  # fmt: skip
DOORS = {E.CLAIM, E.SURFACE}  # steps that nobody reports


def test_settling_follows_the_table_and_forgives_only_old_news(ledger):
    cases = [(state, event) for state in OrderState for event in OrderEvent if event not in DOORS]
    names = {case: f"{case[0]}-{case[1]}" for case in cases}
    decided(ledger, *(order(name, symbol=name.upper()) for name in names.values()))
    for (state, event), name in names.items():
        for step in PATHS[state]:
            if step is E.CLAIM:
                assert ledger.claim_intent(name, cycle_id="c1", now=T0)
            else:
                ledger.settle_intent(name, step)
        assert ledger.intent(name).state is state
        expected = TRANSITIONS.get((state, event), state if (state, event) in OUTRUN else None)
        if expected is None:
            with pytest.raises(Conflict):
                ledger.settle_intent(name, event)
            assert ledger.intent(name).state is state
        else:
            assert ledger.settle_intent(name, event).state is expected


def test_claiming_goes_by_its_own_door(ledger):
    decided(ledger, order())
    for door in (E.CLAIM, E.SURFACE):
        with pytest.raises(InvalidInput):
            ledger.settle_intent("at-aapl-1", door)
    with pytest.raises(NotFound):
        ledger.claim_intent("never", cycle_id="c1", now=T0)
    with pytest.raises(NotFound):
        ledger.settle_intent("never", E.ACCEPT)
    with pytest.raises(NotFound):
        ledger.intent("never")


@pytest.mark.parametrize(
    ("cycle_id", "now", "won"),
    [("c1", T0, True), ("c1", LATER, False), ("c1", after(299), True), ("c2", T0, False), ("never", T0, False)],
)
def test_who_may_send(ledger, cycle_id, now, won):
    decided(ledger, order())
    assert ledger.claim_intent("at-aapl-1", cycle_id=cycle_id, now=now) == (1 if won else None)
    assert not ledger.claim_intent("at-aapl-1", cycle_id=cycle_id, now=now)
    sent = ledger.intent("at-aapl-1")
    assert (sent.state, sent.sent_at, sent.attempt) == ((S.SENT, now, 1) if won else (S.READY, None, 0))


def test_an_order_returned_unsent_can_be_sent_again(ledger):
    decided(ledger, order())
    for attempt in (1, 2):
        assert ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
        assert ledger.intent("at-aapl-1").attempt == attempt
        ledger.settle_intent("at-aapl-1", E.LOSE_ANSWER, error="timed out")
        assert ledger.settle_intent("at-aapl-1", E.RETURN_UNSENT).error == "timed out"


def test_reports_are_monotone(ledger):
    decided(ledger, order())
    ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
    full = venue_order(status="filled", filled_quantity=Decimal(10), filled_average_price=Decimal("180.05"))
    partly = venue_order(status="partially_filled", filled_quantity=Decimal(4), filled_average_price=Decimal("180.00"))
    for report in (venue_order(), partly, full, partly, venue_order()):
        settled = ledger.settle_intent("at-aapl-1", reported_event(report), venue_order=report)
    assert (settled.state, settled.filled_quantity, settled.filled_average_price) == (S.FILLED, Decimal(10), Decimal("180.05"))
    assert settled.venue_order_id == "v1"


@pytest.mark.parametrize(
    ("status", "filled", "event"),
    [
        ("new", 0, E.ACCEPT), ("accepted", 0, E.ACCEPT), ("held", 0, E.ACCEPT), ("partially_filled", 3, E.FILL_PART),
        ("filled", 10, E.FILL_ALL), ("canceled", 0, E.CANCEL), ("canceled", 3, E.CANCEL), ("expired", 0, E.EXPIRE),
        ("done_for_day", 0, E.EXPIRE), ("rejected", 0, E.REJECT), ("replaced", 0, E.CANCEL), ("never_heard_of", 0, E.ACCEPT),
        ("never_heard_of", 3, E.FILL_PART),
    ],
)  # fmt: skip
def test_what_a_report_means(status, filled, event):
    assert reported_event(venue_order(status=status, filled_quantity=Decimal(filled))) is event


def test_a_leg_is_adopted_under_its_entry(ledger):
    entry = order(take_profit_price=Decimal(198), stop_loss_price=Decimal(171))
    decided(ledger, entry)
    ledger.claim_intent(entry.client_order_id, cycle_id="c1", now=T0)
    ledger.settle_intent(entry.client_order_id, E.ACCEPT, venue_order=venue_order())
    leg = venue_order("leg-1", "v2", "held", side=Side.SELL, type=OrderType.STOP, stop_price=Decimal(171), parent_order_id="v1")
    adopted = ledger.adopt_order(leg)
    assert (adopted.origin, adopted.parent_id, adopted.purpose, adopted.state) == (
        IntentOrigin.LEG, "at-aapl-1", Purpose.EXIT, S.OPEN,
    )  # fmt: skip
    assert ledger.adopt_order(leg) == adopted
    assert ledger.adopt_order(replace(leg, status="canceled")).state is S.CANCELED
    assert len(ledger.orders()) == 2


def test_a_leg_seen_before_its_entry_is_linked_later(ledger):
    leg = venue_order("leg-1", "v2", side=Side.SELL, parent_order_id="v1")
    assert ledger.adopt_order(leg).parent_id is None
    ledger.adopt_order(venue_order())
    assert ledger.adopt_order(leg).parent_id == "at-aapl-1"


def test_an_order_of_a_person_is_adopted(ledger):
    manual = venue_order("by-hand", "v9", symbol="KO", limit_price=Decimal("59.99"), type=OrderType.LIMIT)
    adopted = ledger.adopt_order(manual)
    assert (adopted.origin, adopted.cycle_id, adopted.purpose, adopted.state) == (
        IntentOrigin.EXTERNAL, None, Purpose.ENTRY, S.OPEN,
    )  # fmt: skip
    assert ledger.unsettled_intents() == [adopted]


def test_an_order_that_surfaces_after_it_was_returned_unsent_is_adopted(ledger):
    decided(ledger, order())
    ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
    ledger.settle_intent("at-aapl-1", E.LOSE_ANSWER)
    ledger.settle_intent("at-aapl-1", E.RETURN_UNSENT)
    adopted = ledger.adopt_order(venue_order())
    assert (adopted.state, adopted.origin, adopted.venue_order_id) == (S.OPEN, IntentOrigin.DECISION, "v1")


def test_an_order_that_surfaces_after_it_was_given_up_lives_again_and_people_are_told_once(ledger):
    decided(ledger, order())
    ledger.settle_intent("at-aapl-1", E.EXPIRE)
    for _ in range(3):
        assert ledger.adopt_order(venue_order()).state is S.OPEN
    assert ledger.settle_intent("at-aapl-1", E.EXPIRE).state is S.OPEN, "a guess does not stand against a sighting"
    assert [message.kind for message in ledger.outbox_pending()] == ["alert"]


def test_old_cycles_leave_nothing_ready(ledger):
    decided(ledger, order("n1"))
    ledger.claim_intent("n1", cycle_id="c1", now=T0)
    ledger.finish_cycle("c1", outcome="completed", detail="", finished_at=T0, timings={}, equity=None)
    ledger.settle_intent("n1", E.RETURN_UNSENT)
    decided(ledger, order("n2", symbol="KO"), cycle_id="c2", at=after(1))
    assert ledger.expire_ready_intents(before_cycle="c2") == ["n1"]
    assert [one.client_order_id for one in ledger.unsettled_intents()] == ["n2"]


def test_listing_is_newest_first(ledger):
    decided(ledger, order("n1"), order("n2", symbol="KO"), exit_order("n3"))
    assert [one.client_order_id for one in ledger.orders(limit=2)] == ["n3", "n2"]
    assert [one.client_order_id for one in ledger.orders(symbol="AAPL")] == ["n3", "n1"]
    assert ledger.orders(cycle_id="never") == []


def test_fills_move_their_order(ledger):
    decided(ledger, order())
    ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
    # The execution is booked before the answer to the order was read.
    ledger.book_fills([fill("e1", quantity=Decimal(4), price=Decimal(100))])
    assert ledger.intent("at-aapl-1").state is S.SENT
    partly = ledger.settle_intent("at-aapl-1", E.ACCEPT, venue_order=venue_order())
    assert (partly.state, partly.filled_quantity, partly.filled_average_price) == (S.PARTIALLY_FILLED, Decimal(4), Decimal(100))
    ledger.book_fills([fill("e2", quantity=Decimal(6), price=Decimal(110))])
    whole = ledger.intent("at-aapl-1")
    assert (whole.state, whole.filled_quantity, whole.filled_average_price) == (S.FILLED, Decimal(10), Decimal(106))


def test_a_late_execution_of_a_cancelled_order_is_booked(ledger):
    decided(ledger, order())
    ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
    ledger.settle_intent("at-aapl-1", E.CANCEL, venue_order=venue_order(status="canceled"))
    ledger.book_fills([fill("e1", quantity=Decimal(4))])
    late = ledger.intent("at-aapl-1")
    assert (late.state, late.filled_quantity) == (S.CANCELED, Decimal(4))
    ledger.book_fills([fill("e2", quantity=Decimal(6))])
    assert ledger.intent("at-aapl-1").state is S.FILLED


def test_an_execution_of_a_refused_order_is_booked_and_told(ledger):
    decided(ledger, order())
    ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
    ledger.settle_intent("at-aapl-1", E.REJECT, venue_order=venue_order(status="rejected"))
    ledger.book_fills([fill("e1")])
    assert ledger.intent("at-aapl-1").state is S.REJECTED
    assert ledger.portfolio().positions["AAPL"].quantity == 10
    assert sorted(message.kind for message in ledger.outbox_pending()) == ["alert", "fill"]
