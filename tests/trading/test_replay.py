"""The whole watch list on real bars from 2022-03-01: trained before that day, traded through the real client, and every
promise checked against the exchange's own ledger. REPLAY_DAYS sets the length (make replay: 20; in the suite: 1)."""

from __future__ import annotations

import os
from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any

import pytest

from app.backtest.driver import Grain, Plan, run
from app.backtest.tape import DailyTape
from app.config import Settings
from app.domain.forecast import Forecast
from app.domain.portfolio import Portfolio
from app.engine.costs import CostModel
from app.engine.decision import Decision
from app.engine.ledger import Execution
from app.engine.recording import Inputs
from app.marketdata.files import load_bars
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar
from app.services.ai_service import AIService
from app.services.database_service import DatabaseService
from app.storage.model_files import ModelFiles
from app.storage.param_files import ParamFiles
from tests.backtest.replay import rebuild
from tests.real_data import WATCHLIST_DAILY, needs
from tests.trading.exchange import System, assert_limits_held, build_system, serve_exchange

START = date(2022, 3, 1)
DAYS = int(os.environ.get("REPLAY_DAYS", "1"))
WATCHLIST = tuple(Settings.model_fields["watchlist"].default)
SEED = 7

pytestmark = [pytest.mark.data, needs(WATCHLIST_DAILY), pytest.mark.timeout(1800)]


class Replay:
    """A finished live run and what it left behind."""

    def __init__(self, system: System, ai: AIService, last_day: date) -> None:
        self.system = system
        self.ai = ai
        self.last_day = last_day
        self.records = sorted(system.database.cycles(100_000), key=lambda cycle: cycle.slot)

    def recordings(self) -> list[Mapping[str, Any]]:
        cycles = (self.system.database.cycle(record.cycle_id) for record in self.records)
        return [cycle.inputs for cycle in cycles if cycle.inputs is not None]


@pytest.fixture(scope="module")
def replay(tmp_path_factory: pytest.TempPathFactory) -> Any:
    from app.runtime.clock import WallClock
    from app.storage.database import Database

    directory = tmp_path_factory.mktemp("replay")
    database = DatabaseService(Database(f"sqlite:///{directory / 'ledger.db'}"), WallClock())
    database.migrate()
    ai = AIService(ModelFiles(directory / "models"), ParamFiles(directory / "best_params"))
    days = [session.day for session in new_york_calendar().between(START, date(2022, 12, 31))][:DAYS]
    with serve_exchange(data=WATCHLIST_DAILY, start=START, symbols=WATCHLIST, seed=SEED) as exchange:
        system = build_system(exchange, database, directory, forecaster=ai, symbols=WATCHLIST)
        bars, at = system.venue.training_bars()
        reports = ai.train_batch(bars, at=at, progress=lambda _done, _total, _what: None)
        assert [report.symbol for report in reports if report.version is None] == []
        exchange.move(advance_seconds=600)
        while datetime.fromisoformat(exchange.state()["clock"]).date() <= days[-1]:
            report = system.trading.run_cycle()
            assert report.outcome == "completed", report
            exchange.step()
        yield Replay(system, ai, days[-1])
    database.close()


def test_models_know_nothing_of_the_replay(replay: Replay) -> None:
    opening = new_york_calendar().between(START, START)[0].opens_at
    statuses = replay.ai.status()
    assert {status.symbol for status in statuses} == set(WATCHLIST)
    assert all(status.trained_through is not None and status.trained_through < opening for status in statuses)
    # The same models asked about the past refuse: they would know its future.
    bars = load_bars(WATCHLIST_DAILY, symbols=("AAPL",)).bars
    (answer,) = replay.ai.forecast(bars, datetime(2021, 6, 1, 20, 0, tzinfo=UTC)).values()
    assert not isinstance(answer, Forecast)
    assert answer.code == "model_from_future"


def test_every_limit_held_at_every_fill(replay: Replay) -> None:
    assert assert_limits_held(replay.system.exchange, RiskLimits()) >= 1


def test_both_books_agree_to_the_cent_in_every_cycle(replay: Replay) -> None:
    points = replay.system.database.equity_curve()
    assert len(points) == len(replay.records) >= 38 * DAYS
    assert all(round(p.equity, 2) == round(p.venue_equity or Decimal(0), 2) for p in points)


def test_every_symbol_of_every_cycle_is_explained(replay: Replay) -> None:
    rows = replay.system.database.decisions(limit=1_000_000)
    assert len(rows) == len(replay.records) * len(WATCHLIST)
    assert all(row.reason for row in rows)


def test_recordings_decide_the_same_with_books_rebuilt_from_fills(replay: Replay) -> None:
    database = replay.system.database
    account = database.account()
    assert account is not None
    fills = sorted(database.fills(limit=100_000), key=lambda record: (record.fill.filled_at, record.fill.execution_id))
    executions = [Execution(fill=r.fill, purpose=r.purpose, client_order_id=r.client_order_id) for r in fills]
    stored = {(row.cycle_id, row.symbol): row for row in database.decisions(limit=1_000_000)}
    for rebuilt in rebuild(replay.recordings(), executions, Portfolio(cash=account.opening_cash)):
        assert rebuilt.differences == ()
        for record in rebuilt.decision.records:
            row = stored[rebuilt.inputs.context.cycle_id, record.symbol]
            assert (record.reason.code, record.side, record.quantity) == (row.reason, row.side, row.quantity)


def test_the_backtest_driver_makes_the_same_decisions_and_fills(replay: Replay) -> None:
    """No recording is used: the driver starts from the file, the seed and the models alone."""
    sessions = new_york_calendar().between(START, replay.last_day)
    bars = load_bars(WATCHLIST_DAILY, symbols=WATCHLIST).bars
    stored = {(row.cycle_id, row.symbol): row for row in replay.system.database.decisions(limit=1_000_000)}
    compared = 0

    def compare(inputs: Inputs, decision: Decision, _executions: list[Execution]) -> None:
        nonlocal compared
        for record in decision.records:
            row = stored[inputs.context.cycle_id, record.symbol]
            assert (record.reason.code, record.side, record.quantity, record.price) == (
                row.reason,
                row.side,
                row.quantity,
                row.price,
            ), (inputs.context.cycle_id, record.symbol)
            compared += 1

    plan = Plan(
        symbols=WATCHLIST,
        capital=Decimal(100_000),
        limits=RiskLimits(),
        policy=Policy(),
        costs=CostModel(),
        grain=Grain.CYCLE,
    )
    run(plan, DailyTape(bars, sessions, seed=SEED), replay.ai, observer=compare)
    assert compared == len(stored)
