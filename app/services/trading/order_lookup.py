"""Orders whose answer got lost: asked for by our own id until the venue proves what became of them, never sent again."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog

from app.domain.errors import VenueError
from app.domain.order_report import reported_event
from app.domain.order_state import OrderState
from app.domain.records import IntentRecord
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService

log = structlog.get_logger()

# Venues were seen to deny an order for 20 s after taking it. Counted from the first look-up that missed; short enough for an
# order's fate to be known within a minute.
UNSEEN_GRACE = timedelta(seconds=45)
# Pauses before the sender's look-ups of one order; after them each cycle asks.
SENDER_WAITS_SECONDS = (0.0, 1.0, 2.0)

_IN_FLIGHT = frozenset({OrderState.SENT, OrderState.UNKNOWN})


def is_in_flight(intent: IntentRecord) -> bool:
    """Whether it may or may not have reached the venue."""
    return intent.state in _IN_FLIGHT


def is_given_up(intent: IntentRecord, now: datetime) -> bool:
    """Whether the next look-up that misses it is the last. now: venue time."""
    return intent.missed_at is not None and now - intent.missed_at >= UNSEEN_GRACE


class OrderLookup:
    """Asks the venue about single orders."""

    def __init__(self, *, venue: AlpacaService, database: DatabaseService) -> None:
        self._venue = venue
        self._database = database

    def find(self, client_order_id: str, now: datetime, *, listed: bool = True) -> bool:
        """Whether the fate of the order is known now. now: venue time. listed: False when a full listing of the venue's orders,
        read just now, did not show it either; only then can its absence count as proof, once it has lasted long enough."""
        try:
            order = self._venue.order_by_client_id(client_order_id)
        except VenueError as error:
            log.warning("order_lookup_failed", client_order_id=client_order_id, error=error.message)
            return False
        if order is None:
            grace = None if listed else UNSEEN_GRACE
            return self._database.miss_intent(client_order_id, now=now, grace=grace)
        self._database.settle_intent(client_order_id, reported_event(order), venue_order=order)
        return True
