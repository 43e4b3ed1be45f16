from __future__ import annotations

from datetime import datetime
from decimal import Decimal

import pytest

from app.domain.errors import Conflict, InvalidInput, NotFound
from app.domain.order import Side
from app.domain.order_state import OrderState
from app.domain.reason import Reason
from app.domain.records import ClaimOutcome, CycleState, EquityPoint
from app.domain.trading_state import TradingState
from tests.storage.made import (
    LATER,
    T0,
    after,
    committed,
    decided,
    decision,
    exit_order,
    holding,
    open_books,
    order,
    record,
    risk,
    start_cycle,
)

EQUITY = EquityPoint(
    at=T0, cash=Decimal("1.10"), positions_value=Decimal("2.20"), equity=Decimal("3.30"), venue_equity=Decimal("3.30")
)


def finish(ledger, cycle_id="c1", **changes):
    values = {"outcome": "completed", "detail": "", "finished_at": after(2), "timings": {"decide": 0.01}, "equity": EQUITY}
    ledger.finish_cycle(cycle_id, **{**values, **changes})


@pytest.mark.parametrize(
    ("first", "second", "seconds", "alive", "outcome"),
    [
        ("c1", "c1", 1, True, ClaimOutcome.ALREADY_RUNNING),
        ("c1", "c2", 1, True, ClaimOutcome.OVERLAP),
        ("c1", "c2", 119, True, ClaimOutcome.OVERLAP),
        ("c1", "c2", 120, True, ClaimOutcome.CLAIMED),
        ("c1", "c2", 1, False, ClaimOutcome.CLAIMED),
        ("c1", "c1", 1, False, ClaimOutcome.ALREADY_DONE),
        ("c1", "c1", 500, True, ClaimOutcome.ALREADY_DONE),
    ],
)
def test_who_may_run(ledger, first, second, seconds, alive, outcome):
    assert start_cycle(ledger, first) is ClaimOutcome.CLAIMED
    assert start_cycle(ledger, second, at=after(seconds), alive=alive, owner="w2") is outcome
    kept_out = outcome in (ClaimOutcome.ALREADY_RUNNING, ClaimOutcome.OVERLAP)
    assert ledger.cycle(first).state is (CycleState.RUNNING if kept_out else CycleState.ABANDONED)
    assert len(ledger.cycles()) == (2 if outcome is ClaimOutcome.CLAIMED else 1)


def test_a_finished_cycle_is_done_and_makes_room(ledger):
    start_cycle(ledger)
    finish(ledger)
    assert start_cycle(ledger) is ClaimOutcome.ALREADY_DONE
    assert start_cycle(ledger, "c2", at=after(1)) is ClaimOutcome.CLAIMED
    done = ledger.cycle("c1")
    assert (done.state, done.outcome, done.finished_at, done.timings) == (
        CycleState.DONE,
        "completed",
        after(2),
        {"decide": 0.01},
    )
    assert ledger.equity_curve() == [EQUITY]
    assert ledger.latest_cycle().cycle_id == "c2"


def test_only_a_running_cycle_can_be_finished(ledger):
    start_cycle(ledger)
    start_cycle(ledger, "c2", at=after(1), alive=False)
    with pytest.raises(Conflict):
        finish(ledger, "c1")
    with pytest.raises(NotFound):
        finish(ledger, "never")
    with pytest.raises(NotFound):
        ledger.cycle("never")


@pytest.mark.row("F04")
def test_naive_datetimes_are_refused(ledger):
    with pytest.raises(InvalidInput, match="time zone"):
        start_cycle(ledger, at=datetime(2024, 3, 1))
    with pytest.raises(InvalidInput):
        ledger.bars("AAPL", "1Day", start=datetime(2024, 3, 1))


def test_a_decision_leaves_everything_behind_at_once(ledger):
    start_cycle(ledger)
    sell, buy = exit_order("x1", symbol="MSFT"), order("n1", limit_price=Decimal("180.90"))
    fresh = risk(1, cause="halt_ended")
    ledger.save_risk_state(risk(0))
    bought = record(
        reason=Reason.BUY_SIGNAL, side=Side.BUY, quantity=Decimal(10), expected_return=float("nan"),
        members=(0.01, float("nan")), sizing={"exposure": 12.5, "buying_power": float("inf")},
        sizing_bound="exposure", detail="x\0y",
    )  # fmt: skip
    made = decision(sell, buy, records=(bought, record("MSFT")), state=fresh, alerts=("Daily loss reached.",))
    open_books(ledger, holding("MSFT", Decimal(10)))
    committed(ledger, made, inputs={"price": [1.5, float("nan")]})

    intents = ledger.unsettled_intents()
    assert [one.order() for one in intents] == [sell, buy]
    assert {one.state for one in intents} == {OrderState.READY}
    assert {one.expires_at for one in intents} == {LATER}
    stored = {one.symbol: one for one in ledger.decisions(cycle_id="c1")}
    apple = stored["AAPL"]
    assert (apple.reason, apple.side, apple.quantity, apple.expected_return) == ("buy_signal", Side.BUY, Decimal(10), None)
    assert (apple.members, apple.sizing, apple.detail) == ([0.01, None], {"exposure": 12.5, "buying_power": None}, "x\ufffdy")
    assert ledger.risk_state() == fresh
    assert [(e.epoch, e.previous_state, e.trading_state, e.cause) for e in ledger.risk_events()] == [
        (1, "ACTIVE", "ACTIVE", "halt_ended"),
        (0, None, "ACTIVE", "start"),
    ]
    assert [message.message for message in ledger.outbox_pending()] == ["Daily loss reached."]
    assert ledger.cycle("c1").inputs == {"price": [1.5, None]}
    assert ledger.cycles()[0].inputs is None
    assert [one.symbol for one in ledger.decisions(symbol="MSFT")] == ["MSFT"]
    assert ledger.decisions(before=T0) == []


def everything(ledger):
    return (ledger.orders(), ledger.decisions(), ledger.risk_state(), ledger.outbox_pending(), ledger.cycles())


@pytest.mark.parametrize("in_force", [risk(7), risk(6, cause="operator", trading_state=TradingState.HALTED)])
@pytest.mark.parametrize("decided_epoch", [5, 6, 9])
def test_a_decision_under_a_risk_state_that_no_longer_holds_leaves_nothing(ledger, in_force, decided_epoch):
    ledger.save_risk_state(in_force)
    start_cycle(ledger)
    before = everything(ledger)
    made = decision(order(), records=(record(),), state=risk(decided_epoch), alerts=("x",))
    with pytest.raises(Conflict):
        committed(ledger, made)
    assert everything(ledger) == before


def test_a_cycle_decides_once_and_only_while_running(ledger):
    decided(ledger, order())
    with pytest.raises(Conflict):
        committed(ledger, decision(order("n2")))
    finish(ledger)
    with pytest.raises(Conflict):
        committed(ledger, decision())
    with pytest.raises(NotFound):
        committed(ledger, decision(), cycle_id="never")
    assert [one.client_order_id for one in ledger.orders()] == ["at-aapl-1"]


def test_a_known_order_is_kept_as_it_stands(ledger):
    decided(ledger, order())
    assert ledger.claim_intent("at-aapl-1", cycle_id="c1", now=T0)
    finish(ledger)
    decided(ledger, order(quantity=Decimal(99)), cycle_id="c2", at=after(60))
    kept = ledger.intent("at-aapl-1")
    assert (kept.state, kept.cycle_id, kept.quantity) == (OrderState.SENT, "c1", Decimal(10))


@pytest.mark.parametrize("end", ["abandoned", "finished"])
def test_nothing_can_be_sent_once_the_cycle_is_over(ledger, end):
    """The fence: a worker paused through its cycle's end wakes up and can claim nothing."""
    decided(ledger, order("n1"), order("n2", symbol="KO"))
    assert ledger.claim_intent("n1", cycle_id="c1", now=after(1))
    if end == "abandoned":
        assert start_cycle(ledger, "c2", at=after(2), alive=False) is ClaimOutcome.CLAIMED
    else:
        finish(ledger)
    assert not ledger.claim_intent("n2", cycle_id="c1", now=after(3))
    assert ledger.intent("n1").state is OrderState.SENT
    assert ledger.intent("n2").state is OrderState.EXPIRED


def test_risk_state_epochs_only_grow(ledger):
    assert ledger.risk_state() is None
    ledger.save_risk_state(risk(3))
    for epoch, based_on in ((3, None), (2, None), (4, 2), (9, 8)):
        with pytest.raises(Conflict):
            ledger.save_risk_state(risk(epoch), based_on_epoch=based_on)
    ledger.save_risk_state(risk(4, until=LATER, suspected_at=T0), based_on_epoch=3, actor="ann", detail="by hand")
    assert ledger.risk_state() == risk(4, until=LATER, suspected_at=T0)
    assert [(event.epoch, event.actor) for event in ledger.risk_events()] == [(4, "ann"), (3, "system")]


def test_equity_curve_is_oldest_first_and_limited_from_the_end(ledger):
    points = [EquityPoint(at=after(i), cash=Decimal(i), positions_value=Decimal(0), equity=Decimal(i)) for i in range(5)]
    for i, point in enumerate(points):
        start_cycle(ledger, f"c{i}", at=after(i))
        finish(ledger, f"c{i}", equity=point)
    assert ledger.equity_curve() == points
    assert ledger.equity_curve(since=after(2)) == points[2:]
    assert ledger.equity_curve(limit=2) == points[3:]
