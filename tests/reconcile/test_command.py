"""`trader reconcile` as a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.trading.exchange import Exchange


def trader(*words: str, exchange: Exchange, directory: Path) -> tuple[int, str]:
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
    command = [sys.executable, "-m", "app.cli", "reconcile", *words]
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, timeout=120, check=False)
    return done.returncode, done.stdout


def test_a_dry_run_shows_and_a_run_books(exchange: Exchange, tmp_path: Path) -> None:
    code, said = trader(exchange=exchange, directory=tmp_path)
    assert (code, "the books agree" in said) == (0, True)
    assert exchange.order(symbol="AAPL", qty="5", side="buy", type="market", time_in_force="day").ok
    exchange.step()
    exchange.enter("DIV", "1.50", symbol="AAPL")
    exchange.fault(what="patch", path="/v2/positions", patch=[], times=1)
    code, said = trader("--dry-run", exchange=exchange, directory=tmp_path)
    assert code == 1
    assert "fills to be booked: 1" in said
    assert "dividend AAPL +1.50 in cash" in said
    assert ["AAPL", "5", "0", "-5"] in [line.split() for line in said.splitlines()]
    exchange.mend()
    database = DatabaseService(Database(f"sqlite:///{tmp_path / 'ledger.db'}"), WallClock())
    assert database.fills() == []
    code, said = trader(exchange=exchange, directory=tmp_path)
    assert (code, "fills booked: 1" in said) == (0, True)
    assert len(database.fills()) == 1
    database.close()
