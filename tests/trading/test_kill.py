"""The kill switch on a real exchange: no new risk within seconds, whatever else is broken (K01, J09)."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from app.domain.errors import Conflict
from app.domain.order import ValidatedOrder, VenueOrder
from app.domain.trading_state import TradingState
from app.risk.limits import RiskLimits
from app.services.database_service import DatabaseService
from app.services.guard.kill_switch import KillSwitch
from app.services.risk_manager import RiskManager
from app.storage.database import Database
from tests.databases import HandClock
from tests.trading.exchange import SYMBOLS, Exchange, System, build_system, scripted

RISING = dict.fromkeys(SYMBOLS, 0.03)
OPEN = {"new", "held", "accepted", "partially_filled", "pending_cancel"}


def resting(exchange: Exchange, side: str) -> list[dict[str, Any]]:
    return [order for order in exchange.ledger()["orders"] if order["side"] == side and order["status"] in OPEN]


def buys(exchange: Exchange) -> int:
    return sum(order["side"] == "buy" for order in exchange.ledger()["orders"])


def switch(system: System) -> KillSwitch:
    return KillSwitch(risk=system.risk, venue=system.venue, sleep=lambda _: None)


def trader(*words: str, exchange: Exchange, directory: Path) -> tuple[int, str]:
    """`trader risk ...` as its own process, on ledger.db; its exit code and what it printed."""
    environment = os.environ | {
        "STATE_DIR": str(directory),
        "LOGS_DIR": str(directory / "logs"),
        "DATABASE_URL": f"sqlite:///{directory / 'ledger.db'}",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "ALPACA_TRADING_URL": exchange.url,
        "ALPACA_DATA_URL": exchange.url,
        "ALPACA_API_KEY": "k",
        "ALPACA_API_SECRET": "s",
        "COLUMNS": "160",
    }
    command = [sys.executable, "-m", "app.cli", "risk", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


@pytest.mark.row("J09")
def test_entries_go_at_once_and_nothing_new_comes_until_a_person_says_why(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    assert system.trading.run_cycle().orders == len(resting(exchange, "buy")) == 7
    report = switch(system).engage("ann", "odd fills")
    assert (report.file_written, report.recorded, len(report.cancelled), report.faults) == (True, True, 7, ())
    assert resting(exchange, "buy") == []
    assert (tmp_path / "KILL").read_text() == "ann: odd fills\n"
    state = ledger_database.risk_state()
    assert state is not None and (state.trading_state, state.cause, state.actor) == (TradingState.HALTED, "killed", "ann")

    restarted = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    exchange.step()
    assert [report.orders for report in restarted.cycles(2)] == [0, 0]
    with pytest.raises(Conflict, match="say why"):
        restarted.risk.resume("bob")
    restarted.risk.resume("bob", "looked at every fill")
    assert not (tmp_path / "KILL").exists()
    event = ledger_database.risk_events(1)[0]
    assert (event.actor, event.detail, event.trading_state) == ("bob", "looked at every fill", "ACTIVE")
    assert restarted.cycles(1)[0].orders > 0


def test_protective_exits_stay(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    system.cycles(4)
    held = ledger_database.portfolio().positions
    assert held
    before = {order["id"] for order in resting(exchange, "sell")}
    switch(system).engage("ann", "enough")
    system.cycles(2)
    protected = {order["symbol"] for order in resting(exchange, "sell")}
    assert set(held) <= protected
    assert {order["id"] for order in resting(exchange, "sell")} <= before


@pytest.mark.row("J09")
@pytest.mark.parametrize("moment", [0, 3])
def test_a_file_put_there_in_the_middle_of_a_batch_stops_the_rest(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path, moment: int
) -> None:
    class KilledMeanwhile:
        def __init__(self, broker: Any) -> None:
            self._broker, self.sent = broker, 0

        def __getattr__(self, name: str) -> Any:
            return getattr(self._broker, name)

        def submit(self, validated: ValidatedOrder) -> VenueOrder:
            self.sent += 1
            if self.sent == moment:
                (tmp_path / "KILL").write_text("by hand")
            return self._broker.submit(validated)

        def clock(self) -> Any:
            if moment == 0:
                (tmp_path / "KILL").write_text("by hand")
            return self._broker.clock()

    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING), wrap=KilledMeanwhile)
    report = system.trading.run_cycle()
    assert (report.outcome, report.orders, buys(exchange)) == ("completed", moment, moment)
    assert system.cycles(1)[0].outcome in {"already_done", "completed"}
    (again,) = system.cycles(1)
    assert (again.orders, buys(exchange)) == (0, moment)
    assert resting(exchange, "buy") == []
    state = ledger_database.risk_state()
    assert state is not None and (state.trading_state, state.cause) == (TradingState.HALTED, "killed")


def test_an_entry_that_was_on_its_way_when_entries_were_forbidden_is_taken_back_by_its_sender(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    class KilledOnTheWay:
        def __init__(self, broker: Any) -> None:
            self._broker = broker

        def __getattr__(self, name: str) -> Any:
            return getattr(self._broker, name)

        def submit(self, validated: ValidatedOrder) -> VenueOrder:
            answer = self._broker.submit(validated)
            (tmp_path / "KILL").write_text("by hand")
            return answer

    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING), wrap=KilledOnTheWay)
    assert (system.trading.run_cycle().orders, buys(exchange)) == (1, 1)
    assert resting(exchange, "buy") == []


def test_a_watching_process_cancels_by_itself(exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    system.trading.run_cycle()
    over = switch(system).watch()
    time.sleep(0.1)
    (tmp_path / "KILL").write_text("a person's own words")
    deadline = time.monotonic() + 10
    while resting(exchange, "buy") and time.monotonic() < deadline:
        time.sleep(0.05)
    over.set()
    assert resting(exchange, "buy") == []


@pytest.mark.row("J09")
def test_a_locked_database_holds_nothing_up(exchange: Exchange, tmp_path: Path, sqlite_template: Path) -> None:
    """From the command line, without a queue, while another process holds the database for good."""
    file = tmp_path / "ledger.db"
    file.write_bytes(sqlite_template.read_bytes())
    ledger = DatabaseService(Database(f"sqlite:///{file}", busy_timeout_seconds=2.0), HandClock())
    system = build_system(exchange, ledger, tmp_path, forecaster=scripted(tmp_path, RISING))
    system.trading.run_cycle()
    holder = sqlite3.connect(file, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    started = time.monotonic()
    code, out = trader("kill", "--reason", "everything is on fire", exchange=exchange, directory=tmp_path)
    assert code == 0, out
    assert time.monotonic() - started < 60  # seconds of it are Python starting; on its own it takes about six
    assert "entries cancelled: 7" in out and "not yet" in out
    assert resting(exchange, "buy") == []
    holder.rollback()
    exchange.step()
    (report,) = system.cycles(1)
    assert (report.outcome, report.orders) == ("completed", 0)
    state = ledger.risk_state()
    assert state is not None and state.cause == "killed"
    ledger.close()


def test_books_that_begin_beside_a_persons_positions_begin_halted(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    """R08, the risk side."""
    assert exchange.order(symbol="AAPL", qty="5", side="buy", type="market", time_in_force="day").ok
    exchange.step()
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    assert [report.orders for report in system.cycles(2)] == [0, 0]
    state = ledger_database.risk_state()
    assert state is not None and (state.trading_state, state.cause) == (TradingState.HALTED, "books_lost")
    system.risk.resume("ann", "these are mine")
    assert system.cycles(1)[0].orders > 0


def test_the_status_shows_limits_breakers_and_the_kill_file(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, RISING))
    assert system.risk.status()["trading_state"] == "NOT_STARTED"
    system.cycles(3)
    status = system.risk.status()
    assert status["trading_state"] == "ACTIVE" and status["kill_file"] is None
    assert {row["breaker"]: row["tripped"] for row in status["breakers"]} == dict.fromkeys(
        (
            "daily_loss",
            "hard_daily_loss",
            "equity_unreliable",
            "connectivity",
            "venue_errors",
            "clock_skew",
            "stale_data",
            "extreme_volatility",
        ),
        False,
    )
    assert all(row["reading"] is not None for row in status["breakers"])
    assert 0 < status["left"]["hard_daily_loss"] <= 0.04
    system.risk.kill_file.write("x")
    assert system.risk.status()["kill_file"] == "x"


def test_a_venue_that_fails_loses_the_right_to_entries(
    exchange: Exchange, ledger_database: DatabaseService, tmp_path: Path
) -> None:
    system = build_system(exchange, ledger_database, tmp_path, forecaster=scripted(tmp_path, {}))
    system.cycles(1)
    risk = RiskManager(database=ledger_database, limits=RiskLimits(), state_dir=tmp_path, clock=HandClock())
    risk.venue_lost("no answer")
    state = ledger_database.risk_state()
    assert state is not None and (state.trading_state, state.cause) == (TradingState.REDUCING, "connectivity")
    scripted(tmp_path, RISING)
    (report,) = system.cycles(1)  # it answers again
    assert report.orders == 7


def test_the_drill_proves_every_breaker_and_writes_nothing(exchange: Exchange, tmp_path: Path, sqlite_template: Path) -> None:
    file = tmp_path / "ledger.db"
    file.write_bytes(sqlite_template.read_bytes())
    ledger = DatabaseService(Database(f"sqlite:///{file}"), HandClock())
    system = build_system(exchange, ledger, tmp_path, forecaster=scripted(tmp_path, RISING))
    system.cycles(2)
    with sqlite3.connect(file) as connection:
        before, orders = list(connection.iterdump()), exchange.ledger()["orders"]
        code, out = trader("drill", exchange=exchange, directory=tmp_path)
        assert code == 0, out
        assert list(connection.iterdump()) == before
    assert exchange.ledger()["orders"] == orders
    assert "FLATTENING (hard_daily_loss)" in out and "NO" not in out.split()
    ledger.close()
