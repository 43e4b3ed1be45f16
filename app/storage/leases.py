"""Leases: which process alone may do a piece of work, with a fence that tells a late owner from the present one."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, insert, select, update

from app.domain.records import Lease
from app.storage.tables import LEASES

NOBODY = ""


def take(
    connection: Connection, name: str, *, owner: str, now: datetime, patience: timedelta, is_alive: Callable[[str], bool]
) -> int | None:
    """The fence of a new lease; None while somebody else holds it: alive, as far as that can be told, and renewed within
    `patience`. A renewal that lies ahead of `now` (a clock was set back) counts for as long again and no longer."""
    held = one(connection, name)
    if held is None:
        values = {"name": name, "owner": owner, "fence": 1, "taken_at": now, "renewed_at": now, "status": {}}
        connection.execute(insert(LEASES).values(**values))
        return 1
    if held.owner not in (NOBODY, owner) and abs(now - held.renewed_at) < patience and is_alive(held.owner):
        return None
    change = update(LEASES).where(LEASES.c.name == name)
    connection.execute(change.values(owner=owner, fence=held.fence + 1, taken_at=now, renewed_at=now, status={}))
    return held.fence + 1


def renew(connection: Connection, name: str, *, fence: int, now: datetime, status: Mapping[str, Any]) -> bool:
    """Whether the lease with this fence still stands; it does for another while then."""
    change = update(LEASES).where(LEASES.c.name == name, LEASES.c.fence == fence)
    return connection.execute(change.values(renewed_at=now, status=dict(status))).rowcount == 1


def release(connection: Connection, name: str, *, fence: int) -> None:
    """Gives it back, if it still stands."""
    connection.execute(update(LEASES).where(LEASES.c.name == name, LEASES.c.fence == fence).values(owner=NOBODY))


def one(connection: Connection, name: str) -> Lease | None:
    """The lease as it stands, None if nobody ever took it."""
    row = connection.execute(select(LEASES).where(LEASES.c.name == name)).mappings().one_or_none()
    return Lease(**row) if row is not None else None
