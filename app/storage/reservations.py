"""Orders committed within the limits: what is held, what is on its way and what is asked for, seen in one transaction.

Two decisions made at once by the cycle, a person and an exit monitor each saw room for themselves; here the second one finds
what the first one took.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import replace
from datetime import datetime
from decimal import Decimal

from sqlalchemy import Connection

from app.domain.order import Order, Purpose, Side, ValidatedOrder
from app.domain.portfolio import Portfolio
from app.domain.records import Committed, IntentRecord
from app.domain.trading_state import TradingState
from app.engine.protection import PROTECTION
from app.risk.checks import Refusal, Room, admit
from app.risk.reservations import Capacity, Reservation, room_left, unreserved
from app.runtime.failpoint import reach
from app.storage import intents, portfolio, risk_states


def commit(
    connection: Connection,
    orders: Iterable[ValidatedOrder],
    capacity: Capacity,
    *,
    releasing: Collection[str],
    cycle_id: str | None,
    source: str | None,
    expires_at: datetime,
    at: datetime,
) -> Committed:
    """Makes each order READY that the limits still leave room for, in the order given; the others are kept as rejected.
    An id that is known already is kept as it stands."""
    new = [one for one in orders if intents.find(connection, one.order.client_order_id) is None]
    if not new:
        return Committed(refusals={})
    state = _state_for(connection, source)
    room = room_left(capacity, state, _books(connection), reserved(connection), releasing=releasing)
    refusals: dict[str, str] = {}
    for validated in new:
        order = validated.order
        answer = admit(validated, room, capacity.limits)
        if isinstance(answer, Refusal):
            error = refusals[order.client_order_id] = f"{answer.rule}: {answer.detail}"
            intents.refuse(connection, order, error, cycle_id=cycle_id, source=source, at=at, room=_told(order, room))
        else:
            intents.arm(
                connection, order, cycle_id=cycle_id, source=source, expires_at=expires_at, at=at, room=_told(order, room)
            )
            room = answer
    reach("before_intent")
    return Committed(refusals=refusals)


def _told(order: Order, room: Room) -> dict[str, object]:
    """What the limits left before this order, as the audit log keeps it."""
    return {
        "state": room.state.name,
        "equity": room.equity,
        "gross_value": room.gross_value,
        "buying_power": room.buying_power,
        "positions": len(room.positions),
        "sellable": room.held.get(order.symbol, Decimal(0)),
    }


def claim(connection: Connection, client_order_id: str, *, cycle_id: str | None, now: datetime) -> int | None:
    """The right to send, and its fence; None where the state of trading no longer allows the order, or where the units it
    would sell have meanwhile been sold or are still held by another order."""
    intent = intents.one(connection, client_order_id)
    state = _state_for(connection, intent.source)
    if state is TradingState.HALTED or (intent.purpose is Purpose.ENTRY and state is not TradingState.ACTIVE):
        return None
    if intent.side is Side.SELL:
        others = [one for one in reserved(connection) if one.client_order_id != client_order_id]
        if not intent.quantity <= unreserved(_books(connection), others).get(intent.symbol, Decimal(0)):
            return None
    return intents.claim(connection, client_order_id, cycle_id=cycle_id, now=now)


def reserved(connection: Connection) -> list[Reservation]:
    """What every order may still do, as far as it is not booked."""
    orders = intents.may_still_fill(connection)
    return [one for one in map(_reservation, orders) if one.quantity] + _coming_legs(connection, orders)


def _coming_legs(connection: Connection, orders: Collection[IntentRecord]) -> list[Reservation]:
    """The protective sales that a bracket's entry at the venue will release, as long as we have not seen them ourselves."""
    sent = [one for one in orders if one.take_profit_price is not None and not one.is_settled and one.attempt]
    seen = intents.with_legs(connection, [one.client_order_id for one in sent])
    return [
        replace(_reservation(one), side=Side.SELL, quantity=one.quantity) for one in sent if one.client_order_id not in seen
    ]


def _reservation(intent: IntentRecord) -> Reservation:
    total = max(intent.filled_quantity, Decimal(0) if intent.is_settled else intent.quantity)
    return Reservation(
        client_order_id=intent.client_order_id,
        symbol=intent.symbol,
        side=intent.side,
        quantity=max(total - intent.booked_quantity, Decimal(0)),
        price=intent.limit_price,
        group=intent.parent_id or intent.client_order_id,
        at_venue=intent.venue_order_id is not None,
    )


def _books(connection: Connection) -> Portfolio:
    opened = portfolio.account(connection)
    return portfolio.load(connection) if opened is not None else Portfolio(cash=Decimal(0))


def _state_for(connection: Connection, source: str | None) -> TradingState:
    """The state that counts for an order: a halt forbids decisions, not what protects the holdings there are."""
    state = _state(connection)
    return TradingState.REDUCING if source == PROTECTION and state is TradingState.HALTED else state


def _state(connection: Connection) -> TradingState:
    in_force = risk_states.current(connection)
    return in_force.trading_state if in_force is not None else TradingState.REDUCING
