"""What the exit monitor has to know before it acts: how orders that left the venue's list ended, and what was executed.

Everything here is what the next cycle's reconciliation would write anyway, booked through the same methods. Orders that a
living sender has on its way are left alone: a look-up would make it believe that the world went on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

import structlog

from app.domain.errors import VenueError
from app.domain.order import VenueOrder
from app.domain.order_report import reported_event
from app.domain.order_state import OrderState
from app.domain.portfolio import Position
from app.domain.records import CycleRecord, CycleState, IntentRecord
from app.engine.protection import PROTECTION
from app.runtime.owner import is_alive
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.order_lookup import UNSEEN_GRACE

log = structlog.get_logger()

SENDER_PATIENCE_SECONDS = 30.0  # wall time; longer than one call to the venue may take
_FILL_OVERLAP = timedelta(minutes=10)  # venues list executions late and out of order
_LISTING_REACH = timedelta(days=1)


class GuardBooks:
    """Brings the ledger up to the venue as far as protection needs it."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        database: DatabaseService,
        alive: Callable[[str], bool] = is_alive,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """alive: whether the owner of a cycle still runs."""
        self._alive = alive
        self._venue = venue
        self._database = database
        self._monotonic = monotonic
        self._sent_since: dict[str, float] = {}

    def settle_lost(self, orders: Collection[IntentRecord], resting: Collection[VenueOrder], now: datetime) -> None:
        """Ask what became of orders whose answer was lost. now: venue time. resting: the venue's open orders, read just now."""
        lost = [one for one in orders if self._is_lost(one)]
        listed = {order.client_order_id: order for order in resting}
        ended: dict[str, VenueOrder] | None = None
        for intent in lost:
            name = intent.client_order_id
            found = listed.get(name) or self._venue.order_by_client_id(name)
            if found is None and ended is None:
                since = min(one.sent_at or one.created_at for one in lost) - _LISTING_REACH
                ended = {order.client_order_id: order for order in self._venue.closed_orders(since)}
            found = found or (ended or {}).get(name)
            if found is not None:
                self._database.settle_intent(name, reported_event(found), venue_order=found)
            elif self._database.miss_intent(name, now=now, grace=UNSEEN_GRACE):
                log.warning("order_never_received", client_order_id=name, symbol=intent.symbol)

    def catch_up(
        self,
        orders: Collection[IntentRecord],
        resting: Collection[VenueOrder],
        held: Mapping[str, Position],
        now: datetime,
    ) -> None:
        """Answers kept in files, orders that nobody will send any more, news of orders, executions where holdings differ."""
        self._database.read_back_answers()
        self._database.expire_stale_intents(now)
        self._give_up_unsent(orders)
        at_venue = {order.venue_order_id: order for order in resting}
        by_venue_id = {one.venue_order_id: one for one in orders if one.venue_order_id is not None}
        for order in resting:
            known = by_venue_id.get(order.venue_order_id)
            follows = order.replaces in by_venue_id
            if follows or (known is not None and known.filled_quantity != order.filled_quantity):
                self._database.adopt_order(order)
        for venue_order_id, intent in by_venue_id.items():
            if venue_order_id not in at_venue:
                self._note_end(intent)
        self._book(held)

    def cycle_runs(self) -> bool:
        """Whether a living process is in the middle of a cycle."""
        return any(self._runs(cycle) for cycle in self._database.cycles(3))

    def _is_lost(self, intent: IntentRecord) -> bool:
        name = intent.client_order_id
        if intent.state is not OrderState.SENT:
            self._sent_since.pop(name, None)
            return intent.state is OrderState.UNKNOWN
        if intent.source == PROTECTION:  # only whose turn it is sends these, and between two looks it sends nothing
            return True
        return self._monotonic() - self._sent_since.setdefault(name, self._monotonic()) > SENDER_PATIENCE_SECONDS

    def _give_up_unsent(self, orders: Collection[IntentRecord]) -> None:
        """READY orders of a protection that died before it sent them, or of a cycle whose process is gone."""
        ready = [one for one in orders if one.state is OrderState.READY]
        if not ready:
            return
        running = {cycle.cycle_id for cycle in self._database.cycles(3) if self._runs(cycle)}
        dead = [
            one.client_order_id
            for one in ready
            if one.source == PROTECTION or (one.cycle_id is not None and one.cycle_id not in running)
        ]
        for name in self._database.expire_unsent(dead):
            log.warning("unsent_order_given_up", client_order_id=name)

    def _note_end(self, intent: IntentRecord) -> None:
        try:
            order = self._venue.order_by_client_id(intent.client_order_id)
        except VenueError as error:
            log.warning("order_lookup_failed", client_order_id=intent.client_order_id, error=error.message)
            return
        if order is not None:
            self._database.settle_intent(intent.client_order_id, reported_event(order), venue_order=order)

    def _book(self, held: Mapping[str, Position]) -> None:
        ours = {symbol: position.quantity for symbol, position in self._database.portfolio().positions.items()}
        opened = self._database.account()
        if opened is None or ours == {symbol: position.quantity for symbol, position in held.items()}:
            return
        listed_at = self._database.fills_listed_at()
        since = opened.opened_at if listed_at is None else max(opened.opened_at, listed_at - _FILL_OVERLAP)
        self._database.book_fills(self._venue.fills(since))

    def _runs(self, cycle: CycleRecord) -> bool:
        return cycle.state is CycleState.RUNNING and self._alive(cycle.owner)
