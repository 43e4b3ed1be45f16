"""`trader divergence` as a process of its own, on a database that a session on the exchange left behind."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.trading.exchange import SYMBOLS, build_system, scripted, serve_exchange


def trader(*words: str, url: str, directory: Path) -> tuple[int, str]:
    environment = os.environ | {
        "STATE_DIR": str(directory),
        "LOGS_DIR": str(directory / "logs"),
        "DATABASE_URL": f"sqlite:///{directory / 'ledger.db'}",
        "REDIS_URL": "redis://127.0.0.1:1/0",
        "ALPACA_TRADING_URL": url,
        "ALPACA_DATA_URL": url,
        "ALPACA_API_KEY": "k",
        "ALPACA_API_SECRET": "s",
        "FORECASTS_FILE": str(directory / "forecasts.csv"),
        "COLUMNS": "200",
    }
    command = [sys.executable, "-m", "app.cli", "divergence", *words]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=200, check=False)
    return done.returncode, " ".join((done.stdout + done.stderr).split())


@pytest.mark.processes
def test_the_command_tells_and_exits(tmp_path: Path) -> None:
    database = DatabaseService(Database(f"sqlite:///{tmp_path / 'ledger.db'}"), WallClock())
    database.migrate()
    with serve_exchange() as exchange:
        exchange.move(advance_seconds=600)
        scripted(tmp_path, dict.fromkeys(SYMBOLS, 0.03))
        code, said = trader(url=exchange.url, directory=tmp_path)
        assert (code, "no cycle decided" in said) == (1, True), said
        system = build_system(exchange, database, tmp_path, forecaster=scripted(tmp_path, dict.fromkeys(SYMBOLS, 0.03)))
        system.cycles(3)
        system.trading.reconcile()
        code, said = trader(url=exchange.url, directory=tmp_path)
        assert (code, "every decision comes out the same" in said) == (0, True), said
        assert "3 cycles, 36 decisions" in said
        scripted(tmp_path, dict.fromkeys(SYMBOLS, -0.03))  # as if the models had changed under their name
        code, said = trader("--from", "2024-01-02", "--to", "2024-01-02", url=exchange.url, directory=tmp_path)
        assert (code, "decisions differ" in said, "signal" in said) == (1, True, True), said
        code, said = trader("--from", "yesterday", url=exchange.url, directory=tmp_path)
        assert (code, "not a date: yesterday" in said) == (1, True), said
    database.close()
