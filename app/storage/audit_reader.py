"""The audit log read back: the chain checked, the story of an order, the books as the log tells them."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import fields, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, RowMapping, func, or_, select

from app.domain.audit import FIELDS, ORIGIN, Break, Event, Head, Kind, follow, instant
from app.domain.audit_book import AuditedBook, differences
from app.domain.errors import Conflict, NotFound
from app.storage import portfolio, risk_states
from app.storage.columns import plain
from app.storage.tables import AUDIT_HEAD, AUDIT_LOG, INTENTS

_EVENT = [AUDIT_LOG.c[item.name] for item in fields(Event)]
_CHAIN = ", ".join(("seq", *FIELDS, "previous", "hash"))
_ROWS_AT_ONCE = 2_000


def check(
    connection: Connection, anchors: Sequence[Head], *, first: int | None, last: int | None
) -> tuple[int, Head, Break | None]:
    """Walks the chain from event `first` to event `last`: events checked, the last that holds, and the first fault.
    The beginning, the end, and what files outside the database remember are checked as far as the range covers them."""
    after = _before(connection, first or 1)
    reached, fault = follow(_chain(connection, after.seq + 1, last), after)
    if fault is None and last is None:
        fault = _end(connection, reached)
    fault = fault or _lost(connection, after.seq, reached.seq)
    known = [head for head in anchors if after.seq < head.seq and (last is None or head.seq <= last)]
    return reached.seq - after.seq, reached, fault or _anchored(connection, known, reached)


def length(connection: Connection) -> int:
    """How many events the log has."""
    count: int = connection.execute(select(func.coalesce(func.max(AUDIT_LOG.c.seq), 0))).scalar_one()
    return count


def of_order(connection: Connection, name: str) -> tuple[str, list[Event]]:
    """The client order id, and every event about the order that has this id, ours or the venue's. Raises NotFound."""
    log = AUDIT_LOG.c
    query = select(log.client_order_id).where(or_(log.client_order_id == name, log.venue_order_id == name))
    found = connection.execute(query.where(log.client_order_id != "").limit(1)).scalar_one_or_none()
    own = found or name
    venue_ids = select(log.venue_order_id).where(log.client_order_id == own, log.venue_order_id != "").distinct()
    ids = {name, *connection.execute(venue_ids).scalars()}
    about = or_(log.client_order_id == own, (log.client_order_id == "") & log.venue_order_id.in_(ids))
    told = _events(connection, select(*_EVENT).where(about).order_by(log.seq))
    if not told:
        raise NotFound(f"the audit log knows no order {name}")
    return own, told


def by_number(connection: Connection, numbers: Collection[int]) -> list[Event]:
    """These events, by number."""
    return _events(connection, select(*_EVENT).where(AUDIT_LOG.c.seq.in_(numbers)).order_by(AUDIT_LOG.c.seq))


def adopted(connection: Connection, symbol: str, since: int) -> list[Event]:
    """Orders of a symbol that were taken over from the venue after event `since`."""
    log = AUDIT_LOG.c
    about = (log.kind == Kind.RECONCILED.value) & (log.symbol == symbol) & (log.client_order_id != "") & (log.seq > since)
    return _events(connection, select(*_EVENT).where(about).order_by(log.seq))


def book(connection: Connection, at: datetime | None) -> tuple[AuditedBook, tuple[str, ...]]:
    """The books as they stood at venue time `at` (None: now), and where the whole log and the ledger disagree now."""
    log = AUDIT_LOG.c
    cut = None
    if at is not None:
        cut = connection.execute(select(func.min(log.seq)).where(log.at > instant(at))).scalar_one()
    told, shown = AuditedBook(), AuditedBook() if cut == 1 else None
    query = select(log.seq, log.at, log.client_order_id, log.payload).order_by(log.seq)
    for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).execute(query):
        told.apply(row.seq, _instant(row.at), row.client_order_id, json.loads(row.payload))
        if cut is not None and row.seq == cut - 1:
            shown = _copy(told)
    return shown or told, differences(told, _kept(connection))


def _copy(book: AuditedBook) -> AuditedBook:
    return replace(book, orders={name: dict(order) for name, order in book.orders.items()})


def _kept(connection: Connection) -> AuditedBook:
    """The ledger in the shape of the log's book."""
    kept = AuditedBook()
    if portfolio.account(connection) is not None:
        ledger = portfolio.load(connection)
        kept.cash, kept.realized = ledger.cash, ledger.realized
        kept.positions = plain(ledger.positions)
    for row in connection.execute(select(INTENTS)).mappings():
        kept.orders[row["client_order_id"]] = plain(dict(row))
    state = risk_states.current(connection)
    kept.risk = None if state is None else {"trading_state": state.trading_state.name}
    return kept


def _before(connection: Connection, first: int) -> Head:
    if first <= 1:
        return Head(seq=0, hash=ORIGIN)
    found = connection.execute(select(AUDIT_LOG.c.hash).where(AUDIT_LOG.c.seq == first - 1)).scalar_one_or_none()
    if found is None:
        raise NotFound(f"the audit log has no event {first - 1}")
    return Head(seq=first - 1, hash=found)


def _chain(connection: Connection, first: int, last: int | None) -> Iterator[Sequence[Any]]:
    """Numbers, fields, previous and own hash; all but the number as bytes, even where they are no text any more."""
    query = f"SELECT {_CHAIN} FROM audit_log WHERE seq >= {int(first)}"  # noqa: S608 - constants and integers
    query += f" AND seq <= {int(last)} ORDER BY seq" if last is not None else " ORDER BY seq"
    if connection.dialect.name != "sqlite":
        for row in connection.execution_options(yield_per=_ROWS_AT_ONCE).exec_driver_sql(query):
            yield row[0], *[text.encode() for text in row[1:]]
        return
    driver: Any = connection.connection.driver_connection
    driver.text_factory = bytes
    try:
        yield from driver.execute(query)
    finally:
        driver.text_factory = str


def _end(connection: Connection, reached: Head) -> Break | None:
    head = connection.execute(select(AUDIT_HEAD.c.seq, AUDIT_HEAD.c.hash)).one_or_none()
    if head is None:
        return Break(seq=reached.seq, what="the head of the log is missing")
    if (head.seq, head.hash) == (reached.seq, reached.hash):
        return None
    return Break(
        seq=min(head.seq, reached.seq) + (head.seq != reached.seq),
        what=f"the log ends with event {reached.seq}, its head names event {head.seq} with {head.hash}",
    )


def _lost(connection: Connection, after: int, last: int) -> Break | None:
    log = AUDIT_LOG.c
    query = select(log.seq, log.payload).where(log.kind == Kind.LOST.value, log.seq > after, log.seq <= last)
    told = connection.execute(query.order_by(log.seq).limit(1)).one_or_none()
    return None if told is None else Break(seq=told.seq, what=f"event {told.seq} tells: {json.loads(told.payload)['detail']}")


def _anchored(connection: Connection, anchors: Iterable[Head], reached: Head) -> Break | None:
    """Whether the log still is what the file remembers."""
    for head in anchors:
        if head.seq > reached.seq:
            return Break(
                seq=reached.seq + 1,
                what=f"the log ends with event {reached.seq}, but event {head.seq} was committed: the end was cut off, or an "
                "older database was restored",
            )
        found = connection.execute(select(AUDIT_LOG.c.hash).where(AUDIT_LOG.c.seq == head.seq)).scalar_one_or_none()
        if found != head.hash:
            what = f"event {head.seq} has the hash {found}, but was committed with {head.hash}: it was rewritten"
            return Break(seq=head.seq, what=what)
    return None


def _events(connection: Connection, query: Any) -> list[Event]:
    return [_event(row) for row in connection.execute(query).mappings()]


def _event(row: RowMapping) -> Event:
    values = dict(row)
    try:
        values["payload"] = json.loads(values["payload"])
        values["causation_id"] = int(values["causation_id"]) if values["causation_id"] else None
        values["at"] = _instant(values["at"])
        values["recorded_at"] = datetime.fromisoformat(values["recorded_at"])
    except ValueError:
        raise Conflict(f"event {row['seq']} of the audit log was damaged; verify the log", code="audit_broken") from None
    return Event(**values)


def _instant(text: str) -> datetime | None:
    return datetime.fromisoformat(text) if text else None
