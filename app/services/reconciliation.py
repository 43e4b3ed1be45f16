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

from app.domain.errors import VenueError
from app.domain.order import VenueOrder
from app.domain.order_report import reported_event
from app.domain.order_state import OrderEvent, OrderState, advance
from app.domain.portfolio import Portfolio, Position
from app.domain.ports import Account
from app.domain.records import IntentOrigin, IntentRecord
from app.runtime import metrics
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService

log = structlog.get_logger()

UNSEEN_GRACE = timedelta(seconds=60)  # how long an order may be missing at the venue before absence counts as proof
FILL_OVERLAP = timedelta(seconds=5)

_IN_FLIGHT = frozenset({OrderState.SENT, OrderState.UNKNOWN})


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
            booked += self._adopt(now)
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

    def _adopt(self, now: datetime) -> int:
        unsettled = self._database.unsettled_intents()
        at_venue = {order.venue_order_id: order for order in self._venue.open_orders()}
        seen = _match(unsettled, at_venue.values())
        if any(intent.client_order_id not in seen for intent in unsettled if intent.state is not OrderState.READY):
            since = min(intent.sent_at or intent.created_at for intent in unsettled) - timedelta(days=1)
            seen |= _match(unsettled, self._venue.closed_orders(since))
        for intent in unsettled:
            order = seen.get(intent.client_order_id)
            if order is not None and _is_news(intent, order):
                self._database.settle_intent(intent.client_order_id, reported_event(order), venue_order=order)
            elif order is None and intent.state in _IN_FLIGHT:
                self._look_up(intent, now)
        self._adopt_strangers(unsettled, at_venue)
        booked = self._database.book_fills(self._venue.fills(self._fills_since()))
        for fill in booked:
            metrics.observe_fill(fill.side, fill.quantity * fill.price)
        return len(booked)

    def _fills_since(self) -> datetime:
        latest = self._database.latest_fill_time()
        opened = self._database.account()
        start = latest or (opened.opened_at if opened else None)
        if start is None:
            raise RuntimeError("fills are read only after the books are opened")
        return start - FILL_OVERLAP if latest else start

    def _look_up(self, intent: IntentRecord, now: datetime) -> None:
        """An order whose answer was lost: ask for it by our id, never send it again."""
        try:
            order = self._venue.order_by_client_id(intent.client_order_id)
        except VenueError as error:
            log.warning("order_lookup_failed", client_order_id=intent.client_order_id, error=error.message)
            return
        if order is not None:
            self._database.settle_intent(intent.client_order_id, reported_event(order), venue_order=order)
            for leg in order.legs:
                self._database.adopt_order(leg)
        elif now - (intent.sent_at or intent.created_at) >= UNSEEN_GRACE:
            self._database.settle_intent(intent.client_order_id, OrderEvent.EXPIRE, error="the venue never received it")

    def _adopt_strangers(self, unsettled: Iterable[IntentRecord], at_venue: dict[str, VenueOrder]) -> None:
        """Open orders nobody here sent: legs of a bracket we do not know yet, or a person's own orders."""
        known = {intent.venue_order_id for intent in unsettled} | {intent.client_order_id for intent in unsettled}
        for order in at_venue.values():
            if order.venue_order_id not in known and order.client_order_id not in known:
                adopted = self._database.adopt_order(order)
                if adopted.origin is IntentOrigin.EXTERNAL:
                    log.info("external_order_adopted", symbol=order.symbol, venue_order_id=order.venue_order_id)

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


def _match(intents: Iterable[IntentRecord], orders: Iterable[VenueOrder]) -> dict[str, VenueOrder]:
    """Orders by the client order id of the intent they belong to."""
    by_venue_id = {intent.venue_order_id: intent.client_order_id for intent in intents if intent.venue_order_id}
    by_client_id = {intent.client_order_id for intent in intents}
    matched = {}
    for order in orders:
        ours = by_venue_id.get(order.venue_order_id) or order.client_order_id
        if ours in by_client_id:
            matched[ours] = order
    return matched
