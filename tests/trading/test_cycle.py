"""The trading cycle against the real simulated exchange through the real alpaca-py client."""

from __future__ import annotations

import json
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import REGISTRY

from app.domain.errors import OutcomeUnknown, TryAgain
from app.domain.order import Fill, Side, ValidatedOrder, VenueOrder
from app.domain.order_state import OrderState
from app.domain.trading_state import TradingState
from app.engine.decide import decide
from app.engine.recording import from_json
from app.risk.limits import RiskLimits
from app.runtime import metrics
from app.services.database_service import DatabaseService
from tests.trading.exchange import SYMBOLS, Exchange, System, assert_limits_held, build_system, scripted

RISING = dict.fromkeys(SYMBOLS, 0.03)


def decisions_of(system: System) -> list[tuple[Any, ...]]:
    rows = system.database.decisions(limit=100_000)
    return sorted((d.cycle_id, d.symbol, d.reason, d.side, d.quantity, d.price, d.expected_return) for d in rows)


def test_orders_fill_and_both_books_agree_to_the_cent(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    forecasts = {symbol: (-1) ** i * 0.02 for i, symbol in enumerate(SYMBOLS)}
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, forecasts))
    reports = system.cycles(30)
    assert {report.outcome for report in reports} == {"completed"}
    points = ledger_database.equity_curve()
    assert len(points) == 30
    assert all(round(point.equity, 2) == round(point.venue_equity or 0, 2) for point in points)

    truth = exchange.ledger()
    assert sum(report.orders for report in reports) == sum(1 for order in truth["orders"] if not order.get("parent_id"))
    booked = {record.fill.execution_id for record in ledger_database.fills(limit=1000)}
    settled = {fill["execution_id"] for fill in truth["fills"]}
    assert booked <= settled
    assert len(booked) >= 6
    assert assert_limits_held(exchange, RiskLimits()) >= 6


def test_every_symbol_of_every_cycle_has_its_reason(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, {"AAPL": 0.03}))
    (report,) = system.cycles(1)
    rows = {row.symbol: row for row in ledger_database.decisions(cycle_id=report.cycle_id, limit=100)}
    assert set(rows) == set(SYMBOLS)
    assert rows["AAPL"].reason == "buy_signal"
    assert rows["AAPL"].sizing_bound in {"position_size", "volatility"}
    assert {rows[s].reason for s in SYMBOLS if s != "AAPL"} == {"no_forecast"}
    assert "not_scripted" in rows["MSFT"].detail


def test_a_cycle_makes_at_most_eight_calls_none_of_them_per_symbol(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    unsure = scripted(tmp_path, RISING, confidence=0.1)  # orders are counted apart: one call each
    system = build_system(exchange, ledger_database, tmp_path, forecaster=unsure)
    system.venue.prepare()
    system.cycles(1)  # the first of all reads the venue's past as well
    for number in range(6):
        if number == 3:  # the next session, for which the day's bars are fetched anew
            exchange.move(next_open=True)
            exchange.move(advance_seconds=600)
        before = system.wire.calls
        (report,) = system.cycles(1)
        assert report.outcome == "completed"
        assert system.wire.calls - before <= 8


def test_the_same_seed_and_data_twice_give_the_same_decisions_and_fills(exchange: Exchange, tmp_path: Path) -> None:
    runs = []
    for number in range(2):
        exchange.reset()
        exchange.move(advance_seconds=600)
        directory = tmp_path / str(number)
        directory.mkdir()
        database = _database(directory)
        forecasts = {symbol: (-1) ** i * 0.015 for i, symbol in enumerate(SYMBOLS)}
        system = build_system(exchange, database, directory, forecaster=scripted(directory, forecasts))
        system.cycles(25)
        fills = [(f.fill.execution_id, f.fill.price, f.fill.filled_at) for f in database.fills(limit=1000)]
        runs.append((decisions_of(system), sorted(fills)))
        database.close()
    assert runs[0] == runs[1]
    assert len(runs[0][1]) > 0


def test_recorded_inputs_decide_the_same_again(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    for report in system.cycles(12):
        recorded = ledger_database.cycle(report.cycle_id)
        inputs = from_json(json.loads(json.dumps(recorded.inputs)))
        again = decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)
        stored = {row.symbol: row for row in ledger_database.decisions(cycle_id=report.cycle_id, limit=100)}
        for record in again.records:
            row = stored[record.symbol]
            assert (record.reason.code, record.side, record.quantity) == (row.reason, row.side, row.quantity)


def test_one_slot_runs_once(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    first, second = system.trading.run_cycle(), system.trading.run_cycle()
    assert (first.outcome, second.outcome) == ("completed", "already_done")
    assert len(exchange.ledger()["orders"]) == 3 * first.orders


def test_a_cycle_by_hand_runs_beside_the_slots_own_and_disturbs_nothing(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    first = system.trading.run_cycle()
    by_hand = system.trading.run_cycle("manual", request_id="7f3a")
    again = system.trading.run_cycle("manual", request_id="7f3a")
    assert (first.orders, by_hand.outcome, by_hand.orders, again.outcome) == (7, "completed", 0, "already_done")
    assert {o["status"] for o in exchange.ledger()["orders"]} == {"new", "held"}


@pytest.mark.row("F05")
def test_outside_the_session_nothing_is_sent(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    exchange.move(advance_seconds=7 * 3600)
    report = system.trading.run_cycle()
    assert report.outcome == "market_closed"
    assert exchange.ledger()["orders"] == []
    latest = ledger_database.latest_cycle()
    assert latest is not None
    assert latest.outcome == "market_closed"


class LosesAnswers:
    """A broker whose answers to orders get lost, after the venue has (or has not) accepted them."""

    def __init__(self, broker: Any, *, delivered: bool) -> None:
        self._broker = broker
        self._delivered = delivered
        self.losing = True

    def __getattr__(self, name: str) -> Any:
        return getattr(self._broker, name)

    def submit(self, validated: ValidatedOrder) -> VenueOrder:
        if not self.losing:
            return self._broker.submit(validated)
        if self._delivered:
            self._broker.submit(validated)
        raise OutcomeUnknown("the answer got lost")


@pytest.mark.row("B01", "B03")
@pytest.mark.parametrize("delivered", [True, False])
def test_a_lost_answer_never_doubles_an_order(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path, delivered: bool
) -> None:
    lossy: list[LosesAnswers] = []

    def wrap(broker: Any) -> Any:
        lossy.append(LosesAnswers(broker, delivered=delivered))
        return lossy[0]

    system = build_system(
        exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, {"AAPL": 0.03, "MSFT": 0.03}), wrap=wrap
    )
    system.cycles(1)
    assert {o.state for o in ledger_database.orders() if o.parent_id is None} == {
        OrderState.OPEN if delivered else OrderState.UNKNOWN
    }
    lossy[0].losing = False
    system.cycles(3)
    entries = [order for order in exchange.ledger()["orders"] if order["side"] == "buy"]
    assert sorted(order["symbol"] for order in entries) == ["AAPL", "MSFT"]
    points = ledger_database.equity_curve()
    assert round(points[-1].equity, 2) == round(points[-1].venue_equity or 0, 2)


def test_a_silent_venue_fails_the_cycle_and_the_next_one_goes_on(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    class Silent:
        def __init__(self, broker: Any) -> None:
            self._broker, self.silent = broker, True

        def __getattr__(self, name: str) -> Any:
            return getattr(self._broker, name)

        def positions(self) -> Any:
            if self.silent:
                raise TryAgain("no answer")
            return self._broker.positions()

    wrapped: list[Silent] = []

    def wrap(broker: Any) -> Any:
        wrapped.append(Silent(broker))
        return wrapped[0]

    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING), wrap=wrap)
    (failed,) = system.cycles(1)
    assert (failed.outcome, exchange.ledger()["orders"]) == ("failed", [])
    assert any("failed" in message.message for message in ledger_database.outbox_pending())
    wrapped[0].silent = False
    (report,) = system.cycles(1)
    assert (report.outcome, report.orders) == ("completed", 7)


@pytest.mark.row("C10")
def test_a_persons_trade_is_adopted_and_left_alone(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    unsure = scripted(tmp_path, RISING, confidence=0.1)
    system = build_system(exchange, ledger_database, tmp_path, forecaster=unsure)
    system.cycles(2)
    manual = {"symbol": "AAPL", "qty": "5", "side": "buy", "type": "market", "time_in_force": "day"}
    resting = {**manual, "symbol": "MSFT", "type": "limit", "limit_price": "1.00", "time_in_force": "gtc"}
    assert exchange.order(**manual).ok
    assert exchange.order(**resting).ok
    system.cycles(4)
    assert ledger_database.portfolio().positions["AAPL"].quantity == 5
    latest = ledger_database.latest_cycle()
    assert latest is not None
    assert "differ" not in latest.detail
    kept = [order for order in exchange.ledger()["orders"] if order["symbol"] == "MSFT"]
    assert [order["status"] for order in kept] == ["new"]


@pytest.mark.row("B22")
def test_an_unexplained_difference_stops_entries_and_says_so(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    class Forgets:
        """Lists no positions: an empty answer that must not be read as flat."""

        def __init__(self, broker: Any) -> None:
            self._broker, self.forgets = broker, False

        def __getattr__(self, name: str) -> Any:
            return getattr(self._broker, name)

        def positions(self) -> Any:
            return {} if self.forgets else self._broker.positions()

    wrapped: list[Forgets] = []

    def wrap(broker: Any) -> Any:
        wrapped.append(Forgets(broker))
        return wrapped[0]

    two = {"AAPL": 0.03, "MSFT": 0.03}
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, two), wrap=wrap)
    system.cycles(2)
    wrapped[0].forgets = True
    scripted(tmp_path, {**two, "TSLA": 0.03})
    (report,) = system.cycles(1)
    assert "AAPL" in report.detail
    assert report.orders == 0
    state = ledger_database.risk_state()
    assert state is not None
    assert (state.trading_state, state.cause) == (TradingState.REDUCING, "books_differ")
    assert any("differ" in message.message for message in ledger_database.outbox_pending())
    wrapped[0].forgets = False
    assert [report.orders for report in system.cycles(3)] == [0, 0, 1]  # three believable readings end the doubt
    assert len(ledger_database.portfolio().positions) == 2


def test_a_halt_given_while_a_decision_is_being_made_wins(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    halting: list[System] = []

    class HaltsInBetween:
        """A person halts trading exactly while the models think."""

        def forecast(self, bars: Any, at: Any) -> Any:
            if halting:
                halting.pop().risk.halt("admin")
            return scripted(tmp_path, RISING).forecast(bars, at)

    system = build_system(exchange, ledger_database, tmp_path, forecaster=HaltsInBetween())
    scripted(tmp_path, dict.fromkeys(SYMBOLS, 0.0))
    system.trading.run_cycle()
    exchange.step()
    before = len(exchange.ledger()["orders"])
    halting.append(system)
    (report,) = system.cycles(1)
    assert report.outcome == "failed"
    assert len(exchange.ledger()["orders"]) == before
    (report,) = system.cycles(1)
    assert (report.outcome, report.orders) == ("completed", 0)
    system.risk.resume("admin")


def test_a_more_cautious_mirror_wins_over_the_database(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    system.venue.prepare()
    scripted(tmp_path, dict.fromkeys(SYMBOLS, 0.0))
    system.cycles(1)
    state = ledger_database.risk_state()
    assert state is not None
    system.risk.mirror(replace(state, trading_state=TradingState.HALTED, cause="operator"))
    scripted(tmp_path, RISING)
    (report,) = system.cycles(1)
    assert report.orders == 0
    halted = ledger_database.risk_state()
    assert halted is not None
    assert halted.trading_state is TradingState.HALTED


@pytest.mark.row("C03")
def test_fills_are_booked_once_however_often_they_are_reported(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    class RepeatsFills:
        def __init__(self, broker: Any) -> None:
            self._broker = broker

        def __getattr__(self, name: str) -> Any:
            return getattr(self._broker, name)

        def fills(self, *, since: Any) -> list[Fill]:
            fills = self._broker.fills(since=since)
            return [*fills, *reversed(fills)]

    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING), wrap=RepeatsFills)
    system.cycles(4)
    truth = exchange.ledger()
    assert {s: p.quantity for s, p in ledger_database.portfolio().positions.items()} == {
        symbol: Decimal(held["quantity"]) for symbol, held in truth["positions"].items()
    }


def test_the_measured_numbers_are_those_of_the_ledger(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    def read(name: str, **labels: str) -> float:
        return REGISTRY.get_sample_value(f"alpha_trader_{name}", labels) or 0.0

    names = [("fills_total", {"side": side.value}) for side in Side]
    names += [("filled_value_usd_total", {"side": side.value}) for side in Side]
    names += [("orders_total", {"outcome": outcome}) for outcome in metrics.ORDER_OUTCOMES]
    before = [read(name, **labels) for name, labels in names]
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    reports = system.cycles(3)
    scripted(tmp_path, dict.fromkeys(SYMBOLS, -0.03))
    reports += system.cycles(3)
    fills = [record.fill for record in ledger_database.fills(limit=1000)]
    by_side = [[fill for fill in fills if fill.side is side] for side in Side]
    assert all(by_side)
    values = [float(sum(fill.quantity * fill.price for fill in some)) for some in by_side]
    truth = [*map(len, by_side), *values, sum(report.orders for report in reports), 0, 0, 0]
    counted = [read(name, **labels) - start for (name, labels), start in zip(names, before, strict=True)]
    assert counted == pytest.approx(truth)
    volumes = [read("daily_volume_usd", mode="simulated", side=side.value) for side in Side]
    assert volumes == pytest.approx(values)  # all within one day
    assert read("portfolio_value_usd", mode="simulated") == float(reports[-1].equity or 0)


def _database(directory: Path) -> DatabaseService:
    from app.runtime.clock import WallClock
    from app.storage.database import Database

    service = DatabaseService(Database(f"sqlite:///{directory / 'ledger.db'}"), WallClock())
    service.migrate()
    return service
