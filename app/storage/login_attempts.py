"""How often logins were tried lately, counted for all processes together."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlalchemy import Connection, delete, insert, select, update

from app.storage.tables import LOGIN_ATTEMPTS

_column = LOGIN_ATTEMPTS.c


def refused_until(connection: Connection, limits: Mapping[str, int], now: datetime, window: timedelta) -> datetime | None:
    """When the next attempt may be made, None: now. limits: attempts allowed in a window, by key."""
    rows = connection.execute(select(LOGIN_ATTEMPTS).where(_column.key.in_(list(limits)), _column.began_at > now - window))
    waits = [row.began_at + window for row in rows if row.tried >= limits[row.key]]
    return max(waits, default=None)


def count(connection: Connection, limits: Mapping[str, int], now: datetime, window: timedelta) -> datetime | None:
    """Counts an attempt under every key before it is made, so that many at once cannot pass together; or refuses it, then
    nothing is counted."""
    # A window that lies ahead (a clock was set back) would last for ever.
    connection.execute(delete(LOGIN_ATTEMPTS).where((_column.began_at <= now - window) | (_column.began_at > now + window)))
    until = refused_until(connection, limits, now, window)
    if until is not None:
        return until
    for key in limits:
        if not connection.execute(update(LOGIN_ATTEMPTS).where(_column.key == key).values(tried=_column.tried + 1)).rowcount:
            connection.execute(insert(LOGIN_ATTEMPTS).values(key=key, tried=1, began_at=now))
    return None


def forgive(connection: Connection, keys: list[str]) -> None:
    """The attempt was a success: it does not count."""
    connection.execute(update(LOGIN_ATTEMPTS).where(_column.key.in_(keys), _column.tried > 0).values(tried=_column.tried - 1))
