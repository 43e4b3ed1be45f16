"""An empty ledger for each test."""

from __future__ import annotations

import pytest

from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.storage.database import Database


@pytest.fixture
def ledger(database: Database) -> DatabaseService:
    """Once on each database."""
    return DatabaseService(database, WallClock())
