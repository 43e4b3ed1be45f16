"""What the exits of a holding remember, on both databases."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from decimal import Decimal

import pytest

from app.domain.exits import PositionPlan, Progress
from app.domain.portfolio import Position
from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage import position_plans
from app.storage.database import Database
from tests.storage.made import CASH, LATER, T0, after

PLAN = PositionPlan(
    symbol="AAPL",
    opened_at=T0,
    progress=Progress(95.123456789, 109.7, 101.3, 0.0),
    stop=Decimal("101.30"),
    target=Decimal("110.01"),
)


def holding(symbol: str = "AAPL", opened_at: datetime | None = T0) -> Position:
    return Position(symbol=symbol, quantity=Decimal(10), average_entry_price=Decimal(100), opened_at=opened_at)


@pytest.fixture
def ledger(database: Database) -> DatabaseService:
    service = DatabaseService(database, WallClock())
    service.open_account("a", CASH, T0)
    service.adopt_positions([holding()], T0)
    return service


def keep(database: Database, *plans: PositionPlan) -> None:
    database.write(lambda c: position_plans.save(c, {plan.symbol: plan for plan in plans}, at=LATER))


def test_a_plan_comes_back_exactly(ledger: DatabaseService, database: Database) -> None:
    keep(database, PLAN)
    assert ledger.position_plans() == {"AAPL": PLAN}


def test_the_next_decision_replaces_all(ledger: DatabaseService, database: Database) -> None:
    keep(database, PLAN)
    keep(database)
    assert ledger.position_plans() == {}


def test_a_holding_that_is_gone_or_opened_anew_has_no_plan(ledger: DatabaseService, database: Database) -> None:
    keep(database, PLAN, replace(PLAN, symbol="MSFT"))
    assert set(ledger.position_plans()) == {"AAPL"}
    ledger.adopt_positions([holding(opened_at=after(60))], after(60))
    assert ledger.position_plans() == {}


def test_an_earlier_opening_that_surfaces_late_keeps_the_plan(ledger: DatabaseService, database: Database) -> None:
    keep(database, replace(PLAN, opened_at=after(60)))
    assert set(ledger.position_plans()) == {"AAPL"}


def test_a_split_moves_every_price(ledger: DatabaseService, database: Database) -> None:
    keep(database, replace(PLAN, progress=Progress(96.0, 110.0, 102.0, 1.0), stop=Decimal("102.01")))
    database.write(lambda c: position_plans.rebase(c, "AAPL", Decimal(4)))
    database.write(lambda c: position_plans.rebase(c, "NONE", Decimal(4)))
    moved = ledger.position_plans()["AAPL"]
    assert moved.progress == Progress(24.0, 27.5, 25.5, 1.0)
    assert (moved.stop, moved.target, moved.partial) == (Decimal("25.50"), Decimal("27.51"), None)
