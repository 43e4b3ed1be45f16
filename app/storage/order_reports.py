"""What the venue tells of orders, written down: answers, reports, orders nobody here sent, executions, absence.

Reports come late, repeated and out of order. What is known of an order only grows, whatever the order of the news.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any

from sqlalchemy import Connection, insert, select

from app.domain.audit import Kind
from app.domain.errors import InvalidInput
from app.domain.order import Purpose, Side, TimeInForce, VenueOrder, is_own_id
from app.domain.order_report import reported_event
from app.domain.order_state import TERMINAL, TRANSITIONS, OrderEvent, OrderState, advance
from app.domain.records import IntentOrigin, IntentRecord
from app.domain.trading_state import Cause
from app.storage import intents, outbox, risk_states
from app.storage.tables import FILLS, VENUE_ORDER_IDS

# News that an intent may have outrun; it changes nothing then.
_OUTRUN = {
    OrderEvent.ACCEPT: TERMINAL,
    OrderEvent.FILL_PART: TERMINAL,
    OrderEvent.LOSE_ANSWER: TERMINAL | {OrderState.OPEN, OrderState.PARTIALLY_FILLED},
    OrderEvent.CANCEL: frozenset({OrderState.FILLED, OrderState.EXPIRED}),
    OrderEvent.EXPIRE: frozenset({OrderState.FILLED, OrderState.CANCELED}),
    OrderEvent.REJECT: frozenset({OrderState.FILLED, OrderState.CANCELED, OrderState.EXPIRED}),
}
_ENDS = frozenset({OrderEvent.CANCEL, OrderEvent.EXPIRE})
# What our own reasoning says (an order was never received, nothing was sent) does not stand against a sighting.
_GUESSES = frozenset({OrderEvent.EXPIRE, OrderEvent.REJECT, OrderEvent.RETURN_UNSENT})


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
    if event in (OrderEvent.CLAIM, OrderEvent.SURFACE):
        raise InvalidInput(f"an intent is not moved by {event} from outside")
    intent = intents.one(connection, client_order_id)
    if venue_order is None:
        if intent.venue_order_id is not None and event in _GUESSES:
            return intent
        changes: dict[str, Any] = {"state": _next(intent.state, event), "updated_at": at}
    else:
        changes = _seen(connection, intent, event, venue_order, at)
    if error is not None:
        changes["error"] = error
    why = event.value if venue_order is None else f"{event}: the venue reports it {venue_order.status}"
    kind = Kind.CANCELED if event in _ENDS else Kind.ANSWERED
    intents.change(connection, client_order_id, kind, why=why, **changes)
    if venue_order is not None:
        for leg in venue_order.legs:
            adopt(connection, leg, at=at)
        apply_fills(connection, venue_order.venue_order_id, at=at)
    return intents.one(connection, client_order_id)


def adopt(connection: Connection, order: VenueOrder, *, at: datetime) -> IntentRecord:
    """Takes in an order as the venue reports it; see `DatabaseService.adopt_order`."""
    known = intents.by_venue_id(connection, order.venue_order_id) or intents.find(connection, order.client_order_id)
    if known is None and order.replaces is not None:
        known = intents.by_venue_id(connection, order.replaces)
    parent = intents.by_venue_id(connection, order.parent_order_id) if order.parent_order_id else None
    parent_id = parent.client_order_id if parent else None
    if known is None:
        _add_stranger(connection, order, parent_id, at)
    elif known.parent_id is None and parent_id is not None:
        intents.change(connection, known.client_order_id, Kind.RECONCILED, parent_id=parent_id)
    name = known.client_order_id if known else order.client_order_id
    return settle(connection, name, reported_event(order), venue_order=order, error=None, at=at)


def adopt_known(connection: Connection, order: VenueOrder, *, at: datetime) -> bool:
    """`adopt`, unless nobody here knows the order: a single report does not tell whether it is a leg or a person's."""
    ids = [venue_id for venue_id in (order.venue_order_id, order.replaces) if venue_id is not None]
    known = any(intents.by_venue_id(connection, venue_id) is not None for venue_id in ids)
    if known or intents.find(connection, order.client_order_id) is not None:
        adopt(connection, order, at=at)
        return True
    return False


def restate(connection: Connection, order: VenueOrder, *, at: datetime) -> None:
    """Takes over the terms of an order that the venue itself has changed (a split; a leg whose twin filled in part), as just
    listed there."""
    intent = intents.by_venue_id(connection, order.venue_order_id)
    if intent is not None and intent.venue_order_id == order.venue_order_id:
        intents.change(
            connection,
            intent.client_order_id,
            Kind.RECONCILED,
            why="the venue changed its terms",
            quantity=order.quantity,
            limit_price=order.limit_price,
            stop_price=order.stop_price,
            updated_at=at,
        )


def apply_fills(connection: Connection, venue_order_id: str, *, at: datetime, restated: bool = False) -> None:
    """Brings an order up to the executions booked for it. Their sum only ever raises what is known to be filled, but for
    `restated`: the venue took an execution back."""
    intent = intents.by_venue_id(connection, venue_order_id)
    if intent is None:
        return
    booked, paid = _booked(connection, intent.client_order_id)
    if booked == intent.booked_quantity and booked <= intent.filled_quantity and not restated:
        return
    changes: dict[str, Any] = {"booked_quantity": booked, "updated_at": at}
    if booked >= intent.filled_quantity or restated:
        changes |= {"filled_quantity": booked, "filled_average_price": paid / booked if booked else None}
        changes["state"] = _filled_state(connection, intent, booked, at)
    intents.change(connection, intent.client_order_id, Kind.BOOKED, **changes)
    if booked > intent.quantity >= intent.booked_quantity:
        text = f"{intent.symbol}: order {intent.client_order_id} was for {intent.quantity}, the venue executed {booked}."
        _alert(connection, intent, text, at)


def miss(connection: Connection, client_order_id: str, *, now: datetime, grace: timedelta | None, at: datetime) -> bool:
    """Notes that the venue, at its time `now`, did not know an order whose answer was lost. True when that has gone on for
    `grace`: the venue never received it, and it counts as expired. None: it is noted and no more."""
    intent = intents.one(connection, client_order_id)
    if intent.state not in (OrderState.SENT, OrderState.UNKNOWN):
        return False
    if intent.missed_at is None:
        why = "the venue does not know it"
        intents.change(connection, client_order_id, Kind.RECONCILED, venue_at=now, why=why, missed_at=now, updated_at=at)
    if grace is None or now - (intent.missed_at or now) < grace:
        return False
    error = "; ".join(filter(None, (intent.error, "the venue never received it")))
    settle(connection, client_order_id, OrderEvent.EXPIRE, venue_order=None, error=error, at=at)
    return True


def note_pending(
    connection: Connection, names: Iterable[str], *, now: datetime, patience: timedelta, at: datetime
) -> list[str]:
    """Keeps since when the venue has owed an answer to these orders (all that do), and tells people, once each, of those
    that have waited longer than `patience`; their ids. now: venue time."""
    waiting = set(names)
    late = []
    for intent in intents.unsettled(connection):
        name = intent.client_order_id
        if name not in waiting:
            if intent.pending_since is not None:
                intents.change(connection, name, Kind.RECONCILED, venue_at=now, pending_since=None, told_at=None)
        elif intent.pending_since is None:
            intents.change(connection, name, Kind.RECONCILED, venue_at=now, pending_since=now)
        elif intent.told_at is None and now - intent.pending_since >= patience:
            text = (
                f"{intent.symbol}: the venue has left order {name} pending since {intent.pending_since:%Y-%m-%d %H:%M:%S} UTC."
            )
            intents.change(connection, name, Kind.RECONCILED, venue_at=now, why=text, told_at=now)
            _alert(connection, intent, text, at)
            late.append(name)
    return late


def _seen(connection: Connection, intent: IntentRecord, event: OrderEvent, order: VenueOrder, at: datetime) -> dict[str, Any]:
    """The changes that a report brings."""
    state = intent.state
    if intent.venue_order_id is None and (state in TERMINAL or state is OrderState.READY):
        # It counted as never received, or as unsent, and is at the venue after all.
        text = f"Order {intent.client_order_id} ({intent.symbol}) counted as {state}, but the venue reports: {event}."
        _alert(connection, intent, text, at)
        state = advance(state, OrderEvent.CLAIM if state is OrderState.READY else OrderEvent.SURFACE)
    changes: dict[str, Any] = {"updated_at": at, "missed_at": None}
    is_new = _link(connection, intent, order.venue_order_id)
    if intent.venue_order_id not in (None, order.venue_order_id) and not is_new:
        return {**changes, "state": state}  # an order whose successor we follow already
    changes["venue_order_id"] = order.venue_order_id
    filled = order.filled_quantity
    if order.replaces is not None and is_new:
        # A successor counts anew, from what those before it filled.
        changes |= {"limit_price": order.limit_price, "stop_price": order.stop_price}
        changes["quantity"] = intent.filled_quantity + order.quantity
        filled += intent.filled_quantity
        state = OrderState.OPEN if state in (OrderState.CANCELED, OrderState.EXPIRED) and order.is_open else state
    elif order.replaces is not None:
        filled += intent.quantity - order.quantity
    if filled > intent.filled_quantity:
        changes |= {"filled_quantity": filled, "filled_average_price": order.filled_average_price}
    return {**changes, "state": _next(state, event)}


def _link(connection: Connection, intent: IntentRecord, venue_order_id: str) -> bool:
    """Ties a venue's id to an intent; whether it is news."""
    known = select(VENUE_ORDER_IDS.c.client_order_id).where(VENUE_ORDER_IDS.c.venue_order_id == venue_order_id)
    if connection.execute(known).scalar_one_or_none() is not None:
        return False
    values = {"venue_order_id": venue_order_id, "client_order_id": intent.client_order_id}
    connection.execute(insert(VENUE_ORDER_IDS).values(**values))
    return True


def _add_stranger(connection: Connection, order: VenueOrder, parent_id: str | None, at: datetime) -> None:
    """A leg, a person's order, or one of ours that this database has forgotten: then it is an old copy, and trading halts."""
    is_leg, is_ours = order.parent_order_id is not None, is_own_id(order.client_order_id)
    row = {
        "client_order_id": order.client_order_id,
        "origin": IntentOrigin.LEG if is_leg else IntentOrigin.DECISION if is_ours else IntentOrigin.EXTERNAL,
        "state": OrderState.OPEN,
        "symbol": order.symbol,
        "side": order.side,
        "quantity": order.quantity,
        "purpose": Purpose.EXIT if is_leg or order.side is Side.SELL else Purpose.ENTRY,
        "reason": "bracket_leg" if is_leg else "recovered" if is_ours else "external",
        "type": order.type,
        "time_in_force": TimeInForce.GTC if is_leg else TimeInForce.DAY,
        "limit_price": order.limit_price,
        "stop_price": order.stop_price,
        "attempt": 0,
        "parent_id": parent_id,
        "filled_quantity": Decimal(0),
        "booked_quantity": Decimal(0),
        "created_at": order.submitted_at,
        "sent_at": order.submitted_at,
        "updated_at": at,
    }
    intents.add(connection, Kind.RECONCILED, row, venue_at=order.submitted_at)
    if is_leg:
        return
    what = f"{order.side.value} {order.quantity.normalize():f} {order.symbol}"
    if is_ours:
        text = f"The venue knows an order of ours that this database does not: {order.client_order_id} ({what})."
        risk_states.halt(connection, Cause.BOOKS_LOST, text, at=at)
    else:
        text = f"A person has ordered at the venue: {what} (order {order.venue_order_id}). It counts, and is left alone."
    outbox.enqueue(connection, "alert", text, {"client_order_id": order.client_order_id}, at)


def _booked(connection: Connection, client_order_id: str) -> tuple[Decimal, Decimal]:
    """Units executed and money paid, without what the venue took back."""
    ids = select(VENUE_ORDER_IDS.c.venue_order_id).where(VENUE_ORDER_IDS.c.client_order_id == client_order_id)
    columns = FILLS.c.execution_id, FILLS.c.reverses, FILLS.c.quantity, FILLS.c.price
    rows = connection.execute(select(*columns).where(FILLS.c.venue_order_id.in_(ids))).all()
    void = {row.reverses for row in rows if row.reverses is not None}
    stands = [row for row in rows if row.reverses is None and row.execution_id not in void]
    booked = sum((row.quantity for row in stands), Decimal(0))
    return booked, sum((row.quantity * row.price for row in stands), Decimal(0))


def _filled_state(connection: Connection, intent: IntentRecord, booked: Decimal, at: datetime) -> OrderState:
    if intent.state is OrderState.REJECTED:
        text = f"Order {intent.client_order_id} ({intent.symbol}) was refused, yet the venue reports executions of it."
        _alert(connection, intent, text, at)
        return intent.state
    if not booked:
        return intent.state
    return _next(intent.state, OrderEvent.FILL_ALL if booked >= intent.quantity else OrderEvent.FILL_PART)


def _next(state: OrderState, event: OrderEvent) -> OrderState:
    """The table's answer; news that came too late changes nothing."""
    if (state, event) in TRANSITIONS or state not in _OUTRUN.get(event, frozenset()):
        return advance(state, event)
    return state


def _alert(connection: Connection, intent: IntentRecord, text: str, at: datetime) -> None:
    outbox.enqueue(connection, "alert", text, {"client_order_id": intent.client_order_id}, at)
