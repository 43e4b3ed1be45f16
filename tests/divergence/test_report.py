"""A session on the real simulated exchange comes out the same when it is decided and matched again; what is planted in it is
found, with its cause, and the amounts add up to the gap."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from prometheus_client import REGISTRY

from app.backtest.divergence.redecide import Cause
from app.backtest.divergence.report import Day, correlation
from app.domain.bar import DAILY, BarSeries
from app.domain.errors import InvalidInput, NotFound
from app.domain.exits import ExitPolicy
from app.domain.forecast import Forecast
from app.domain.order import Side
from app.domain.records import CycleRecord, FillRecord
from app.engine.costs import CostModel
from app.risk.limits import Policy, RiskLimits
from app.runtime.clock import WallClock
from app.services.backtests.divergence_service import DivergenceService, Report
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.trading.exchange import SYMBOLS, System, build_system, scripted, serve_exchange

FIRST, LAST = date(2024, 1, 2), date(2024, 1, 5)
# Close enough that legs fill, stops move and parts are sold within four days.
EXITS = ExitPolicy(
    stop_loss_fraction=0.012,
    take_profit_fraction=0.015,
    trailing_fraction=0.008,
    break_even_at_r=0.5,
    partial_at_r=0.75,
    partial_fraction=0.4,
)
LIMITS = RiskLimits(stop_loss_fraction=0.012, take_profit_fraction=0.015)
LATE = "UNH"  # bought by the last cycle, so that nothing is decided after its fill


class Recorded:
    """A finished period: the system that traded it, and where its forecasts are."""

    def __init__(self, system: System, directory: Path) -> None:
        self.system = system
        self.directory = directory

    def report(self, **changes: Any) -> Report:
        """changes: what stands in for a method of the database; forecasts, costs, first and last besides."""
        first, last = changes.pop("first", FIRST), changes.pop("last", LAST)
        forecasts = changes.pop("forecasts", ScriptOfEachDay(self.directory))
        costs = changes.pop("costs", None)
        database: Any = Tampered(self.system.database, changes)
        service = DivergenceService(database=database, venue=self.system.venue, forecaster=forecasts, costs=costs)
        return service.report(first, last)


class Tampered:
    """The database, some of whose answers are another's."""

    def __init__(self, database: DatabaseService, changes: dict[str, Callable[..., Any]]) -> None:
        self._database = database
        self._changes = changes

    def __getattr__(self, name: str) -> Any:
        honest = getattr(self._database, name)
        if name not in self._changes:
            return honest
        return lambda *given, **named: self._changes[name](honest(*given, **named), *given, **named)


class ScriptOfEachDay:
    """The script that was in force in a cycle."""

    def __init__(self, directory: Path, changed: dict[str, float] | None = None) -> None:
        self._directory = directory
        self._changed = changed or {}

    def forecast(self, bars: Any, at: Any) -> Any:
        is_last = (at.date(), at.hour, at.minute) == (LAST, 15, 40)
        made = scripted(self._directory, script_of(at.date(), last=is_last)).forecast(bars, at)
        changed = {s: n for s, n in self._changed.items() if isinstance(made.get(s), Forecast)}
        return made | {s: replace(made[s], daily_return=n) for s, n in changed.items()}


def script_of(day: date, *, last: bool = False) -> dict[str, float]:
    """Every day other symbols rise; the late one in the last cycle alone."""
    script = {s: 0.03 if (i + day.day) % 3 == 0 else -0.02 for i, s in enumerate(SYMBOLS) if s != LATE}
    return script | ({LATE: 0.04} if last else {})


@pytest.fixture(scope="module")
def recorded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Recorded]:
    directory = tmp_path_factory.mktemp("divergence")
    database = DatabaseService(Database(f"sqlite:///{directory / 'ledger.db'}"), WallClock())
    database.migrate()
    with serve_exchange() as exchange:
        exchange.move(advance_seconds=600)
        system = build_system(
            exchange, database, directory, forecaster=scripted(directory, {}), limits=LIMITS, policy=Policy(exits=EXITS)
        )
        for number in range(4):
            day = date(2024, 1, 2 + number)
            scripted(directory, script_of(day))
            for cycle in range(4):
                if day == LAST and cycle == 3:
                    scripted(directory, script_of(day, last=True))
                assert system.trading.run_cycle().outcome == "completed"
                exchange.move(advance_seconds=1200)
            if day != LAST:
                exchange.move(next_open=True)
                exchange.move(advance_seconds=600)
        system.trading.reconcile()
        yield Recorded(system, directory)
    database.close()


def assert_adds_up(report: Report) -> None:
    found = report.found
    assert sum((found.amount(cause) for cause in Cause), Decimal(0)) == found.gap


def test_nothing_differs_in_a_period_as_it_was(recorded: Recorded) -> None:
    report = recorded.report()
    found = report.found
    assert found.differences == ()
    assert (found.cycles, found.decisions) == (16, 16 * len(SYMBOLS))
    assert report.agrees
    assert found.gap == 0
    assert all(found.amount(cause) == 0 for cause in Cause)
    assert found.correlation == pytest.approx(1.0)
    assert [day.live for day in found.days] == [day.backtest for day in found.days]
    reasons = {record.reason for record in recorded.system.database.fills(limit=1000)}
    assert reasons >= {"buy_signal", "sell_signal", "bracket_leg", "partial_profit"}
    assert found.unmatched == ()
    assert found.unjudged_forecasts == 0


@pytest.mark.parametrize("day", [date(2024, 1, 3), date(2024, 1, 4), LAST])
def test_a_period_may_begin_with_holdings_and_resting_exits(recorded: Recorded, day: date) -> None:
    report = recorded.report(first=day, last=day)
    assert report.found.differences == ()
    assert report.found.gap == 0
    assert report.notes == ()


def changed_recording(change: Callable[[dict[str, Any]], None], *, number: int = 5) -> Callable[..., CycleRecord]:
    """The inputs of cycle `number` are told otherwise than they were."""
    names: list[str] = []

    def cycle(record: CycleRecord, *_: Any) -> CycleRecord:
        names.append(record.cycle_id)
        if len(names) != number + 1:
            return record
        inputs = copy.deepcopy(dict(record.inputs or {}))
        change(inputs)
        return replace(record, inputs=inputs)

    return cycle


def bought(recorded: Recorded, *, late: bool = False) -> tuple[str, int]:
    """A symbol that was bought, and the number of the cycle that decided it."""
    rows = sorted(recorded.system.database.decisions(limit=100_000), key=lambda row: row.decided_at)
    names = list(dict.fromkeys(row.cycle_id for row in rows))
    wanted = [row for row in rows if row.side is Side.BUY and (row.symbol == LATE) is late]
    return wanted[-1].symbol, names.index(wanted[-1].cycle_id)


def test_a_forecast_changed_in_the_recording_is_a_signal(recorded: Recorded) -> None:
    symbol, number = bought(recorded, late=True)

    def change(inputs: dict[str, Any]) -> None:
        inputs["view"]["forecasts"][symbol]["daily_return"] = -0.02

    report = recorded.report(cycle=changed_recording(change, number=number))
    decisions = [one for one in report.found.differences if one.is_decision]
    assert [(one.cause, one.symbol) for one in decisions] == [(Cause.SIGNAL, symbol)]
    assert report.found.differing_decisions == 1
    assert {one.cause for one in report.found.differences} == {Cause.SIGNAL}
    assert_adds_up(report)


def test_a_forecast_that_comes_out_otherwise_is_a_signal_with_its_money(recorded: Recorded) -> None:
    report = recorded.report(forecasts=ScriptOfEachDay(recorded.directory, {LATE: -0.02}))
    found = report.found
    assert [(one.cause, one.symbol) for one in found.differences if one.is_decision] == [(Cause.SIGNAL, LATE)]
    assert found.amount(Cause.SIGNAL) == found.gap != 0
    assert_adds_up(report)


def test_a_price_changed_in_the_recording_is_data(recorded: Recorded) -> None:
    symbol, number = bought(recorded, late=True)

    def change(inputs: dict[str, Any]) -> None:
        view = inputs["view"]
        view["price"][view["symbols"].index(symbol)] *= 1.2

    report = recorded.report(cycle=changed_recording(change, number=number))
    assert (Cause.DATA, symbol) in {(one.cause, one.symbol) for one in report.found.differences if one.is_decision}
    assert {one.cause for one in report.found.differences} == {Cause.DATA}
    assert_adds_up(report)


def test_money_changed_in_the_recording_is_risk(recorded: Recorded) -> None:
    _, number = bought(recorded, late=True)

    def change(inputs: dict[str, Any]) -> None:
        inputs["book"]["cash"] = "1000"

    report = recorded.report(cycle=changed_recording(change, number=number))
    assert report.found.differing_decisions > 0
    assert {one.cause for one in report.found.differences} == {Cause.RISK}
    assert any(one.symbol == "cash" for one in report.found.differences)
    assert_adds_up(report)


def test_bars_that_were_restated_are_data(recorded: Recorded) -> None:
    def restated(bars: dict[str, BarSeries], symbols: Any, timeframe: str, **_: Any) -> dict[str, BarSeries]:
        if timeframe != DAILY:
            return bars
        return bars | {LATE: replace(bars[LATE], close=bars[LATE].close * 1.5, high=bars[LATE].high * 1.5)}

    report = recorded.report(bars=restated)
    told = {(one.cause, one.symbol, one.what) for one in report.found.differences if not one.is_decision}
    assert (Cause.DATA, LATE, "last_close") in told
    assert {cause for cause, *_ in told} == {Cause.DATA}
    assert_adds_up(report)


def test_an_order_that_was_never_committed_is_risk(recorded: Recorded) -> None:
    def without(orders: Sequence[Any], **named: Any) -> list[Any]:
        return [order for order in orders if order.symbol != LATE]

    report = recorded.report(orders=without)
    assert [(one.cause, one.live) for one in report.found.differences if one.is_decision] == [
        (Cause.RISK, "no order was committed")
    ]
    assert_adds_up(report)


def changed_fill(symbol: str, change: Callable[[FillRecord], FillRecord]) -> Callable[..., list[FillRecord]]:
    return lambda fills, **_: [change(one) if one.fill.symbol == symbol else one for one in fills]


def test_another_price_is_a_fill(recorded: Recorded) -> None:
    def worse(record: FillRecord) -> FillRecord:
        return replace(record, fill=replace(record.fill, price=record.fill.price + 1))

    report = recorded.report(fills=changed_fill(LATE, worse))
    (one,) = report.found.differences
    assert (one.cause, one.symbol, one.what) == (Cause.FILL, LATE, "fill")
    (filled,) = (record.fill for record in recorded.system.database.fills(limit=1000) if record.fill.symbol == LATE)
    assert report.found.amount(Cause.FILL) == report.found.gap == -filled.quantity
    assert report.found.differing_decisions == 0


def test_a_later_fill_at_that_minutes_price_is_timing(recorded: Recorded) -> None:
    (filled,) = (record.fill for record in recorded.system.database.fills(limit=1000) if record.fill.symbol == LATE)
    intent = next(order for order in recorded.system.database.orders(limit=1000) if order.symbol == LATE and order.cycle_id)
    minutes = recorded.system.venue.recent_bars(LATE, timeframe="1Min", limit=20)
    began = int(filled.filled_at.timestamp())
    later = next(
        (at, price)
        for at, price in zip(minutes.timestamp.tolist(), minutes.open.tolist(), strict=True)
        if at > began and Decimal(repr(price)) != filled.price and price <= float(intent.limit_price or 0)
    )
    delay = timedelta(seconds=later[0] + 60 - began)

    def delayed(record: FillRecord) -> FillRecord:
        moved = replace(record.fill, filled_at=record.fill.filled_at + delay, price=Decimal(repr(later[1])))
        return replace(record, fill=moved)

    report = recorded.report(fills=changed_fill(LATE, delayed))
    assert {(one.cause, one.symbol) for one in report.found.differences} == {(Cause.TIMING, LATE)}
    assert report.found.amount(Cause.TIMING) == report.found.gap == filled.quantity * (filled.price - Decimal(repr(later[1])))


def test_commissions_that_the_model_does_not_know_are_fees(recorded: Recorded) -> None:
    report = recorded.report(costs=CostModel(commission_per_share=Decimal("0.01")))
    fills = [record.fill for record in recorded.system.database.fills(limit=1000)]
    assert {one.cause for one in report.found.differences} == {Cause.FEE}
    assert report.found.amount(Cause.FEE) == report.found.gap == sum(fill.quantity for fill in fills) / 100


@settings(max_examples=6, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(data=st.data())
def test_the_amounts_add_up_to_the_gap_whatever_happened(recorded: Recorded, data: st.DataObject) -> None:
    cents = st.integers(-300, 300).map(lambda n: Decimal(n) / 100)
    minutes, commissions = st.integers(0, 15), st.integers(0, 500).map(lambda n: Decimal(n) / 100)

    def change(record: FillRecord) -> FillRecord:
        fill = record.fill
        moved = replace(
            fill,
            price=fill.price + data.draw(cents),
            commission=data.draw(commissions),
            filled_at=fill.filled_at + timedelta(minutes=data.draw(minutes)),
        )
        return replace(record, fill=moved)

    factors = {symbol: data.draw(st.sampled_from([1.0, 1.0, 0.97, 1.4])) for symbol in SYMBOLS}

    def restated(bars: dict[str, BarSeries], *_: Any, **__: Any) -> dict[str, BarSeries]:
        return {s: replace(b, close=b.close * factors[s], open=b.open * factors[s]) for s, b in bars.items()}

    report = recorded.report(
        fills=lambda fills, **_: [change(one) for one in fills],
        bars=restated,
        forecasts=ScriptOfEachDay(recorded.directory, {s: data.draw(st.floats(-0.05, 0.05)) for s in SYMBOLS[:4]}),
        costs=CostModel(commission_bps=Decimal(data.draw(st.integers(0, 20)))),
    )
    assert_adds_up(report)


def test_people_are_told_and_the_gauge_is_set(recorded: Recorded) -> None:
    def gauge() -> float | None:
        return REGISTRY.get_sample_value("alpha_trader_divergence_decisions", {"mode": "simulated"})

    database: Any = recorded.system.database
    honest = ScriptOfEachDay(recorded.directory)
    service = DivergenceService(database=database, venue=recorded.system.venue, forecaster=honest)
    report = service.nightly()
    assert report is not None
    assert report.agrees
    assert report.first == report.last == LAST
    assert gauge() == 0
    assert [m for m in database.outbox_pending(1000) if m.kind == "divergence"] == []
    other = ScriptOfEachDay(recorded.directory, {LATE: -0.02})
    DivergenceService(database=database, venue=recorded.system.venue, forecaster=other).nightly()
    assert gauge() == 1
    (message,) = [m for m in database.outbox_pending(1000) if m.kind == "divergence"]
    assert LATE in message.message
    assert "signal" in message.message


def test_impossible_periods_are_refused(recorded: Recorded) -> None:
    with pytest.raises(InvalidInput, match="swap"):
        recorded.report(first=LAST, last=FIRST)
    with pytest.raises(InvalidInput, match="no session"):
        recorded.report(first=date(2024, 1, 1), last=date(2024, 1, 1))
    with pytest.raises(NotFound, match="no cycle decided"):
        recorded.report(first=date(2023, 12, 29), last=date(2023, 12, 29))


def test_correlation_needs_three_days_that_move() -> None:
    def days(*pairs: tuple[float, float]) -> list[Day]:
        return [Day(closes_at=WallClock().now(), live=live, backtest=again) for live, again in pairs]

    assert correlation(days((0.1, 0.1), (0.2, 0.2))) is None
    assert correlation(days((0.1, 0.0), (0.2, 0.0), (0.3, 0.0))) is None
    assert correlation(days((0.1, 0.2), (0.2, 0.4), (0.3, 0.6))) == pytest.approx(1.0)
