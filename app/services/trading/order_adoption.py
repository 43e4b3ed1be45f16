"""Orders as the venue lists them, taken into our books: news of ours, legs, those of a person, those we had forgotten."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from app.domain.order import VenueOrder
from app.domain.order_report import reported_event
from app.domain.order_state import OrderState, advance
from app.domain.records import IntentRecord
from app.runtime.failpoint import reach
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.order_lookup import OrderLookup, is_in_flight

ATTRIBUTION_PERIOD = timedelta(days=1)
PENDING_PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Adopted:
    """Something of the venue's that is in our books now. subject: an order's or a symbol's name. why: a sentence."""

    subject: str
    why: str

    def row(self) -> dict[str, str]:
        """As plain values."""
        return {"subject": self.subject, "why": self.why}


class OrderAdopter:
    """At most two listings, however old the oldest resting order is: the open ones, and of the others those we miss."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        database: DatabaseService,
        is_lost: Callable[[IntentRecord], bool] = is_in_flight,
    ) -> None:
        """is_lost: whether an order on its way is to be asked for. One that a living sender is about to send is not."""
        self._venue = venue
        self._database = database
        self._is_lost = is_lost
        self._lookup = OrderLookup(venue=venue, database=database)

    def adopt(self, now: datetime) -> list[Adopted]:
        """Brings every order up to date. now: venue time. What our books did not know before is returned."""
        self._database.read_back_answers()
        self._database.expire_stale_intents(now)
        unsettled = self._database.unsettled_intents()
        at_venue = {order.venue_order_id: order for order in self._venue.open_orders()}
        seen = self._match_all(unsettled, list(at_venue.values()))
        for intent in unsettled:
            chain = seen.get(intent.client_order_id, ())
            for order in chain:
                if is_news(intent, order):
                    self._database.adopt_order(order)
                elif is_restated(intent, order):
                    self._database.restate_order(order)
            if not chain and self._is_lost(intent):
                self._lookup.find(intent.client_order_id, now, listed=False)
        self._note_pending(unsettled, at_venue, now)
        reach("in_reconcile")
        known = {order.venue_order_id for chain in seen.values() for order in chain}
        return [
            self._adopt_stranger(order)
            for order in strangers(unsettled, at_venue.values())
            if order.venue_order_id not in known
        ]

    def attribute(self, since: datetime) -> list[Adopted]:
        """Executions since then of orders that came and went between two looks: a leg's, or a person's."""
        unknown = self._database.unknown_orders_filled(since)
        if not unknown:
            return []
        history = self._venue.order_history(min(unknown.values()) - ATTRIBUTION_PERIOD)
        return [self._adopt_stranger(order) for order in history if order.venue_order_id in unknown]

    def _match_all(self, unsettled: list[IntentRecord], resting: list[VenueOrder]) -> dict[str, list[VenueOrder]]:
        """What is listed of our orders; the finished ones are asked for by symbol and id, newest first."""
        seen = match(unsettled, resting)
        missing = [one for one in unsettled if one.client_order_id not in seen and one.state is not OrderState.READY]
        if not missing:
            return seen
        ended = self._venue.closed_orders(
            min(one.sent_at or one.created_at for one in missing) - ATTRIBUTION_PERIOD,
            symbols={one.symbol for one in missing},
            wanted={one.venue_order_id or one.client_order_id for one in missing},
        )
        return match(unsettled, [*ended, *resting])

    def _adopt_stranger(self, order: VenueOrder) -> Adopted:
        intent = self._database.adopt_order(order)
        what = f"{order.side.value} {order.quantity.normalize():f} {order.symbol}, {order.status}"
        return Adopted(subject=intent.client_order_id, why=f"an order found at the venue ({intent.reason}): {what}")

    def _note_pending(self, unsettled: Iterable[IntentRecord], at_venue: dict[str, VenueOrder], now: datetime) -> None:
        """Orders that the venue has not acted upon keep counting as exposure; people hear of those that stay that way."""
        by_venue_id = {intent.venue_order_id: intent for intent in unsettled}
        pending = [
            by_venue_id[order.venue_order_id].client_order_id
            for order in at_venue.values()
            if order.is_pending and order.venue_order_id in by_venue_id
        ]
        if pending or any(intent.pending_since is not None for intent in unsettled):
            self._database.note_pending(pending, now=now, patience=PENDING_PATIENCE)


def strangers(unsettled: Iterable[IntentRecord], resting: Iterable[VenueOrder]) -> list[VenueOrder]:
    """Open orders that nobody here knows: legs we have not seen yet, a person's own, ours that were forgotten."""
    known = {name for intent in unsettled for name in (intent.venue_order_id, intent.client_order_id)}
    return [one for one in resting if not known & {one.venue_order_id, one.client_order_id, one.replaces or one.venue_order_id}]


def is_news(intent: IntentRecord, order: VenueOrder) -> bool:
    """Whether the venue tells more than we have written down; most resting orders have nothing new to say."""
    known = (intent.venue_order_id, intent.filled_quantity) == (order.venue_order_id, order.filled_quantity)
    return not known or advance(intent.state, reported_event(order)) is not intent.state


def is_restated(intent: IntentRecord, order: VenueOrder) -> bool:
    """Whether the venue has changed the terms of an order by itself."""
    if order.replaces is not None or not order.quantity > 0 or not order.is_open:
        return False
    ours = (intent.quantity, intent.limit_price, intent.stop_price)
    return ours != (order.quantity, order.limit_price, order.stop_price)


def match(intents: Iterable[IntentRecord], orders: Iterable[VenueOrder]) -> dict[str, list[VenueOrder]]:
    """Orders by the client order id of the intent they belong to, oldest first: one whose terms were changed at the venue
    is followed by its successors."""
    intents = list(intents)
    owners: dict[str | None, str] = {
        intent.venue_order_id: intent.client_order_id for intent in intents if intent.venue_order_id is not None
    }
    by_client_id = {intent.client_order_id for intent in intents}
    matched: dict[str, list[VenueOrder]] = {}
    for order in sorted(orders, key=lambda order: order.submitted_at):
        ours = owners.get(order.venue_order_id) or owners.get(order.replaces) or order.client_order_id
        if ours in by_client_id:
            owners[order.venue_order_id] = ours
            matched.setdefault(ours, []).append(order)
    return matched
