"""Make our books equal to the venue's: the same function at start, after a crash and in every cycle.

What the venue explains is adopted (fills, order states, orders placed by a person); what nothing explains is reported as
a difference and keeps the decision from taking on risk.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal

import structlog

from app.domain.order import VenueOrder
from app.domain.order_report import reported_event
from app.domain.order_state import OrderState, advance
from app.domain.portfolio import Portfolio, Position
from app.domain.ports import Account
from app.domain.records import IntentOrigin, IntentRecord
from app.runtime import metrics
from app.runtime.failpoint import reach
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.order_lookup import OrderLookup, is_in_flight

log = structlog.get_logger()

# Venues list executions late and out of order: each listing reaches back before the last one, and further where the books
# differ.
FILL_OVERLAP = timedelta(minutes=10)
FILL_SEARCH = timedelta(days=3)
ATTRIBUTION_PERIOD = timedelta(days=1)
PENDING_PATIENCE = timedelta(minutes=5)


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciled:
    """The state of both books after comparing. differences: sentences, empty when they agree. fills: newly booked.
    adopted: our books were empty and the venue was not, so they begin with what was found there."""

    account: Account
    portfolio: Portfolio
    differences: tuple[str, ...]
    fills: int
    adopted: bool = False


class Reconciler:
    """Brings the database up to the venue's truth."""

    def __init__(self, *, venue: AlpacaService, database: DatabaseService) -> None:
        self._venue = venue
        self._database = database
        self._lookup = OrderLookup(venue=venue, database=database)

    def reconcile(self, now: datetime) -> Reconciled:
        """Adopt what the venue knows, then compare. now: venue time. Raises VenueError when it cannot be asked."""
        account = self._venue.account()
        held = self._venue.positions()
        if self._database.account() is None:
            return self._open_books(account, held, now)
        booked = self._adopt(now)
        differences = self._compare(account, held)
        if differences:  # a fill may have come between the readings: look once more before raising an alarm
            account, held = self._venue.account(), self._venue.positions()
            booked += self._adopt(now, FILL_SEARCH)
            differences = self._compare(account, held)
        return Reconciled(account=account, portfolio=self._database.portfolio(), differences=differences, fills=booked)

    def _open_books(self, account: Account, held: dict[str, Position], now: datetime) -> Reconciled:
        """The first meeting with this account: its cash and holdings are where our books begin."""
        self._database.open_account(account.account_id, account.cash, now)
        self._database.adopt_positions(list(held.values()), now)
        resting = self._venue.open_orders()
        for order in resting:
            self._database.adopt_order(order)
        found = bool(held or resting)
        return Reconciled(account=account, portfolio=self._database.portfolio(), differences=(), fills=0, adopted=found)

    def _adopt(self, now: datetime, overlap: timedelta = FILL_OVERLAP) -> int:
        self._database.read_back_answers()
        self._database.expire_stale_intents(now)
        unsettled = self._database.unsettled_intents()
        at_venue = {order.venue_order_id: order for order in self._venue.open_orders()}
        orders = list(at_venue.values())
        seen = _match(unsettled, orders)
        if any(intent.client_order_id not in seen for intent in unsettled if intent.state is not OrderState.READY):
            since = min(intent.sent_at or intent.created_at for intent in unsettled) - timedelta(days=1)
            seen = _match(unsettled, [*self._venue.closed_orders(since), *orders])
        for intent in unsettled:
            chain = seen.get(intent.client_order_id, ())
            for order in chain:
                if _is_news(intent, order):
                    self._database.adopt_order(order)
            if not chain and is_in_flight(intent):
                self._lookup.find(intent.client_order_id, now, listed=False)
        self._adopt_strangers(unsettled, seen, at_venue)
        self._note_pending(unsettled, at_venue, now)
        reach("in_reconcile")
        booked = self._database.book_fills(self._venue.fills(self._fills_since(overlap)), listed_at=now)
        for fill in booked:
            metrics.observe_fill(fill.side, fill.quantity * fill.price)
        self._attribute(now)
        return len(booked)

    def _attribute(self, now: datetime) -> None:
        """Executions of orders that came and went between two looks: a leg, or a person's trade."""
        unknown = self._database.unknown_orders_filled(now - ATTRIBUTION_PERIOD)
        if unknown:
            for order in self._venue.closed_orders(min(unknown.values()) - ATTRIBUTION_PERIOD):
                if order.venue_order_id in unknown:
                    self._database.adopt_order(order)

    def _fills_since(self, overlap: timedelta) -> datetime:
        listed_at, opened = self._database.fills_listed_at(), self._database.account()
        if opened is None:
            raise RuntimeError("fills are read only after the books are opened")
        return opened.opened_at if listed_at is None else max(opened.opened_at, listed_at - overlap)

    def _adopt_strangers(
        self, unsettled: Iterable[IntentRecord], seen: dict[str, list[VenueOrder]], at_venue: dict[str, VenueOrder]
    ) -> None:
        """Open orders nobody here sent: legs of a bracket we do not know yet, or a person's own orders."""
        known = {intent.venue_order_id for intent in unsettled} | {intent.client_order_id for intent in unsettled}
        known |= {order.venue_order_id for chain in seen.values() for order in chain}
        for order in at_venue.values():
            if order.venue_order_id not in known and order.client_order_id not in known:
                adopted = self._database.adopt_order(order)
                if adopted.origin is IntentOrigin.EXTERNAL:
                    log.info("external_order_adopted", symbol=order.symbol, venue_order_id=order.venue_order_id)

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

    def _compare(self, account: Account, held: dict[str, Position]) -> tuple[str, ...]:
        ours = self._database.portfolio()
        opened = self._database.account()
        differences = []
        if opened is not None and opened.account_id != account.account_id:
            differences.append(f"these books belong to account {opened.account_id}, the venue answers as {account.account_id}")
        for symbol in sorted(set(ours.positions) | set(held)):
            mine = ours.positions[symbol].quantity if symbol in ours.positions else Decimal(0)
            theirs = held[symbol].quantity if symbol in held else Decimal(0)
            if mine != theirs:
                differences.append(f"{symbol}: our books hold {mine}, the venue {theirs}")
        if abs(ours.cash - account.cash) >= Decimal("0.01"):
            differences.append(f"cash: our books {ours.cash:.2f}, the venue {account.cash:.2f}")
        return tuple(differences)


def _is_news(intent: IntentRecord, order: VenueOrder) -> bool:
    """Whether the venue tells more than we have written down; most resting orders have nothing new to say."""
    known = (intent.venue_order_id, intent.filled_quantity) == (order.venue_order_id, order.filled_quantity)
    return not known or advance(intent.state, reported_event(order)) is not intent.state


def _match(intents: Iterable[IntentRecord], orders: Iterable[VenueOrder]) -> dict[str, list[VenueOrder]]:
    """Orders by the client order id of the intent they belong to, oldest first: one whose terms were changed at the venue
    is followed by its successors."""
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
