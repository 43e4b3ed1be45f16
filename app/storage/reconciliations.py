"""Comparisons of our books with the venue's: what was adopted, explained, and left without an explanation."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlalchemy import Connection, insert, select

from app.domain.audit import Kind
from app.domain.records import ReconciliationRecord
from app.storage import audit
from app.storage.tables import RECONCILIATIONS

Rows = Sequence[Mapping[str, str]]


def add(
    connection: Connection,
    *,
    at: datetime,
    recorded_at: datetime,
    trigger: str,
    fills: int,
    adopted: Rows,
    explained: Rows,
    unexplained: Rows,
) -> bool:
    """Writes one down; whether its unexplained rows are others than those of the one before."""
    before = latest(connection)
    connection.execute(
        insert(RECONCILIATIONS).values(
            at=at,
            recorded_at=recorded_at,
            trigger=trigger,
            fills=fills,
            adopted=list(adopted),
            explained=list(explained),
            unexplained=list(unexplained),
        )
    )
    is_new = list(unexplained) != (list(before.unexplained) if before else [])
    if adopted or is_new:
        told = {"trigger": trigger, "found": list(adopted), "unexplained": list(unexplained)}
        audit.record(connection, Kind.RECONCILED, {"comparison": told}, at=at)
    return is_new


def latest(connection: Connection) -> ReconciliationRecord | None:
    """The last one."""
    return next(iter(listing(connection, 1)), None)


def listing(connection: Connection, limit: int) -> list[ReconciliationRecord]:
    """Newest first."""
    rows = connection.execute(select(RECONCILIATIONS).order_by(RECONCILIATIONS.c.id.desc()).limit(limit)).mappings()
    return [ReconciliationRecord(**row) for row in rows]
