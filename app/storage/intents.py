"""Intents: orders committed before they are sent, and every order found at the venue. An id is unique for ever.

What the venue reports about them is in `order_reports`."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from app.domain.audit import Kind
from app.domain.errors import NotFound
from app.domain.order import Order
from app.domain.order_state import TERMINAL, OrderEvent, OrderState, advance
from app.domain.records import CycleState, IntentOrigin, IntentRecord
from app.storage import audit
from app.storage.tables import CYCLES, INTENTS, VENUE_ORDER_IDS

_ROW = [column for column in INTENTS.c if column.name != "id"]
# Built once: the statements are run many times, and building one takes longer than running it.
_INTENTS = select(*_ROW)
_NAMED = _INTENTS.where(INTENTS.c.client_order_id == bindparam("name"))
_KNOWN_AS = _INTENTS.join(VENUE_ORDER_IDS, VENUE_ORDER_IDS.c.client_order_id == INTENTS.c.client_order_id).where(
    VENUE_ORDER_IDS.c.venue_order_id == bindparam("name")
)
_UNSETTLED = _INTENTS.where(INTENTS.c.state.not_in(TERMINAL)).order_by(INTENTS.c.id)
_MAY_STILL_FILL = _INTENTS.where(
    or_(INTENTS.c.state.not_in(TERMINAL), INTENTS.c.filled_quantity != INTENTS.c.booked_quantity)
).order_by(INTENTS.c.id)
_SUBJECT = INTENTS.c.cycle_id, INTENTS.c.venue_order_id, INTENTS.c.symbol
_ORDER = (
    "client_order_id", "symbol", "side", "quantity", "purpose", "reason", "type", "time_in_force", "limit_price",
    "stop_price", "take_profit_price", "stop_loss_price",
)  # fmt: skip


def find(connection: Connection, client_order_id: str) -> IntentRecord | None:
    """The intent with this id, if there is one."""
    row = connection.execute(_NAMED, {"name": client_order_id}).mappings().one_or_none()
    return None if row is None else IntentRecord(**row)


def one(connection: Connection, client_order_id: str) -> IntentRecord:
    """The intent with this id. Raises NotFound."""
    intent = find(connection, client_order_id)
    if intent is None:
        raise NotFound(f"no order {client_order_id}")
    return intent


def by_venue_id(connection: Connection, venue_order_id: str) -> IntentRecord | None:
    """The intent the venue knows, or once knew, under this id, if there is one."""
    row = connection.execute(_KNOWN_AS, {"name": venue_order_id}).mappings().one_or_none()
    return None if row is None else IntentRecord(**row)


def unsettled(connection: Connection) -> list[IntentRecord]:
    """Intents that may still change, in the order they were decided."""
    return _list(connection, _UNSETTLED)


def listing(connection: Connection, *, limit: int, symbol: str | None, cycle_id: str | None) -> list[IntentRecord]:
    """Newest first."""
    query = _INTENTS.order_by(INTENTS.c.id.desc()).limit(limit)
    if symbol is not None:
        query = query.where(INTENTS.c.symbol == symbol)
    if cycle_id is not None:
        query = query.where(INTENTS.c.cycle_id == cycle_id)
    return _list(connection, query)


def may_still_fill(connection: Connection) -> list[IntentRecord]:
    """Intents with something reserved: not ended yet, or ended with executions reported that are not booked yet."""
    return _list(connection, _MAY_STILL_FILL)


def with_legs(connection: Connection, names: Collection[str]) -> set[str]:
    """Those of the orders that have legs we know."""
    query = select(INTENTS.c.parent_id).where(INTENTS.c.parent_id.in_(names))
    return set(connection.execute(query).scalars()) if names else set()


def arm(
    connection: Connection,
    order: Order,
    *,
    cycle_id: str | None,
    source: str | None,
    expires_at: datetime,
    at: datetime,
    room: Mapping[str, Any],
) -> None:
    """Makes an order READY to be sent, by its cycle alone where it has one. room: what the limits left, for the audit log."""
    values = {"cycle_id": cycle_id, "source": source, "expires_at": expires_at}
    _insert(connection, order, OrderState.READY, Kind.DECIDED, room=room, at=at, **values)


def refuse(
    connection: Connection,
    order: Order,
    error: str,
    *,
    cycle_id: str | None,
    source: str | None,
    at: datetime,
    room: Mapping[str, Any],
) -> None:
    """Keeps an order that the limits left no room for, with the reason; it can never be sent."""
    values = {"cycle_id": cycle_id, "source": source, "expires_at": at, "error": error}
    _insert(connection, order, OrderState.REJECTED, Kind.REFUSED, room=room, at=at, **values)


def claim(connection: Connection, client_order_id: str, *, cycle_id: str | None, now: datetime) -> int | None:
    """READY -> SENT for exactly one caller: the number of the claim, which is its fence. Raises NotFound."""
    intent = one(connection, client_order_id)
    if intent.state is not OrderState.READY or not _is_in_time(connection, intent, cycle_id, now):
        return None
    state = advance(OrderState.READY, OrderEvent.CLAIM)
    fence = intent.attempt + 1
    change(connection, client_order_id, Kind.SENT, venue_at=now, state=state, sent_at=now, updated_at=now, attempt=fence)
    return fence


def holds_claim(connection: Connection, client_order_id: str, *, fence: int, now: datetime) -> bool:
    """Whether the claim with this number still stands. Raises NotFound."""
    intent = one(connection, client_order_id)
    # Once someone has looked for the order at the venue it may be given up any time: it must not leave any more.
    is_ours = intent.state is OrderState.SENT and intent.attempt == fence and intent.missed_at is None
    return is_ours and _is_in_time(connection, intent, intent.cycle_id, now)


def _is_in_time(connection: Connection, intent: IntentRecord, cycle_id: str | None, now: datetime) -> bool:
    if intent.cycle_id != cycle_id or intent.expires_at is None or not now < intent.expires_at:
        return False
    if cycle_id is None:
        return True
    query = select(CYCLES.c.state).where(CYCLES.c.cycle_id == cycle_id)
    return connection.execute(query).scalar_one_or_none() is CycleState.RUNNING


def expire_ready(
    connection: Connection, *, of_cycle: str | None = None, but_cycle: str | None = None, at: datetime
) -> list[str]:
    """Expires the READY intents of one cycle, or of all cycles but one; their ids."""
    chosen = select(INTENTS.c.client_order_id).where(INTENTS.c.state == OrderState.READY)
    why = "its cycle ended without sending it"
    if of_cycle is not None:
        chosen = chosen.where(INTENTS.c.cycle_id == of_cycle)
    if but_cycle is not None:
        chosen = chosen.where(INTENTS.c.cycle_id != but_cycle)
    names = list(connection.execute(chosen.order_by(INTENTS.c.id)).scalars())
    for name in names:
        _expire(connection, name, why, at)
    return names


def expire_stale(connection: Connection, *, now: datetime, at: datetime) -> list[str]:
    """Expires the READY intents whose time is over; their ids. now: the clock of `expires_at`."""
    late = select(INTENTS.c.client_order_id).where(INTENTS.c.state == OrderState.READY, INTENTS.c.expires_at <= now)
    names = list(connection.execute(late.order_by(INTENTS.c.id)).scalars())
    for name in names:
        _expire(connection, name, "its time was over", at, now)
    return names


def expire_unsent(connection: Connection, names: Collection[str], *, at: datetime) -> list[str]:
    """Expires those of these orders that are still READY; their ids."""
    chosen = select(INTENTS.c.client_order_id).where(INTENTS.c.state == OrderState.READY, INTENTS.c.client_order_id.in_(names))
    ready = list(connection.execute(chosen.order_by(INTENTS.c.id)).scalars()) if names else []
    for name in ready:
        _expire(connection, name, "its sender stopped before it was sent", at)
    return ready


def change(
    connection: Connection,
    client_order_id: str,
    kind: Kind = Kind.ANSWERED,
    *,
    venue_at: datetime | None = None,
    why: str | None = None,
    **values: Any,
) -> None:
    """Sets columns of one intent, and tells the audit log: as news of this kind, at this venue time, for this reason."""
    changed = update(INTENTS).where(INTENTS.c.client_order_id == client_order_id).values(**values).returning(*_SUBJECT)
    row = connection.execute(changed).mappings().one_or_none()
    if row is None:
        raise NotFound(f"no order {client_order_id}")
    payload = {"changed": values} if why is None else {"changed": values, "why": why}
    audit.record(connection, kind, payload, at=venue_at, client_order_id=client_order_id, **row)


def add(connection: Connection, kind: Kind, values: Mapping[str, Any], *, venue_at: datetime, **told: Any) -> None:
    """Inserts a row of INTENTS, and tells the audit log of the order and of what else is given."""
    connection.execute(insert(INTENTS).values(**values))
    subject = {column.name: values.get(column.name) for column in _SUBJECT}
    payload = {"order": values, **told}
    audit.record(connection, kind, payload, at=venue_at, client_order_id=values["client_order_id"], **subject)


def _expire(connection: Connection, client_order_id: str, why: str, at: datetime, now: datetime | None = None) -> None:
    state = advance(OrderState.READY, OrderEvent.EXPIRE)
    change(connection, client_order_id, Kind.CANCELED, venue_at=now, why=why, state=state, updated_at=at)


def _insert(
    connection: Connection,
    order: Order,
    state: OrderState,
    kind: Kind,
    *,
    room: Mapping[str, Any],
    at: datetime,
    **values: Any,
) -> None:
    row = {
        **{name: getattr(order, name) for name in _ORDER},
        **values,
        "origin": IntentOrigin.DECISION,
        "state": state,
        "attempt": 0,
        "filled_quantity": Decimal(0),
        "booked_quantity": Decimal(0),
        "created_at": at,
        "updated_at": at,
    }
    add(connection, kind, row, venue_at=at, room=room)


def _list(connection: Connection, query: Any) -> list[IntentRecord]:
    return [IntentRecord(**row) for row in connection.execute(query).mappings()]
