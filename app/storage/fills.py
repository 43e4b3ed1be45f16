"""Executions: each booked once, whatever the order or number of reports."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, RowMapping, distinct, func, insert, select

from app.domain.audit import Kind
from app.domain.order import Fill, Purpose, Side
from app.domain.records import EntryOrder, FillRecord
from app.runtime.failpoint import reach
from app.storage import audit, order_reports, outbox, portfolio
from app.storage.tables import FILLS, INTENTS, VENUE_ORDER_IDS

_FILL = [column for column in FILLS.c if column.name != "booked_at"]
_NAMES_PER_QUERY = 5_000  # databases take only so many parameters


def book(connection: Connection, fills: Sequence[Fill], *, at: datetime) -> list[Fill]:
    """Books what is new: the execution, its order, cash and position, and a message; see `DatabaseService.book_fills`."""
    new = sorted(unknown(connection, fills), key=portfolio.fill_key)
    if not new:
        return []
    _tell(connection, new)
    portfolio.fold(connection, new)
    connection.execute(insert(FILLS), [{**_values(fill), "booked_at": at} for fill in new])
    reach("in_fill_booking")
    restated = {fill.venue_order_id for fill in new if fill.reverses is not None}
    for venue_order_id in dict.fromkeys(fill.venue_order_id for fill in new):
        order_reports.apply_fills(connection, venue_order_id, at=at, restated=venue_order_id in restated)
    opened = portfolio.account(connection)
    for fill in new:
        if opened is not None and fill.filled_at < opened.opened_at:
            continue  # history, and no news
        outbox.enqueue(connection, "fill" if fill.reverses is None else "alert", _told(fill), _values(fill), at)
    return new


def _tell(connection: Connection, new: Sequence[Fill]) -> None:
    """Each execution to the audit log, under the order it belongs to where we know it."""
    ids = {fill.venue_order_id for fill in new}
    query = select(INTENTS.c.client_order_id, INTENTS.c.cycle_id, VENUE_ORDER_IDS.c.venue_order_id)
    query = query.join(VENUE_ORDER_IDS, VENUE_ORDER_IDS.c.client_order_id == INTENTS.c.client_order_id)
    rows = connection.execute(query.where(VENUE_ORDER_IDS.c.venue_order_id.in_(ids))).all()
    owners = {row.venue_order_id: row for row in rows}
    for fill in new:
        owner = owners.get(fill.venue_order_id)
        audit.record(
            connection,
            Kind.FILLED,
            {"fill": _values(fill)},
            at=fill.filled_at,
            cycle_id=owner.cycle_id if owner else None,
            client_order_id=owner.client_order_id if owner else None,
            venue_order_id=fill.venue_order_id,
            execution_id=fill.execution_id,
            symbol=fill.symbol,
        )


def unknown(connection: Connection, offered: Sequence[Fill]) -> list[Fill]:
    """Those that are not booked, each once."""
    by_id = {fill.execution_id: fill for fill in offered}
    names = list(by_id)
    for start in range(0, len(names), _NAMES_PER_QUERY):
        some = names[start : start + _NAMES_PER_QUERY]
        for known in connection.execute(select(FILLS.c.execution_id).where(FILLS.c.execution_id.in_(some))).scalars():
            del by_id[known]
    return list(by_id.values())


def since(connection: Connection, at: datetime) -> list[Fill]:
    """Executions at or after `at`, oldest first."""
    rows = connection.execute(select(*_FILL).where(FILLS.c.filled_at >= at)).mappings()
    return sorted((Fill(**row) for row in rows), key=portfolio.fill_key)


def of_unknown_orders(connection: Connection, since: datetime) -> dict[str, datetime]:
    """Venue ids of orders we do not know that had executions since then, each with the time of the first."""
    known = select(VENUE_ORDER_IDS.c.venue_order_id)
    query = select(FILLS.c.venue_order_id, func.min(FILLS.c.filled_at)).group_by(FILLS.c.venue_order_id)
    rows = connection.execute(query.where(FILLS.c.filled_at >= since, FILLS.c.venue_order_id.not_in(known)))
    return {row[0]: row[1] for row in rows}


def listing(connection: Connection, *, limit: int, symbol: str | None) -> list[FillRecord]:
    """Newest first, each with the order it belongs to."""
    query = (
        select(*_FILL, INTENTS.c.client_order_id, INTENTS.c.purpose, INTENTS.c.reason, INTENTS.c.origin)
        .outerjoin(VENUE_ORDER_IDS, VENUE_ORDER_IDS.c.venue_order_id == FILLS.c.venue_order_id)
        .outerjoin(INTENTS, INTENTS.c.client_order_id == VENUE_ORDER_IDS.c.client_order_id)
        .order_by(FILLS.c.filled_at.desc(), FILLS.c.execution_id.desc())
        .limit(limit)
    )
    if symbol is not None:
        query = query.where(FILLS.c.symbol == symbol)
    return [_record(row) for row in connection.execute(query).mappings()]


def value_since(connection: Connection, since: datetime) -> dict[Side, Decimal]:
    """Value of the executions since then, by side."""
    values: dict[Side, Decimal] = {}
    for side, quantity, price in connection.execute(
        select(FILLS.c.side, FILLS.c.quantity, FILLS.c.price).where(FILLS.c.filled_at >= since)
    ):
        values[side] = values.get(side, Decimal(0)) + quantity * price
    return values


def orders_filled(connection: Connection, since: datetime) -> tuple[dict[str, int], dict[str, int]]:
    """Per symbol, how many entry and how many exit orders had an execution since then. Executions of orders we do not
    know count by their side."""
    name = func.coalesce(VENUE_ORDER_IDS.c.client_order_id, FILLS.c.venue_order_id)
    query = (
        select(FILLS.c.symbol, FILLS.c.side, INTENTS.c.purpose, func.count(distinct(name)))
        .outerjoin(VENUE_ORDER_IDS, VENUE_ORDER_IDS.c.venue_order_id == FILLS.c.venue_order_id)
        .outerjoin(INTENTS, INTENTS.c.client_order_id == VENUE_ORDER_IDS.c.client_order_id)
        .where(FILLS.c.filled_at >= since, FILLS.c.reverses.is_(None))
        .group_by(FILLS.c.symbol, FILLS.c.side, INTENTS.c.purpose)
    )
    entries: dict[str, int] = {}
    exits: dict[str, int] = {}
    for symbol, side, purpose, count in connection.execute(query):
        is_entry = purpose is Purpose.ENTRY or (purpose is None and side is Side.BUY)
        counter = entries if is_entry else exits
        counter[symbol] = counter.get(symbol, 0) + count
    return entries, exits


def last_entries(connection: Connection, symbols: Collection[str]) -> list[EntryOrder]:
    """The entry of each symbol, decided by a cycle, that had the last execution."""
    last = func.max(FILLS.c.filled_at)
    query = (
        select(INTENTS.c.client_order_id, INTENTS.c.cycle_id, INTENTS.c.symbol, last.label("filled_at"))
        .join(VENUE_ORDER_IDS, VENUE_ORDER_IDS.c.client_order_id == INTENTS.c.client_order_id)
        .join(FILLS, FILLS.c.venue_order_id == VENUE_ORDER_IDS.c.venue_order_id)
        .where(INTENTS.c.purpose == Purpose.ENTRY, INTENTS.c.cycle_id.is_not(None), INTENTS.c.symbol.in_(sorted(symbols)))
        .group_by(INTENTS.c.client_order_id, INTENTS.c.cycle_id, INTENTS.c.symbol)
        .order_by(last)
    )
    return list({row["symbol"]: EntryOrder(**row) for row in connection.execute(query).mappings()}.values())


def _told(fill: Fill) -> str:
    what = f"{fill.quantity.normalize():f} {fill.symbol} at {fill.price.normalize():f}"
    if fill.reverses is not None:
        return f"The venue took back execution {fill.reverses}: {what}"
    return f"{'Bought' if fill.side is Side.BUY else 'Sold'} {what}"


def _values(fill: Fill) -> dict[str, Any]:
    return {column.name: getattr(fill, column.name) for column in _FILL}


def _record(row: RowMapping) -> FillRecord:
    return FillRecord(
        fill=Fill(**{column.name: row[column.name] for column in _FILL}),
        client_order_id=row["client_order_id"],
        purpose=row["purpose"],
        reason=row["reason"],
        origin=row["origin"],
    )
