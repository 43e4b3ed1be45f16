"""The books as the exit monitor needs them: compared with the venue's whenever the two tell different things.

The comparison is the cycle's own. Orders that a living sender has on its way are left alone by it: a look-up would make that
sender believe that the world went on without it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Mapping
from datetime import datetime, timedelta

import structlog

from app.domain.order import VenueOrder
from app.domain.order_state import OrderState
from app.domain.portfolio import Position
from app.domain.records import CycleRecord, CycleState, IntentRecord
from app.engine.protection import PROTECTION
from app.runtime.owner import is_alive
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.order_lookup import is_given_up
from app.services.trading.reconciliation import Reconciler

log = structlog.get_logger()

SENDER_PATIENCE_SECONDS = 30.0  # wall time; longer than one call to the venue may take
# Of wall time or of the venue's, before books that stayed different are compared again although nothing has moved.
SAME_AGAIN = timedelta(seconds=30)


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
        self._database = database
        self._monotonic = monotonic
        self._reconciler = Reconciler(venue=venue, database=database, is_lost=self.is_lost)
        self._sent_since: dict[str, float] = {}
        self._compared: tuple[object, datetime, float] | None = None

    def catch_up(self, resting: Collection[VenueOrder], held: Mapping[str, Position], now: datetime) -> None:
        """Compare once, and again whenever the venue shows something else than our books, or the last look-up of a lost order
        is due. resting, held: its open orders and long positions, read just now. now: venue time."""
        orders = self._database.unsettled_intents()
        self._give_up_unsent(orders)
        seen = (
            sorted((order.venue_order_id, order.filled_quantity) for order in resting),
            sorted((symbol, one.quantity) for symbol, one in held.items()),
            sorted(one.client_order_id for one in orders if self.is_lost(one)),
        )
        ripe = any(self.is_lost(one) and is_given_up(one, now) for one in orders)
        if self._compared is not None and not ripe and (self._agrees(orders, resting, held) or self._is_same(seen, now)):
            return
        self._reconciler.reconcile(now)
        self._compared = seen, now, self._monotonic()

    def forget(self) -> None:
        """The venue shows something else by now, or soon will: what it shows next is compared, even if it was seen before."""
        self._compared = None

    def is_lost(self, intent: IntentRecord) -> bool:
        """Whether nobody will tell any more what became of an order on its way."""
        name = intent.client_order_id
        if intent.state is not OrderState.SENT:
            self._sent_since.pop(name, None)
            return intent.state is OrderState.UNKNOWN
        if intent.source == PROTECTION:  # only whose turn it is sends these, and between two looks it sends nothing
            return True
        return self._monotonic() - self._sent_since.setdefault(name, self._monotonic()) > SENDER_PATIENCE_SECONDS

    def cycle_runs(self) -> bool:
        """Whether a living process is in the middle of a cycle."""
        return any(self._runs(cycle) for cycle in self._database.cycles(3))

    def _is_same(self, seen: object, now: datetime) -> bool:
        """Whether this was compared just now."""
        if self._compared is None:
            return False
        before, venue_time, wall_time = self._compared
        return seen == before and max(now - venue_time, timedelta(seconds=self._monotonic() - wall_time)) < SAME_AGAIN

    def _agrees(self, orders: Collection[IntentRecord], resting: Collection[VenueOrder], held: Mapping[str, Position]) -> bool:
        at_venue = {one.venue_order_id: one.filled_quantity for one in orders if one.venue_order_id is not None}
        ours = {symbol: one.quantity for symbol, one in self._database.portfolio().positions.items()}
        return (
            at_venue == {order.venue_order_id: order.filled_quantity for order in resting}
            and ours == {symbol: one.quantity for symbol, one in held.items()}
            and not any(self.is_lost(one) for one in orders)
        )

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

    def _runs(self, cycle: CycleRecord) -> bool:
        return cycle.state is CycleState.RUNNING and self._alive(cycle.owner)
