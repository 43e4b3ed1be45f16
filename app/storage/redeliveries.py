"""How often a message came again because the process that had taken it died."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection, insert, select, update

from app.storage.tables import REDELIVERIES


def note(connection: Connection, message_id: str, *, task: str, at: datetime) -> int:
    """Counts one more; how many there have been."""
    query = select(REDELIVERIES.c.count).where(REDELIVERIES.c.message_id == message_id)
    known = connection.execute(query).scalar_one_or_none()
    if known is None:
        connection.execute(insert(REDELIVERIES).values(message_id=message_id, task=task, count=1, last_at=at))
        return 1
    change = update(REDELIVERIES).where(REDELIVERIES.c.message_id == message_id)
    connection.execute(change.values(count=known + 1, last_at=at))
    return int(known) + 1
