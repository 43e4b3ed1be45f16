"""One simulated exchange for all rows of a process, reset for each."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.databases import HandClock
from tests.faults.bench import Bench
from tests.notify.conftest import webhook  # noqa: F401 - a channel that fails in every way
from tests.trading.exchange import Exchange, serve_exchange


@pytest.fixture(scope="session")
def served_exchange() -> Iterator[Exchange]:
    with serve_exchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(served_exchange: Exchange) -> Exchange:
    served_exchange.reset(start="2024-01-02")  # some rows have days of their own
    served_exchange.move(advance_seconds=600)
    return served_exchange


@pytest.fixture
def sqlite_ledger(sqlite_template: Path, tmp_path: Path) -> Iterator[DatabaseService]:
    shutil.copyfile(sqlite_template, tmp_path / "ledger.db")
    database = Database(f"sqlite:///{tmp_path / 'ledger.db'}", busy_timeout_seconds=2.0)
    yield DatabaseService(database, HandClock())
    database.close()


@pytest.fixture
def bench(exchange: Exchange, sqlite_ledger: DatabaseService, tmp_path: Path) -> Iterator[Bench]:
    bench = Bench(exchange, sqlite_ledger, tmp_path)
    yield bench
    bench.mend()
