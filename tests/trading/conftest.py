"""One simulated exchange per test module, reset for each test."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.trading.exchange import Exchange, serve_exchange


@pytest.fixture(scope="module")
def served() -> Iterator[Exchange]:
    with serve_exchange() as exchange:
        yield exchange


@pytest.fixture
def exchange(served: Exchange) -> Exchange:
    served.reset()
    served.move(advance_seconds=600)
    return served


@pytest.fixture
def ledger_database(database: Database) -> DatabaseService:
    """An empty ledger, once on each database."""
    return DatabaseService(database, WallClock())
