"""What moved money or shares besides our executions: each entry of the venue booked once, with everything that hangs on it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, insert, select

from app.domain.activity import Activity, ActivityKind
from app.domain.audit import Kind
from app.domain.errors import Conflict
from app.domain.portfolio import Position
from app.storage import audit, outbox, portfolio, position_plans, risk_states
from app.storage.tables import CASH_ENTRIES

_ENTRY = [column for column in CASH_ENTRIES.c if column.name not in ("effective_at", "booked_at")]


def unknown(connection: Connection, offered: Iterable[Activity]) -> list[Activity]:
    """Those that are not booked, each once."""
    by_id = {entry.activity_id: entry for entry in offered}
    known = select(CASH_ENTRIES.c.activity_id).where(CASH_ENTRIES.c.activity_id.in_(by_id))
    for name in connection.execute(known).scalars():
        del by_id[name]
    return list(by_id.values())


def keep_as_opening(connection: Connection, entries: Iterable[Activity], *, at: datetime) -> None:
    """Notes what the opening cash and holdings contain already, so that it is never booked again."""
    rows = [_row(entry, None, at) for entry in unknown(connection, entries)]
    if rows:
        connection.execute(insert(CASH_ENTRIES), rows)


def book(connection: Connection, offered: Iterable[Activity], *, at: datetime) -> list[Activity]:
    """Books what is new: cash and positions, the baseline and the peak of the risk state, and a message each. An entry dated
    before the books were opened that turned up later counts from the opening on. Conflict before `open_account`."""
    new = unknown(connection, offered)
    if not new:
        return []
    opened = portfolio.account(connection)
    if opened is None:
        raise Conflict("no account has been opened in this database yet", code="no_account")
    connection.execute(insert(CASH_ENTRIES), [_row(entry, max(entry.at, opened.opened_at), at) for entry in new])
    before, after = portfolio.refold(connection)
    moved = sum((entry.moved for entry in new), Decimal(0))
    if moved:
        risk_states.move_by_transfer(connection, moved, at=at)
    split = {entry.symbol for entry in new if entry.kind is ActivityKind.SPLIT and entry.symbol is not None}
    _rebase(connection, split, before.positions, after.positions)
    for entry in new:
        audit.record(connection, Kind.RECONCILED, {"entry": entry}, at=entry.at, symbol=entry.symbol)
        outbox.enqueue(connection, "alert", _told(entry, before.positions, after.positions), {"entry": entry.activity_id}, at)
    return new


def listing(connection: Connection, since: datetime) -> Sequence[Activity]:
    """Entries dated at or after `since`, those in the opening too, oldest first."""
    query = select(*_ENTRY).where(CASH_ENTRIES.c.at >= since).order_by(CASH_ENTRIES.c.at, CASH_ENTRIES.c.activity_id)
    return [Activity(**row) for row in connection.execute(query).mappings()]


def _rebase(
    connection: Connection, split: Iterable[str], before: Mapping[str, Position], after: Mapping[str, Position]
) -> None:
    """Brings the plans of holdings over their splits: stops and targets are prices of the units there were."""
    for symbol in split:
        if symbol in before and symbol in after:
            position_plans.rebase(connection, symbol, after[symbol].quantity / before[symbol].quantity)


def _told(entry: Activity, before: Mapping[str, Position], after: Mapping[str, Position]) -> str:
    if entry.symbol is None or not entry.quantity:
        return f"The venue booked: {entry}"
    was, now = (held[entry.symbol].quantity if entry.symbol in held else Decimal(0) for held in (before, after))
    what = f"{entry.symbol}: {was.normalize():f} units are now {now.normalize():f}"
    if entry.kind is ActivityKind.SPLIT and was and now:
        what += f"; what they cost and their stops are divided by {(now / was).normalize():f}"
    return f"{what}. The venue booked: {entry}"


def _row(entry: Activity, effective_at: datetime | None, at: datetime) -> dict[str, Any]:
    values = {column.name: getattr(entry, column.name) for column in _ENTRY}
    return {**values, "effective_at": effective_at, "booked_at": at}
