"""How long messages and tasks have waited."""

from __future__ import annotations

from prometheus_client import REGISTRY

from app.services.guard.backlog import Backlog
from app.storage.database import StorageUnavailable


def told(mode: str) -> list[float | None]:
    names = ("outbox_messages", "outbox_wait_seconds", "tasks_waiting", "task_wait_seconds")
    return [REGISTRY.get_sample_value(f"alpha_trader_{name}", {"mode": mode}) for name in names]


def test_what_waits_is_counted_and_its_age_told(ledger, hand_clock, database):
    backlog = Backlog(ledger, clock=hand_clock, mode=database.url.drivername)
    backlog.look()
    assert told(database.url.drivername) == [0, 0, 0, 0]
    ledger.enqueue_alert("cycle", "first")
    begun = ledger.create_task("train", {})
    hand_clock.forward(60)
    ledger.enqueue_alert("cycle", "second")
    ledger.create_task("train", {})
    ledger.start_task(begun)
    hand_clock.forward(30)
    backlog.look()
    assert told(database.url.drivername) == [2, 90, 1, 30]
    for message in ledger.outbox_pending():
        ledger.outbox_sent(message.id)
    backlog.look()
    assert told(database.url.drivername) == [0, 0, 1, 30]


def test_without_the_database_the_last_reading_stands(hand_clock):
    class Gone:
        def outbox_pending(self, limit: int) -> list[object]:
            raise StorageUnavailable("gone")

    Backlog(Gone(), clock=hand_clock, mode="test-backlog").look()  # type: ignore[arg-type]
    assert told("test-backlog") == [None] * 4
