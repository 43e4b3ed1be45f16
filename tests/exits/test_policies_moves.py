"""A stop that is moved at the venue: once, only upwards, harmless when repeated or when the answer is lost."""

from __future__ import annotations

from dataclasses import replace
from decimal import Decimal
from typing import Any

import pytest

from app.domain.errors import OutcomeUnknown, Refused, TryAgain, VenueError
from app.domain.order import OrderType, Side, VenueOrder
from app.engine.decision import LegMove
from app.runtime.clock import WallClock
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.execution import Executor
from app.storage.database import Database
from tests.storage.made import T0, decided, decision, order, venue_order


class Desk:
    """A venue that knows one bracket and moves its stop."""

    def __init__(self, leg: VenueOrder) -> None:
        self.leg = leg
        self.asked: list[tuple[str, Decimal]] = []
        self.fault: VenueError | None = None
        self.is_lost = False

    def replace(self, venue_order_id: str, *, stop_price: Decimal) -> VenueOrder:
        self.asked.append((venue_order_id, stop_price))
        if self.fault is not None:
            raise self.fault
        if venue_order_id != self.leg.venue_order_id:
            raise Refused("it has been replaced", status=422)
        name = f"s{len(self.asked) + 1}"
        self.leg = replace(
            self.leg, venue_order_id=name, client_order_id=f"own-{name}", stop_price=stop_price, replaces=venue_order_id
        )
        if self.is_lost:
            raise OutcomeUnknown("no answer")
        return self.leg


def stop(**changes: Any) -> VenueOrder:
    base: dict[str, Any] = {"side": Side.SELL, "type": OrderType.STOP, "stop_price": Decimal(171), "parent_order_id": "v1"}
    return venue_order("leg", "s1", **({"status": "held"} | base | changes))


@pytest.fixture
def ledger(database: Database) -> DatabaseService:
    service = DatabaseService(database, WallClock())
    decided(service, order())
    service.adopt_order(venue_order(legs=(stop(),)))
    return service


def move(ledger: DatabaseService, desk: Desk, *prices: str) -> None:
    broker: Any = desk
    nothing: Any = None
    venue = AlpacaService(
        broker=broker, data=nothing, database=ledger, clock=WallClock(), symbols=("AAPL",), mode="simulated", url=""
    )
    executor = Executor(venue=venue, database=ledger, gate=lambda: None)
    for price in prices:
        made = decision(moves=(LegMove(client_order_id="leg", symbol="AAPL", stop_price=Decimal(price)),))
        executor.execute(made, cycle_id="c1", now=T0)


def test_it_moves_once_and_is_followed_under_its_new_id(ledger: DatabaseService) -> None:
    desk = Desk(stop())
    move(ledger, desk, "175.00", "175.00", "174.00", "176.50")
    assert desk.asked == [("s1", Decimal("175.00")), ("s2", Decimal("176.50"))]
    leg = ledger.intent("leg")
    assert (leg.stop_price, leg.venue_order_id, leg.quantity, leg.is_settled) == (Decimal("176.50"), "s3", 10, False)


@pytest.mark.parametrize("fault", [Refused("it has filled", status=422), TryAgain("busy"), OutcomeUnknown("timed out")])
def test_a_move_that_fails_changes_nothing_here_and_is_made_by_the_next_decision(
    ledger: DatabaseService, fault: VenueError
) -> None:
    desk = Desk(stop())
    desk.fault = fault
    move(ledger, desk, "175.00")
    assert (ledger.intent("leg").stop_price, ledger.intent("leg").venue_order_id) == (Decimal(171), "s1")
    desk.fault = None
    move(ledger, desk, "175.00")
    assert ledger.intent("leg").stop_price == Decimal("175.00")


def test_a_lost_answer_is_made_good_by_the_next_listing(ledger: DatabaseService) -> None:
    desk = Desk(stop())
    desk.is_lost = True
    move(ledger, desk, "175.00")
    assert ledger.intent("leg").stop_price == Decimal(171)
    move(ledger, desk, "175.00")  # whoever has not heard asks again, and is refused
    assert desk.leg.stop_price == Decimal("175.00")
    ledger.adopt_order(desk.leg)
    assert (ledger.intent("leg").stop_price, ledger.intent("leg").venue_order_id) == (Decimal("175.00"), "s2")


def test_a_leg_that_has_ended_is_left_alone(ledger: DatabaseService) -> None:
    ledger.adopt_order(stop(status="canceled"))
    desk = Desk(stop())
    move(ledger, desk, "175.00")
    assert desk.asked == []
