"""The books rebuilt from the log equal the ledger after every write, whoever writes what, and whoever is killed when."""

from __future__ import annotations

import inspect
import os
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import text

from app.domain.errors import AlphaTraderError, Conflict
from app.domain.order import Fill, Side, ValidatedOrder
from app.domain.order_state import OrderEvent
from app.domain.portfolio import Portfolio, Position, apply_fill
from app.services.audit.audit_service import AuditService
from app.services.database_service import DatabaseService
from tests.databases import HandClock, unguarded, wipe
from tests.orders.simulation import Bench, World
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
    order,
    record,
    risk,
    start_cycle,
    venue_order,
)

SEEDS = int(os.environ.get("AUDIT_SEEDS", "12"))
SYMBOLS = ("AAPL", "KO", "SPY")


def agree(ledger: DatabaseService) -> None:
    """The chain holds, the log's books are the ledger's, and they follow from the executions told."""
    found = AuditService(ledger).book()
    assert found.differences == ()
    if found.book.cash is not None:
        assert _folded(ledger) == ledger.portfolio()


def _folded(ledger: DatabaseService) -> Portfolio:
    """Cash and holdings by arithmetic from what the log tells of the opening, of takings over and of executions."""
    opening, moves, void = None, [], set()
    for event in ledger.audit_events(range(1, ledger.check_audit()[1].seq + 1)):
        if "account" in event.payload:
            opening = event.payload["account"]
        for row in event.payload.get("adopted", ()):
            moves.append((_at(row["at"]), 0, "", row))
        if "fill" in event.payload:
            told = event.payload["fill"]
            void.add(told["reverses"])
            moves.append((_at(told["filled_at"]), 1, told["execution_id"], told))
    assert opening is not None
    book = Portfolio(cash=Decimal(opening["cash"]))
    for at, is_fill, name, row in sorted(moves, key=lambda move: move[:3]):
        if not is_fill:
            book = _taken_over(book, row)
        elif row["reverses"] is None and name not in void and at >= _at(opening["opened_at"]):
            book = apply_fill(book, _fill(row))
    return book


def _at(written: str) -> datetime:
    return datetime.fromisoformat(written)


def _fill(row: dict) -> Fill:
    amounts = {name: Decimal(row[name]) for name in ("quantity", "price", "commission")}
    return Fill(**{**row, **amounts, "side": Side(row["side"]), "filled_at": _at(row["filled_at"])})


def _taken_over(book: Portfolio, row: dict) -> Portfolio:
    others = {symbol: held for symbol, held in book.positions.items() if symbol != row["symbol"]}
    position = Position(
        symbol=row["symbol"],
        quantity=Decimal(row["quantity"]),
        average_entry_price=Decimal(row["average_entry_price"]),
        opened_at=_at(row["opened_at"]) if row["opened_at"] else None,
    )
    return replace(book, positions={**others, row["symbol"]: position} if position.quantity else others)


# --- the law, on sequences of writes


class Writes:
    """Draws one write after another; refused ones are as welcome as others."""

    def __init__(self, ledger: DatabaseService, clock: HandClock, data: st.DataObject) -> None:
        self.ledger, self.clock, self.data = ledger, clock, data
        self.cycles = self.number = 0
        self.ids: list[str] = []

    def step(self) -> None:
        names = [name for name, _ in inspect.getmembers(type(self), inspect.isfunction) if name.startswith("do_")]
        with suppress(AlphaTraderError):
            getattr(self, self.data.draw(st.sampled_from(names)))()

    def _name(self) -> str:
        return self.data.draw(st.sampled_from(self.ids or ["nobody"]))

    def _new(self) -> Any:
        self.number += 1
        self.ids.append(f"n{self.number}")
        make = self.data.draw(st.sampled_from([order, exit_order]))
        return make(self.ids[-1], symbol=self.data.draw(st.sampled_from(SYMBOLS)), quantity=Decimal(self.number))

    def _fill(self) -> Fill:
        number = self.data.draw(st.integers(0, 12))
        return fill(
            f"e{number}", f"v-{self.data.draw(st.sampled_from(self.ids or ['x']))}",
            symbol=SYMBOLS[number % 3], side=Side.BUY if number % 2 else Side.SELL, quantity=Decimal(number + 1) / 3,
            filled_at=after(self.data.draw(st.integers(-5, 60))), reverses=f"e{number - 1}" if number in {5, 9} else None,
        )  # fmt: skip

    def do_cycle(self) -> None:
        self.cycles += 1
        self.clock.forward(200)
        start_cycle(self.ledger, f"c{self.cycles}", at=self.clock.now(), alive=False)

    def do_decide(self) -> None:
        orders = [self._new() for _ in range(self.data.draw(st.integers(0, 3)))]
        state = self.ledger.risk_state() or risk()
        made = decision(*orders, records=(record(sizing={"a": float("inf")}), record("KO")), state=state)
        committed(self.ledger, made, cycle_id=f"c{self.cycles}", capacity=capacity(max_positions=2))

    def do_order(self) -> None:
        orders = [ValidatedOrder(self._new())]
        self.ledger.commit_orders(orders, source="manual", capacity=capacity(), expires_at=after(300), at=T0)

    def do_claim(self) -> None:
        name = self._name()
        self.ledger.claim_intent(name, cycle_id=self.ledger.intent(name).cycle_id, now=T0)

    def do_settle(self) -> None:
        event = self.data.draw(st.sampled_from([OrderEvent.LOSE_ANSWER, OrderEvent.REJECT, OrderEvent.RETURN_UNSENT]))
        self.ledger.settle_intent(self._name(), event, error="x")

    def do_report(self) -> None:
        name = self.data.draw(st.sampled_from([*self.ids, "stranger"]))
        status = self.data.draw(st.sampled_from(["new", "partially_filled", "filled", "canceled", "expired"]))
        filled = Decimal(self.data.draw(st.integers(0, 3)))
        leg = venue_order(f"leg-{name}", f"v-leg-{name}", side=Side.SELL, parent_order_id=f"v-{name}")
        report = venue_order(name, f"v-{name}", status, filled_quantity=filled, legs=(leg,) if filled else ())
        self.ledger.adopt_order(report)

    def do_miss(self) -> None:
        self.ledger.miss_intent(self._name(), now=after(self.data.draw(st.integers(0, 90))), grace=timedelta(seconds=60))

    def do_pending(self) -> None:
        self.ledger.note_pending(self.ids[:2], now=after(self.number), patience=timedelta(seconds=3))

    def do_expire(self) -> None:
        self.ledger.expire_stale_intents(after(self.data.draw(st.sampled_from([0, 400]))))

    def do_open(self) -> None:
        self.ledger.open_account("a", CASH, T0)

    def do_take_over(self) -> None:
        held = holding(self.data.draw(st.sampled_from(SYMBOLS)), Decimal(self.number))
        self.ledger.adopt_positions([held], after(self.number))

    def do_fills(self) -> None:
        new = [self._fill() for _ in range(self.data.draw(st.integers(1, 3)))]
        self.ledger.book_fills(new, listed_at=after(self.number))

    def do_risk(self) -> None:
        state, actor = self.ledger.risk_state(), self.data.draw(st.sampled_from(["system", "admin"]))
        self.ledger.save_risk_state(risk(state.epoch + 1 if state else 0, actor=actor))

    def do_finish(self) -> None:
        self.ledger.finish_cycle(
            f"c{self.cycles}", outcome="completed", detail="", finished_at=self.clock.now(), timings={}, equity=None
        )


@settings(max_examples=SEEDS, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_the_book_from_the_log_is_the_ledger_after_every_write(database, data):
    wipe(database)
    clock = HandClock()
    writes = Writes(DatabaseService(database, clock), clock, data)
    for _ in range(data.draw(st.integers(3, 25))):
        writes.step()
        agree(writes.ledger)


@pytest.fixture(scope="module")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Bench]:
    bench = Bench(tmp_path_factory.mktemp("bench"))
    yield bench
    bench.storage.close()


@pytest.mark.parametrize("seed", range(SEEDS))
def test_killed_anywhere_the_chain_holds_and_the_books_agree(bench, seed):
    """The real order path, killed between any two statements, against a venue that answers badly."""
    world = World(1000 + seed, bench)
    world.run()
    agree(DatabaseService(bench.storage, HandClock()))
    for name in (one.client_order_id for one in world.process.untapped.orders(5)):
        assert AuditService(world.process.untapped).explain(name).lines


def test_a_difference_is_said(database, hand_clock):
    ledger = DatabaseService(database, hand_clock)
    ledger.open_account("a", CASH, T0)
    ledger.adopt_positions([holding("AAPL", Decimal(3)), holding("KO", Decimal(1))], T0)
    ledger.adopt_order(venue_order("by-hand"))
    database.write(lambda c: c.execute(text("UPDATE account SET cash = '1'")))
    database.write(lambda c: c.execute(text("UPDATE positions SET quantity = '4' WHERE symbol = 'AAPL'")))
    database.write(lambda c: c.execute(text("DELETE FROM positions WHERE symbol = 'KO'")))
    database.write(lambda c: c.execute(text("UPDATE intents SET state = 'filled'")))
    assert AuditService(ledger).book().differences == (
        "cash: the log says 10000000, the ledger 1",
        "position AAPL: quantity is 3 in the log, 4 in the ledger",
        "position KO is in the log alone",
        "order by-hand: state is open in the log, filled in the ledger",
    )


def test_the_book_at_a_time(database, hand_clock):
    ledger = DatabaseService(database, hand_clock)
    ledger.open_account("a", CASH, T0)
    ledger.adopt_order(venue_order("n1", "v1"))
    for number in range(1, 4):
        ledger.book_fills([fill(f"e{number}", "v1", quantity=Decimal(number), filled_at=after(60 * number))])
    service = AuditService(ledger)
    held = [service.book(after(60 * minute)).book.positions.get("AAPL", {}).get("quantity") for minute in range(5)]
    assert held == [None, "1", "3", "6", "6"]
    assert service.book(after(-60)).book.cash is None
    assert service.book(after(60)).differences == ()
    assert service.book(after(60)).book.open_orders()["n1"]["state"] == "partially_filled"


def test_a_broken_log_proves_nothing(database, hand_clock):
    ledger = DatabaseService(database, hand_clock)
    ledger.open_account("a", CASH, T0)

    def tamper(connection):
        with unguarded(connection):
            connection.execute(text("UPDATE audit_log SET payload = '{}' WHERE seq = 2"))

    database.write(tamper)
    with pytest.raises(Conflict, match="proves nothing"):
        AuditService(ledger).book()
