"""What the processes of the contention tests do; in a file of its own, since they import it afresh."""

from __future__ import annotations

import time
from decimal import Decimal

from app.services.database_service import DatabaseService
from app.storage.database import Database
from tests.databases import HandClock
from tests.storage.made import T0, after, fill

INTENTS = [f"n{i}" for i in range(20)]


def _open(url: str) -> DatabaseService:
    return DatabaseService(Database(url), HandClock())


def migrate(url: str) -> str:
    service = _open(url)
    service.migrate()
    service.ping()
    service.close()
    return "migrated"


def claim_intents(url: str) -> list[str]:
    service = _open(url)
    won = [name for name in INTENTS if service.claim_intent(name, cycle_id="c1", now=T0)]
    service.close()
    return won


def claim_cycle(url: str, cycle_id: str, owner: str) -> str:
    service = _open(url)
    outcome = service.claim_cycle(cycle_id, slot=T0, started_at=T0, owner=owner, trigger="schedule", is_alive=lambda _: True)
    service.close()
    return outcome


def write_for_a_while(url: str, name: str, seconds: float) -> tuple[int, float]:
    """Books one fill of ten shares at a time, each a read-then-write transaction; how many, and the longest wait."""
    service = _open(url)
    started, longest, count = time.monotonic(), 0.0, 0
    while time.monotonic() - started < seconds:
        before = time.monotonic()
        new = fill(f"{name}-{count}", f"v-{name}", filled_at=after(count), price=Decimal(1))
        assert len(service.book_fills([new])) == 1
        service.progress_task("t", count, 0, name)
        longest = max(longest, time.monotonic() - before)
        count += 1
    service.close()
    return count, longest
