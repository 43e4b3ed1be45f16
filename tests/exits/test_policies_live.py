"""Exit policies on the real simulated exchange: stops move up at the venue, a part is sold behind a pair of exits."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import pytest

from app.brokers.alpaca import AlpacaBroker
from app.domain.errors import OutcomeUnknown, TryAgain
from app.domain.exits import ExitPolicy
from app.domain.order import VenueOrder
from app.engine.decide import decide
from app.engine.recording import from_json
from app.risk.limits import Policy, RiskLimits
from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.trading.exchange import SYMBOLS, Exchange, System, assert_limits_held, build_system, scripted, serve_exchange

KEEN = ExitPolicy(atr_stop_multiple=3.0, break_even_at_r=0.1, partial_at_r=0.15, partial_fraction=0.4, trailing_fraction=0.01)


class Unlucky:
    """The real broker, whose moves of a stop go wrong at first: one is lost on the way, of one the answer is lost."""

    def __init__(self, broker: AlpacaBroker) -> None:
        self._broker = broker
        self.moves = 0

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def replace(self, venue_order_id: str, *, stop_price: Decimal) -> VenueOrder:
        self.moves += 1
        if self.moves == 1:
            raise TryAgain("never sent")
        answer = self._broker.replace(venue_order_id, stop_price=stop_price)
        if self.moves == 2:
            raise OutcomeUnknown("the answer is lost")
        return answer


@pytest.fixture(scope="module")
def traded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:
    """A session and a half under the policy."""
    directory = tmp_path_factory.mktemp("keen")
    with serve_exchange() as exchange:
        exchange.move(advance_seconds=600)
        database = DatabaseService(Database(f"sqlite:///{directory / 'ledger.db'}"), WallClock())
        database.migrate()
        system = build_system(
            exchange,
            database,
            directory,
            forecaster=scripted(directory, dict.fromkeys(SYMBOLS, 0.03)),
            policy=Policy(exits=KEEN),
            wrap=Unlucky,
        )
        assert {report.outcome for report in system.cycles(50)} == {"completed"}
        yield system
        database.close()


def orders_of(exchange: Exchange) -> dict[str, dict[str, Any]]:
    return {order["id"]: order for order in exchange.ledger()["orders"]}


def test_stops_at_the_venue_only_ever_move_up(traded: System) -> None:
    orders = orders_of(traded.exchange)
    moved = [order for order in orders.values() if order.get("replaces")]
    assert len(moved) > 5
    for order in moved:
        assert Decimal(order["stop_price"]) > Decimal(orders[order["replaces"]]["stop_price"])


def test_a_part_is_sold_once_and_the_rest_is_covered_by_a_pair(traded: System) -> None:
    sold = {fill.client_order_id for fill in traded.database.fills(limit=10_000) if fill.reason == "partial_profit"}
    assert sold
    pairs = [order for order in traded.database.orders(limit=10_000) if order.reason == "protect"]
    assert {pair.cycle_id for pair in pairs} >= {traded.database.intent(name).cycle_id for name in sold}
    trips: Counter[str] = Counter()
    held: Counter[str] = Counter()
    for record in reversed(traded.database.fills(limit=10_000)):
        symbol = record.fill.symbol
        held[symbol] += record.fill.side.sign * int(record.fill.quantity)
        trips[symbol] += record.reason == "partial_profit"
        if not held[symbol]:
            trips[symbol] = 0
        assert held[symbol] >= 0
        assert trips[symbol] <= 1


def test_no_limit_is_broken_and_nothing_was_refused(traded: System) -> None:
    assert assert_limits_held(traded.exchange, RiskLimits()) > 10
    assert not [m.message for m in traded.database.outbox_pending(10_000) if "refused" in m.message]


def test_every_holding_has_a_plan_that_its_stop_at_the_venue_keeps_up_with(traded: System) -> None:
    plans, held = traded.database.position_plans(), traded.database.portfolio().positions
    assert plans
    assert set(plans) <= set(held)
    for order in traded.database.unsettled_intents():
        plan = plans.get(order.symbol)
        if plan is not None and order.is_protective and order.stop_price is not None and plan.progress.stop:
            assert order.stop_price >= (plan.stop or 0)


def test_what_was_recorded_decides_the_same_again_with_its_memory(traded: System) -> None:
    remembered = 0
    for report in traded.database.cycles(100):
        inputs = from_json(json.loads(json.dumps(traded.database.cycle(report.cycle_id).inputs)))
        assert inputs.policy.exits._replace(stop_loss_fraction=0.05, take_profit_fraction=0.1) == KEEN
        again = decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)
        stored = {row.symbol: row for row in traded.database.decisions(cycle_id=report.cycle_id, limit=100)}
        for record in again.records:
            row = stored[record.symbol]
            assert (record.reason.code, record.side, record.quantity) == (row.reason, row.side, row.quantity)
        remembered += bool(inputs.book.progress)
    assert remembered > 10
