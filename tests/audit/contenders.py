"""What the processes of the chain's tests do; in a file of its own, since they import it afresh."""

from __future__ import annotations

from app.domain.audit import Kind
from app.services.database_service import DatabaseService
from app.storage import audit
from app.storage.database import Database
from tests.databases import HandClock


def write_events(url: str, name: str, count: int) -> int:
    database = Database(url)
    DatabaseService(database, HandClock())
    for _ in range(count):
        database.write(lambda c: audit.record(c, Kind.SEEN, {"by": name}))
    database.close()
    return count
