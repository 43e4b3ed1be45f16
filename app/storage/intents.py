"""Intents: orders committed before they are sent, and every order found at the venue. An id is unique for ever."""

from __future__ import annotations

from datetime import datetime
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, exists, insert, select, update

from app.domain.errors import InvalidInput, NotFound
from app.domain.order import Order, Purpose, Side, TimeInForce, VenueOrder
from app.domain.order_report import reported_event
from app.domain.order_state import TERMINAL, TRANSITIONS, OrderEvent, OrderState, advance
from app.domain.records import CycleState, IntentOrigin, IntentRecord
from app.storage import outbox
from app.storage.tables import CYCLES, FILLS, INTENTS

_ROW = [column for column in INTENTS.c if column.name != "id"]
_ORDER = (
    "client_order_id", "symbol", "side", "quantity", "purpose", "reason", "type", "time_in_force", "limit_price",
    "stop_price", "take_profit_price", "stop_loss_price",
)  # fmt: skip
# News that an intent may have outrun; it changes nothing then.
_OUTRUN = {
    OrderEvent.ACCEPT: TERMINAL,
    OrderEvent.FILL_PART: TERMINAL,
    OrderEvent.LOSE_ANSWER: TERMINAL | {OrderState.OPEN, OrderState.PARTIALLY_FILLED},
}


def find(connection: Connection, client_order_id: str) -> IntentRecord | None:
    """The intent with this id, if there is one."""
    row = connection.execute(select(*_ROW).where(INTENTS.c.client_order_id == client_order_id)).mappings().one_or_none()
    return None if row is None else IntentRecord(**row)


def one(connection: Connection, client_order_id: str) -> IntentRecord:
    """The intent with this id. Raises NotFound."""
    intent = find(connection, client_order_id)
    if intent is None:
        raise NotFound(f"no order {client_order_id}")
    return intent


def by_venue_id(connection: Connection, venue_order_id: str) -> IntentRecord | None:
    """The intent the venue knows under this id, if there is one."""
    row = connection.execute(select(*_ROW).where(INTENTS.c.venue_order_id == venue_order_id)).mappings().one_or_none()
    return None if row is None else IntentRecord(**row)


def unsettled(connection: Connection) -> list[IntentRecord]:
    """Intents that may still change, in the order they were decided."""
    return _list(connection, select(*_ROW).where(INTENTS.c.state.not_in(TERMINAL)).order_by(INTENTS.c.id))


def listing(connection: Connection, *, limit: int, symbol: str | None, cycle_id: str | None) -> list[IntentRecord]:
    """Newest first."""
    query = select(*_ROW).order_by(INTENTS.c.id.desc()).limit(limit)
    if symbol is not None:
        query = query.where(INTENTS.c.symbol == symbol)
    if cycle_id is not None:
        query = query.where(INTENTS.c.cycle_id == cycle_id)
    return _list(connection, query)


def arm(connection: Connection, order: Order, *, cycle_id: str, expires_at: datetime, at: datetime) -> None:
    """Makes an order READY to be sent by `cycle_id`. An id that is known already is kept as it stands."""
    if find(connection, order.client_order_id) is not None:
        return
    connection.execute(
        insert(INTENTS).values(
            **{name: getattr(order, name) for name in _ORDER},
            cycle_id=cycle_id,
            origin=IntentOrigin.DECISION,
            state=OrderState.READY,
            expires_at=expires_at,
            attempt=0,
            filled_quantity=Decimal(0),
            created_at=at,
            updated_at=at,
        )
    )


def claim(connection: Connection, client_order_id: str, *, cycle_id: str, now: datetime) -> bool:
    """READY -> SENT in one statement: true for exactly one caller. Raises NotFound."""
    is_running = exists().where(CYCLES.c.cycle_id == cycle_id, CYCLES.c.state == CycleState.RUNNING)
    claimed = connection.execute(
        update(INTENTS)
        .where(
            INTENTS.c.client_order_id == client_order_id,
            INTENTS.c.cycle_id == cycle_id,
            INTENTS.c.state == OrderState.READY,
            INTENTS.c.expires_at > now,
            is_running,
        )
        .values(state=advance(OrderState.READY, OrderEvent.CLAIM), sent_at=now, updated_at=now, attempt=INTENTS.c.attempt + 1)
    )
    if claimed.rowcount == 1:
        return True
    one(connection, client_order_id)
    return False


def settle(
    connection: Connection,
    client_order_id: str,
    event: OrderEvent,
    *,
    venue_order: VenueOrder | None,
    error: str | None,
    at: datetime,
) -> IntentRecord:
    """Moves an intent by what became known; see `DatabaseService.settle_intent`."""
    if event is OrderEvent.CLAIM:
        raise InvalidInput("an intent is claimed with claim_intent")
    intent = one(connection, client_order_id)
    changes: dict[str, Any] = {"state": _next(connection, intent, event, at), "updated_at": at}
    if error is not None:
        changes["error"] = error
    if venue_order is not None:
        changes["venue_order_id"] = venue_order.venue_order_id
        if venue_order.filled_quantity > intent.filled_quantity:
            changes["filled_quantity"] = venue_order.filled_quantity
            changes["filled_average_price"] = venue_order.filled_average_price
    _change(connection, client_order_id, **changes)
    if venue_order is not None:
        apply_fills(connection, venue_order.venue_order_id, at=at)
    return one(connection, client_order_id)


def adopt(connection: Connection, order: VenueOrder, *, at: datetime) -> IntentRecord:
    """Takes in an order as the venue reports it; see `DatabaseService.adopt_order`."""
    known = by_venue_id(connection, order.venue_order_id) or find(connection, order.client_order_id)
    if known is None:
        parent = by_venue_id(connection, order.parent_order_id) if order.parent_order_id else None
        is_leg = order.parent_order_id is not None
        connection.execute(
            insert(INTENTS).values(
                client_order_id=order.client_order_id,
                origin=IntentOrigin.LEG if is_leg else IntentOrigin.EXTERNAL,
                state=OrderState.OPEN,
                symbol=order.symbol,
                side=order.side,
                quantity=order.quantity,
                purpose=Purpose.EXIT if is_leg or order.side is Side.SELL else Purpose.ENTRY,
                reason="bracket_leg" if is_leg else "external",
                type=order.type,
                time_in_force=TimeInForce.GTC if is_leg else TimeInForce.DAY,
                limit_price=order.limit_price,
                stop_price=order.stop_price,
                attempt=0,
                venue_order_id=order.venue_order_id,
                parent_id=parent.client_order_id if parent else None,
                filled_quantity=Decimal(0),
                created_at=order.submitted_at,
                sent_at=order.submitted_at,
                updated_at=at,
            )
        )
    elif known.state is OrderState.READY:
        # It was returned as unsent and has surfaced at the venue after all.
        _change(connection, known.client_order_id, state=advance(OrderState.READY, OrderEvent.CLAIM))
    name = known.client_order_id if known else order.client_order_id
    return settle(connection, name, reported_event(order), venue_order=order, error=None, at=at)


def apply_fills(connection: Connection, venue_order_id: str, *, at: datetime) -> None:
    """Brings an order up to the executions booked for it. Their sum only ever raises what is known to be filled."""
    intent = by_venue_id(connection, venue_order_id)
    if intent is None:
        return
    columns = FILLS.c.quantity, FILLS.c.price
    booked = connection.execute(select(*columns).where(FILLS.c.venue_order_id == venue_order_id)).all()
    filled = sum((quantity for quantity, _ in booked), Decimal(0))
    if not booked or filled < intent.filled_quantity:
        return
    event = OrderEvent.FILL_ALL if filled >= intent.quantity else OrderEvent.FILL_PART
    is_possible = intent.state is not OrderState.REJECTED
    if not is_possible:
        text = f"Order {intent.client_order_id} ({intent.symbol}) was refused, yet the venue reports executions of it."
        outbox.enqueue(connection, "alert", text, {"client_order_id": intent.client_order_id}, at)
    paid = sum((quantity * price for quantity, price in booked), Decimal(0))
    _change(
        connection,
        intent.client_order_id,
        state=_next(connection, intent, event, at) if is_possible else intent.state,
        filled_quantity=filled,
        filled_average_price=paid / filled,
        updated_at=at,
    )


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
        _change(connection, name, state=advance(OrderState.READY, OrderEvent.EXPIRE), updated_at=at)
    return names


def _next(connection: Connection, intent: IntentRecord, event: OrderEvent, at: datetime) -> OrderState:
    """The table's answer; news that came too late changes nothing. People are told of a live order that we count as over
    and never knew to be at the venue."""
    if (intent.state, event) in TRANSITIONS or intent.state not in _OUTRUN.get(event, frozenset()):
        return advance(intent.state, event)
    if event is not OrderEvent.LOSE_ANSWER and intent.venue_order_id is None:
        text = f"Order {intent.client_order_id} ({intent.symbol}) counts as {intent.state}, but the venue reports: {event}."
        outbox.enqueue(connection, "alert", text, {"client_order_id": intent.client_order_id}, at)
    return intent.state


def _change(connection: Connection, client_order_id: str, **values: Any) -> None:
    connection.execute(update(INTENTS).where(INTENTS.c.client_order_id == client_order_id).values(**values))


def _list(connection: Connection, query: Any) -> list[IntentRecord]:
    return [IntentRecord(**row) for row in connection.execute(query).mappings()]
