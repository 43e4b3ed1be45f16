"""Intents: orders committed before they are sent, and every order found at the venue. An id is unique for ever.

What the venue reports about them is in `order_reports`."""

from __future__ import annotations

from collections.abc import Collection
from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, bindparam, insert, or_, select, update

from app.domain.errors import NotFound
from app.domain.order import Order
from app.domain.order_state import TERMINAL, OrderEvent, OrderState, advance
from app.domain.records import CycleState, IntentOrigin, IntentRecord
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
    connection: Connection, order: Order, *, cycle_id: str | None, source: str | None, expires_at: datetime, at: datetime
) -> None:
    """Makes an order READY to be sent, by its cycle alone where it has one."""
    _insert(connection, order, OrderState.READY, cycle_id=cycle_id, source=source, expires_at=expires_at, at=at)


def refuse(connection: Connection, order: Order, error: str, *, cycle_id: str | None, source: str | None, at: datetime) -> None:
    """Keeps an order that the limits left no room for, with the reason; it can never be sent."""
    _insert(connection, order, OrderState.REJECTED, cycle_id=cycle_id, source=source, expires_at=at, at=at, error=error)


def claim(connection: Connection, client_order_id: str, *, cycle_id: str | None, now: datetime) -> int | None:
    """READY -> SENT for exactly one caller: the number of the claim, which is its fence. Raises NotFound."""
    intent = one(connection, client_order_id)
    if intent.state is not OrderState.READY or not _is_in_time(connection, intent, cycle_id, now):
        return None
    state = advance(OrderState.READY, OrderEvent.CLAIM)
    change(connection, client_order_id, state=state, sent_at=now, updated_at=now, attempt=intent.attempt + 1)
    return intent.attempt + 1


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
    if of_cycle is not None:
        chosen = chosen.where(INTENTS.c.cycle_id == of_cycle)
    if but_cycle is not None:
        chosen = chosen.where(INTENTS.c.cycle_id != but_cycle)
    names = list(connection.execute(chosen.order_by(INTENTS.c.id)).scalars())
    for name in names:
        change(connection, name, state=advance(OrderState.READY, OrderEvent.EXPIRE), updated_at=at)
    return names


def expire_stale(connection: Connection, *, now: datetime, at: datetime) -> list[str]:
    """Expires the READY intents whose time is over; their ids. now: the clock of `expires_at`."""
    late = select(INTENTS.c.client_order_id).where(INTENTS.c.state == OrderState.READY, INTENTS.c.expires_at <= now)
    names = list(connection.execute(late.order_by(INTENTS.c.id)).scalars())
    for name in names:
        change(connection, name, state=advance(OrderState.READY, OrderEvent.EXPIRE), updated_at=at)
    return names


def expire_unsent(connection: Connection, names: Collection[str], *, at: datetime) -> list[str]:
    """Expires those of these orders that are still READY; their ids."""
    chosen = select(INTENTS.c.client_order_id).where(INTENTS.c.state == OrderState.READY, INTENTS.c.client_order_id.in_(names))
    ready = list(connection.execute(chosen.order_by(INTENTS.c.id)).scalars()) if names else []
    for name in ready:
        change(connection, name, state=advance(OrderState.READY, OrderEvent.EXPIRE), updated_at=at)
    return ready


def change(connection: Connection, client_order_id: str, **values: Any) -> None:
    """Sets columns of one intent."""
    connection.execute(update(INTENTS).where(INTENTS.c.client_order_id == client_order_id).values(**values))


def _insert(connection: Connection, order: Order, state: OrderState, *, at: datetime, **values: Any) -> None:
    connection.execute(
        insert(INTENTS).values(
            **{name: getattr(order, name) for name in _ORDER},
            **values,
            origin=IntentOrigin.DECISION,
            state=state,
            attempt=0,
            filled_quantity=Decimal(0),
            booked_quantity=Decimal(0),
            created_at=at,
            updated_at=at,
        )
    )


def _list(connection: Connection, query: Any) -> list[IntentRecord]:
    return [IntentRecord(**row) for row in connection.execute(query).mappings()]
