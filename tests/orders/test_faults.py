"""Faults of the order path by their names in the catalogue, one at a time, on both databases."""

from __future__ import annotations

import random
import sqlite3
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import Any

import pytest
from sqlalchemy import event, text

from app.domain.errors import OutcomeUnknown, Refused, TryAgain
from app.domain.order import Side, ValidatedOrder, VenueOrder, exit_client_order_id
from app.domain.order_state import OrderState
from app.domain.records import ClaimOutcome, Committed
from app.domain.trading_state import TradingState
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.execution import Execution, Executor
from app.services.trading.reconciliation import Reconciler
from app.storage.database import Database, StorageUnavailable
from app.storage.reservations import reserved
from tests.databases import HandClock
from tests.orders.venue import Venue
from tests.storage.made import (
    CASH,
    T0,
    after,
    capacity,
    committed,
    decision,
    exit_order,
    fill,
    holding,
    open_books,
    order,
    risk,
    start_cycle,
    venue_order,
)

S = OrderState
PRICES = {symbol: Decimal(180) for symbol in ("AAPL", "KO")}


class Bench:
    """Services on one ledger and one venue that behaves unless told otherwise."""

    def __init__(self, ledger: DatabaseService, clock: HandClock) -> None:
        self.ledger, self.clock = ledger, clock
        self.venue = Venue(random.Random(1), T0, CASH, dict(PRICES), capacity().limits)
        self.answer("good")
        self.venue.lag_seconds = 0.0
        self.venue.dice.random = lambda: 0.9  # type: ignore[method-assign] - no accidents
        open_books(ledger)
        ledger.save_risk_state(risk())
        service: Any = AlpacaService(
            broker=self.venue, data=None, database=ledger, clock=clock, symbols=tuple(PRICES), mode="simulated", url=""
        )  # type: ignore[arg-type]
        service.books_compared()
        self.executor = Executor(
            venue=service, database=ledger, gate=lambda: None, sleep=self.venue.pass_time, monotonic=self.seconds
        )
        self.reconciler = Reconciler(venue=service, database=ledger)

    def seconds(self) -> float:
        return self.venue.now.timestamp()

    def answer(self, how: str) -> None:
        self.venue.answers = {how: 1}

    def commit(self, one: Any, **values: Any) -> Committed:
        at = self.venue.now
        options = {"source": "test", "capacity": capacity(), "expires_at": at + timedelta(minutes=5), "at": at}
        return self.ledger.commit_orders([ValidatedOrder(one)], **{**options, **values})

    def send(self, one: Any, **values: Any) -> Execution:
        self.commit(one, releasing=values.get("cancels", ()))
        return self.executor.send([ValidatedOrder(one)], cycle_id=None, now=self.venue.now, **values)

    def reconcile(self, seconds: float = 0.0) -> Any:
        self.venue.pass_time(seconds)
        return self.reconciler.reconcile(self.venue.now)

    def one(self, name: str = "at-aapl-1") -> Any:
        return self.ledger.intent(name)


@pytest.fixture
def bench(ledger: DatabaseService, hand_clock: HandClock) -> Bench:
    return Bench(ledger, hand_clock)


# --- answers


def test_b08_a_refusal_of_an_order_that_was_taken_adopts_it(bench):
    bench.answer("repeated")
    assert bench.send(order()).sent == 1
    assert (bench.one().state, bench.venue.posts.total(), bench.venue.accepted.total()) == (S.OPEN, 1, 1)


def test_b08_with_b13_the_look_up_after_the_refusal_misses_it_for_20_seconds(bench):
    bench.answer("repeated")
    hidden = bench.venue.order_by_client_id
    bench.venue.order_by_client_id = lambda _: None
    assert bench.send(order()).unknown == 1
    assert [one.symbol for one in bench.ledger.unsettled_intents()] == ["AAPL"], "its room stays taken"
    bench.venue.order_by_client_id = hidden
    bench.reconcile(21)
    assert (bench.one().state, bench.venue.posts.total()) == (S.OPEN, 1)


def test_b09_a_proven_refusal_frees_its_room_at_once(bench):
    bench.answer("refused")
    assert bench.send(order()).refused == 1
    assert bench.one().state is S.REJECTED
    assert [message.kind for message in bench.ledger.outbox_pending()] == ["order"]


def test_b13_absence_counts_only_after_it_has_lasted(bench):
    bench.answer("dropped")
    assert bench.send(order()).unknown == 1
    bench.reconcile(40)
    assert bench.one().state is S.UNKNOWN
    bench.reconcile(10)
    assert (bench.one().state, bench.venue.posts.total()) == (S.EXPIRED, 1)
    assert "never received" in bench.one().error


def test_r11_the_sender_looks_an_unclear_order_up_before_it_leaves(bench):
    bench.answer("lost")
    assert bench.send(order()).sent == 1
    assert bench.one().state is S.OPEN
    legs = [one for one in bench.ledger.orders() if one.parent_id == "at-aapl-1"]
    assert len(legs) == 2


def test_b21_an_order_left_pending_keeps_its_room_and_people_hear_of_it_once(bench):
    bench.send(order())
    (resting,) = [one for one in bench.venue.book.values() if one.parent is None]
    bench.venue._change(resting, status="pending_cancel")
    for _ in range(4):
        bench.reconcile(200)
    told = [m.message for m in bench.ledger.outbox_pending() if "pending" in m.message]
    assert len(told) == 1
    assert bench.commit(order("at-aapl-2")).refusals["at-aapl-2"].startswith("one_entry")
    bench.venue._end(resting, "canceled")
    bench.reconcile(5)
    assert not bench.commit(order("at-aapl-3")).refusals


# --- who may send


def test_d09_a_sender_held_up_past_its_cycle_sends_nothing(bench):
    """It wakes after its claim, and another worker has taken over meanwhile."""
    ledger, entry = bench.ledger, order()
    start_cycle(ledger)
    committed(ledger, decision(entry, state=ledger.risk_state()), expires_at=after(600))
    holds = ledger.holds_claim

    def held_up(*args: Any, **options: Any) -> bool:
        bench.venue.pass_time(300)
        assert start_cycle(ledger, "c2", at=after(300), alive=True, owner="w2") is ClaimOutcome.CLAIMED
        return holds(*args, **options)

    ledger.holds_claim = held_up
    made = bench.executor.send([ValidatedOrder(entry)], cycle_id="c1", now=bench.venue.now)
    assert (made.unsent, bench.venue.posts.total()) == (1, 0)
    bench.reconcile(1)
    bench.reconcile(61)
    assert bench.one().state is S.EXPIRED


@pytest.mark.parametrize("seconds", [299, 300])
def test_an_order_that_outlived_its_time_since_the_claim_is_not_sent(bench, seconds):
    bench.commit(order())
    fence = bench.ledger.claim_intent("at-aapl-1", cycle_id=None, now=T0)
    assert bench.ledger.holds_claim("at-aapl-1", fence=fence, now=after(seconds)) is (seconds < 300)
    assert not bench.ledger.holds_claim("at-aapl-1", fence=fence + 1, now=T0)


def test_once_looked_for_an_order_may_not_leave_any_more(bench):
    bench.commit(order())
    fence = bench.ledger.claim_intent("at-aapl-1", cycle_id=None, now=T0)
    bench.reconcile()
    assert not bench.ledger.holds_claim("at-aapl-1", fence=fence, now=T0)


@pytest.mark.parametrize(
    ("state", "entry", "leaving"),
    [
        (TradingState.ACTIVE, True, True), (TradingState.REDUCING, False, True),
        (TradingState.FLATTENING, False, True), (TradingState.HALTED, False, False),
    ],
)  # fmt: skip
def test_a_halt_between_commit_and_claim_wins(ledger, hand_clock, state, entry, leaving):
    open_books(ledger, holding("KO", Decimal(10)))
    bench = Bench(ledger, hand_clock)
    bench.commit(order())
    bench.commit(exit_order(symbol="KO"))
    ledger.save_risk_state(risk(1, trading_state=state))
    assert (ledger.claim_intent("at-aapl-1", cycle_id=None, now=T0) is not None) is entry
    assert (ledger.claim_intent("at-exit-1", cycle_id=None, now=T0) is not None) is leaving


def test_a15_the_same_request_twice_is_one_order(bench):
    for _ in range(3):
        assert not bench.commit(order()).refusals
        bench.executor.send([ValidatedOrder(order())], cycle_id=None, now=bench.venue.now)
    assert (bench.venue.posts.total(), bench.one().source, bench.one().cycle_id) == (1, "test", None)


def test_what_was_not_sent_in_time_expires(bench):
    bench.commit(order())
    bench.reconcile(301)
    assert bench.one().state is S.EXPIRED
    assert bench.executor.send([ValidatedOrder(order())], cycle_id=None, now=bench.venue.now).unsent == 1


def test_the_id_of_an_exit_is_that_of_the_position():
    who = {"account": "a", "symbol": "KO", "position_id": "p1", "reason": "stop_loss", "attempt": 1}
    name = exit_client_order_id(**who)
    assert name == exit_client_order_id(**who)
    for other in ({"position_id": "p2"}, {"reason": "manual"}, {"attempt": 2}, {"account": "b"}, {"symbol": "PEP"}):
        assert exit_client_order_id(**{**who, **other}) != name
    assert len(name) <= 48


# --- what is taken already


def test_c14_two_exits_never_sell_the_same_units(ledger, hand_clock):
    open_books(ledger, holding("KO", Decimal(10)))
    bench = Bench(ledger, hand_clock)
    ko = {"symbol": "KO"}
    assert not bench.commit(exit_order("x1", quantity=Decimal(6), **ko)).refusals
    assert bench.commit(exit_order("x2", quantity=Decimal(5), **ko)).refusals["x2"].startswith("held_quantity")
    assert not bench.commit(exit_order("x3", quantity=Decimal(4), **ko)).refusals
    assert ledger.intent("x2").state is S.REJECTED
    assert ledger.claim_intent("x2", cycle_id=None, now=T0) is None


def test_c14_a_leg_that_filled_instead_of_being_cancelled_leaves_nothing_to_sell(bench):
    bench.send(order())
    bench.venue.trade(1.0)
    (entry,) = [one for one in bench.venue.book.values() if one.parent is None]
    bench.venue._execute(entry, entry.left) if entry.is_open else None
    bench.reconcile(1)
    legs = [one.client_order_id for one in bench.ledger.unsettled_intents()]
    assert len(legs) == 2
    cancel = bench.venue.cancel

    def too_late(name: str) -> None:
        leg = bench.venue.book[name]
        if leg.is_open:
            bench.venue._execute(leg, leg.left)
        else:
            cancel(name)

    bench.venue.cancel = too_late
    made = bench.send(exit_order(), cancels=legs)
    assert (made.unsent, bench.venue.posts["at-exit-1"], bench.venue.held) == (1, 0, {})


def test_the_room_stays_taken_until_the_executions_are_booked(bench):
    """The report says filled, the executions come later: neither the order nor the holding may be forgotten meanwhile."""
    bench.send(order())
    done = venue_order(status="filled", venue_id=bench.one().venue_order_id, filled_quantity=Decimal(10))
    bench.ledger.adopt_order(done)
    assert bench.one().state is S.FILLED
    assert bench.commit(order("at-aapl-2")).refusals["at-aapl-2"].startswith("one_entry")
    bench.ledger.book_fills([fill(venue_id=bench.one().venue_order_id)])
    assert not [one for one in bench.ledger._db.read(reserved) if one.symbol == "AAPL" and one.side is Side.BUY]
    assert bench.commit(order("at-aapl-3")).refusals["at-aapl-3"].startswith("one_entry"), "now it is held"


def test_c14_the_legs_that_an_entry_will_release_are_reserved_before_we_have_seen_them(bench):
    bench.commit(order())
    bench.ledger.claim_intent("at-aapl-1", cycle_id=None, now=T0)
    bench.ledger.adopt_order(venue_order(status="partially_filled", filled_quantity=Decimal(4)))
    bench.ledger.book_fills([fill(quantity=Decimal(4))])
    assert bench.commit(exit_order("x1", quantity=Decimal(4))).refusals["x1"].startswith("held_quantity")
    bench.ledger.adopt_order(venue_order(status="canceled", filled_quantity=Decimal(4)))
    assert not bench.commit(exit_order("x2", quantity=Decimal(4))).refusals


@pytest.mark.parametrize("known", [True, False])
def test_a_price_or_an_amount_that_is_no_number_leaves_no_room(bench, known):
    if known:
        refusals = bench.commit(order(), capacity=replace(capacity(), equity=Decimal("NaN"))).refusals
    else:
        bench.ledger.adopt_order(venue_order("by-hand", "v9", symbol="PEP"))  # unbounded, and nobody knows a price
        refusals = bench.commit(order()).refusals
    assert refusals["at-aapl-1"].startswith("max_position_size")


# --- executions


def sent(bench: Bench) -> str:
    bench.send(order())
    name: str = bench.one().venue_order_id
    return name


def test_c01_a_part_filled_then_cancelled_frees_the_rest(bench):
    name = sent(bench)
    bench.ledger.book_fills([fill(venue_id=name, quantity=Decimal(4))])
    bench.ledger.adopt_order(venue_order(status="canceled", venue_id=name, filled_quantity=Decimal(4)))
    assert (bench.one().state, bench.one().filled_quantity) == (S.CANCELED, Decimal(4))
    assert bench.ledger.portfolio().positions["AAPL"].quantity == 4
    assert not [one for one in bench.ledger._db.read(reserved) if one.side is Side.BUY]


def test_c03_c04_the_same_fill_by_stream_poll_and_replay_before_the_acceptance(bench):
    bench.commit(order())
    bench.ledger.claim_intent("at-aapl-1", cycle_id=None, now=T0)
    one = fill(venue_id="v7", quantity=Decimal(4))
    assert [len(bench.ledger.book_fills([one, one])) for _ in range(3)] == [1, 0, 0]
    bench.ledger.adopt_order(venue_order(venue_id="v7"))
    assert (bench.one().state, bench.one().booked_quantity) == (S.PARTIALLY_FILLED, Decimal(4))


@pytest.mark.parametrize("end", ["pending_cancel", "canceled", "expired"])
def test_c05_a_fill_after_the_cancel_or_the_expiry_is_booked(bench, end):
    name = sent(bench)
    bench.ledger.adopt_order(venue_order(status=end, venue_id=name))
    bench.ledger.book_fills([fill(venue_id=name)])
    assert (bench.one().state, bench.ledger.portfolio().positions["AAPL"].quantity) == (S.FILLED, Decimal(10))


def test_c06_a_cumulative_report_is_never_added_to_the_executions(bench):
    name = sent(bench)
    for units in (4, 4, 7, 4):
        bench.ledger.adopt_order(venue_order(status="partially_filled", venue_id=name, filled_quantity=Decimal(units)))
    bench.ledger.book_fills([fill("e1", name, quantity=Decimal(4)), fill("e2", name, quantity=Decimal(3))])
    assert (bench.one().filled_quantity, bench.one().booked_quantity) == (Decimal(7), Decimal(7))
    assert bench.ledger.portfolio().positions["AAPL"].quantity == 7


@pytest.mark.parametrize("first", ["original", "reversal"])
def test_c07_a_bust_restates_position_and_gain_and_a_correction_books_the_new_terms(bench, first):
    name = sent(bench)
    part = fill("e1", name, quantity=Decimal(4), price=Decimal(100))
    wrong = fill("e2", name, quantity=Decimal(6), price=Decimal(200), filled_at=after(11))
    bust = replace(wrong, execution_id="e2-bust", side=Side.SELL, reverses="e2", filled_at=after(30))
    right = fill("e3", name, quantity=Decimal(5), price=Decimal(101), filled_at=after(12))
    for told in ([part, wrong], [bust]) if first == "original" else ([bust], [part, wrong]):
        bench.ledger.book_fills(told)
    portfolio = bench.ledger.portfolio()
    assert (portfolio.positions["AAPL"].quantity, portfolio.cash, portfolio.realized) == (Decimal(4), CASH - 400, Decimal(0))
    assert bench.one().filled_quantity == bench.one().booked_quantity == 4
    bench.ledger.book_fills([right, bust])
    assert bench.ledger.portfolio().cash == CASH - 905
    assert bench.one().booked_quantity == 9
    told = [m.message for m in bench.ledger.outbox_pending() if m.kind == "alert"]
    assert [message for message in told if message.startswith("The venue took back execution e2")]


def test_c08_an_overfill_is_booked_in_full_and_told_once(bench):
    name = sent(bench)
    bench.ledger.book_fills([fill("e1", name)])
    for i in range(2):
        bench.ledger.book_fills([fill(f"over{i}", name, quantity=Decimal("0.5"), filled_at=after(20 + i))])
    assert bench.ledger.portfolio().positions["AAPL"].quantity == 11
    assert bench.one().state is S.FILLED
    assert len([m for m in bench.ledger.outbox_pending() if "was for 10" in m.message]) == 1


@pytest.mark.parametrize("told", [[0, 1, 2], [0, 1, 2, 1, 0, 2], [0, 0, 1, 2]])
def test_c09_an_order_changed_twice_at_the_venue_stays_one_order(bench, told):
    first = venue_order(status="replaced", venue_id="v1", filled_quantity=Decimal(2), replaced_by="v2")
    second = venue_order(
        "theirs-2", "v2", "replaced", quantity=Decimal(8), replaces="v1", replaced_by="v3", submitted_at=after(1)
    )
    third = venue_order("theirs-3", "v3", "new", quantity=Decimal(6), replaces="v2", submitted_at=after(2))
    bench.commit(order())
    bench.ledger.claim_intent("at-aapl-1", cycle_id=None, now=T0)
    for number in told:
        bench.ledger.adopt_order([first, second, third][number])
    intent = bench.one()
    assert (intent.venue_order_id, intent.state, intent.quantity) == ("v3", S.PARTIALLY_FILLED, Decimal(8))
    assert len(bench.ledger.orders()) == 1
    bench.ledger.book_fills([fill("e1", "v1", quantity=Decimal(2)), fill("e2", "v3", quantity=Decimal(6))])
    assert (bench.one().state, bench.one().booked_quantity) == (S.FILLED, Decimal(8))
    assert {record.client_order_id for record in bench.ledger.fills()} == {"at-aapl-1"}
    assert bench.ledger.entries_and_exits(T0)[0] == {"AAPL": 1}


def test_c09_reconciliation_follows_the_chain_through_its_listings(bench):
    name = sent(bench)
    (resting,) = [one for one in bench.venue.book.values() if one.parent is None]
    new = replace(
        resting.order, venue_order_id="n2", client_order_id="theirs", quantity=Decimal(6), replaces=name, submitted_at=after(5)
    )
    bench.venue._change(resting, status="replaced", replaced_by="n2")
    resting.order = replace(resting.order, status="canceled", replaced_by="n2")  # closed for the venue's own book
    bench.venue._rest(new, resting.purpose)
    bench.reconcile(10)
    assert (bench.one().venue_order_id, bench.one().state, bench.one().quantity) == ("n2", S.OPEN, Decimal(6))
    assert not [one for one in bench.ledger.orders() if one.client_order_id == "theirs"]


# --- the database in trouble


def locked_while(database: Database, work: Callable[[], Any]) -> Any:
    """Runs `work` while another connection holds the database."""
    if database.is_sqlite:
        holder = sqlite3.connect(str(database.file), isolation_level=None)
        holder.execute("BEGIN IMMEDIATE")
        try:
            return work()
        finally:
            holder.close()
    patient = Database(database.url.render_as_string(hide_password=False))
    with patient.engine.connect() as connection, connection.begin():
        connection.execute(text("LOCK TABLE intents IN ACCESS EXCLUSIVE MODE"))
        answer = work()
    patient.close()
    return answer


def test_e01_an_answer_is_kept_while_the_database_is_held(database_url, tmp_path, hand_clock):
    database = Database(database_url, busy_timeout_seconds=1.0)
    bench = Bench(DatabaseService(database, hand_clock, spool=tmp_path / "answers"), hand_clock)
    submit = bench.venue.submit
    answers: list[VenueOrder] = []

    def answered(validated: ValidatedOrder) -> VenueOrder:
        answers.append(submit(validated))
        return answers[0]

    bench.venue.submit = answered  # type: ignore[method-assign]
    bench.commit(order())
    keep = bench.ledger.keep_answer
    bench.ledger.keep_answer = lambda *a, **o: locked_while(database, lambda: keep(*a, **o))  # type: ignore[method-assign]
    made = bench.executor.send([ValidatedOrder(order())], cycle_id=None, now=T0)
    assert (made.sent, bench.one().state) == (1, S.SENT)
    assert len(list((tmp_path / "answers").iterdir())) == 1

    # A new process, before it asks the venue anything.
    fresh = DatabaseService(database, hand_clock, spool=tmp_path / "answers")
    assert fresh.read_back_answers() == 1
    assert (fresh.intent("at-aapl-1").state, fresh.intent("at-aapl-1").venue_order_id) == (S.OPEN, answers[0].venue_order_id)
    assert len(fresh.orders()) == 3, "the legs came with it"
    assert (fresh.read_back_answers(), bench.venue.posts.total()) == (0, 1)
    database.close()


def test_e01_an_answer_that_came_too_late_or_cannot_be_read_holds_nobody_up(ledger, hand_clock, tmp_path):
    database = ledger._db
    place = tmp_path / "answers"
    place.mkdir()
    service = DatabaseService(database, hand_clock, spool=place)
    (place / "a.answer.json").write_bytes(b'{"client_order_id": "x", ')
    (place / "b.answer.json").write_text('{"client_order_id":"x","event":"accept","venue_order":null,"error":null}')
    assert service.read_back_answers() == 1
    assert [path.name for path in place.iterdir()] == ["a.answer.json.unreadable"]


def test_e03_a_full_disk_at_the_commit_or_the_claim_sends_nothing(bench):
    if not bench.ledger._db.is_sqlite:
        pytest.skip("a file that may not grow stands for the full disk")
    full = {"on": False}

    @event.listens_for(bench.ledger._db.engine, "begin")
    def _(connection: Any) -> None:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one() if full["on"] else 2**30
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")

    full["on"] = True
    names = []
    with pytest.raises(StorageUnavailable, match="full"):
        for i in range(400):
            bench.commit(order(f"n{i}", symbol=f"S{i}"))
            names.append(f"n{i}")
    assert names, "some still fitted"
    assert bench.ledger.orders(limit=1000)[0].client_order_id == names[-1]
    assert bench.venue.posts.total() == 0
    full["on"] = False
    assert not bench.commit(order("after", symbol="KO")).refusals, "space has been made"


@pytest.mark.parametrize("fault", [TryAgain("busy"), OutcomeUnknown("?"), Refused("no", status=403)])
def test_a_dead_look_up_after_a_refusal_leaves_it_open(bench, fault):
    bench.answer("refused")

    def silent(_: str) -> None:
        raise fault

    bench.venue.order_by_client_id = silent
    assert bench.send(order()).unknown == 1
    assert bench.one().state is S.UNKNOWN
