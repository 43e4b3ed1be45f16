"""Messages to people, committed together with what they tell and delivered later, at least once."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, insert, select, update

from app.domain.errors import NotFound
from app.domain.records import OutboxMessage
from app.storage.tables import OUTBOX

MAX_ATTEMPTS = 10


def enqueue(connection: Connection, kind: str, message: str, payload: Mapping[str, Any], at: datetime) -> None:
    """Adds a message to be delivered once this transaction is committed."""
    connection.execute(
        insert(OUTBOX).values(
            kind=kind, message=message, payload=dict(payload), created_at=at, sent_at=None, attempts=0, error=None
        )
    )


def pending(connection: Connection, limit: int) -> list[OutboxMessage]:
    """Undelivered messages, oldest first; those that failed MAX_ATTEMPTS times are given up."""
    query = (
        select(OUTBOX).where(OUTBOX.c.sent_at.is_(None), OUTBOX.c.attempts < MAX_ATTEMPTS).order_by(OUTBOX.c.id).limit(limit)
    )
    rows = connection.execute(query).mappings()
    return [OutboxMessage(**{name: value for name, value in row.items() if name != "sent_at"}) for row in rows]


def mark_sent(connection: Connection, message_id: int, at: datetime) -> None:
    """Records the delivery. Raises NotFound."""
    _change(connection, message_id, sent_at=at, error=None)


def mark_failed(connection: Connection, message_id: int, error: str) -> None:
    """Counts a failed delivery. Raises NotFound."""
    _change(connection, message_id, attempts=OUTBOX.c.attempts + 1, error=error)


def _change(connection: Connection, message_id: int, **values: Any) -> None:
    if connection.execute(update(OUTBOX).where(OUTBOX.c.id == message_id).values(**values)).rowcount != 1:
        raise NotFound(f"no outbox message {message_id}")
