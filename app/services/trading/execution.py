"""Carry out a committed decision: cancels first, then each intent claimed once, sent once, and settled by its answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus

import structlog

from app.domain.errors import OutcomeUnknown, Refused, TryAgain, VenueError
from app.domain.order import Purpose, ValidatedOrder, VenueOrder
from app.domain.order_report import reported_event
from app.domain.order_state import OrderEvent
from app.domain.reason import Reason
from app.domain.records import IntentRecord
from app.engine.decision import Decision, LegMove
from app.runtime import metrics
from app.runtime.failpoint import reach
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.order_lookup import SENDER_WAITS_SECONDS, OrderLookup

log = structlog.get_logger()

CANCEL_WAITS_SECONDS = (0.05, 0.1, 0.2, 0.4, 0.8, 1.6)
LISTING_OVERLAP = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Execution:
    """How the orders of one decision fared, by number."""

    sent: int
    refused: int
    unknown: int
    unsent: int


class Executor:
    """Sends what was committed; the database is the ledger, so a crash at any line loses and doubles nothing."""

    def __init__(
        self,
        *,
        venue: AlpacaService,
        database: DatabaseService,
        gate: Callable[[], str | None],
        sleep: Callable[[float], None] = time.sleep,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """gate: why no entry may be sent at this instant, or None."""
        self._venue = venue
        self._database = database
        self._gate = gate
        self._lookup = OrderLookup(venue=venue, database=database)
        self._sleep = sleep
        self._monotonic = monotonic

    def execute(self, decision: Decision, *, cycle_id: str, now: datetime) -> Execution:
        """now: venue time; an intent past its expiry is not sent."""
        execution = self.send(decision.orders, cancels=decision.cancels, cycle_id=cycle_id, now=now)
        for move in decision.moves:
            self._move(move)
        return execution

    def send(
        self, orders: Iterable[ValidatedOrder], *, cancels: Iterable[str] = (), cycle_id: str | None, now: datetime
    ) -> Execution:
        """Cancels, then the orders in their order, then a few look-ups of those without an answer. cycle_id: None for orders of
        `commit_orders`. now: venue time."""
        started = self._monotonic()

        def venue_now() -> datetime:
            return now + timedelta(seconds=self._monotonic() - started)

        stuck = self._cancel(cancels)
        outcomes = {}
        for validated in orders:
            # Units still held by a leg that would not go cannot be sold; the next cycle decides again.
            held = validated.order.symbol in stuck
            outcome = "unsent" if held else self._send(validated, cycle_id, venue_now)
            outcomes[validated.order.client_order_id] = outcome
            if validated.order.reason == Reason.FLATTEN.code:
                reach("in_flatten")
        self._look_up(outcomes, venue_now)
        counts = dict.fromkeys(metrics.ORDER_OUTCOMES, 0)
        for outcome in outcomes.values():
            counts[outcome] += 1
            metrics.observe_order(outcome)
        return Execution(**counts)

    def _send(self, validated: ValidatedOrder, cycle_id: str | None, venue_now: Callable[[], datetime]) -> str:
        order = validated.order
        bound = log.bind(client_order_id=order.client_order_id, symbol=order.symbol)
        reach("before_claim")
        fence = self._database.claim_intent(order.client_order_id, cycle_id=cycle_id, now=venue_now())
        if fence is None:
            return "unsent"
        reach("after_claim")
        # Whoever was paused since the claim finds that the world went on without it.
        if not self._database.holds_claim(order.client_order_id, fence=fence, now=venue_now()):
            bound.warning("claim_lost", fence=fence)
            return "unsent"
        forbidden = self._gate() if order.purpose is Purpose.ENTRY else None
        if forbidden is not None:
            self._database.settle_intent(order.client_order_id, OrderEvent.REJECT, error=f"not sent: {forbidden}")
            bound.warning("order_stopped", reason=forbidden)
            return "unsent"
        reach("before_post")
        try:
            answer = self._venue.submit(validated)
            reach("after_post")
        except Refused as refusal:
            return self._refused(order.client_order_id, refusal)
        except TryAgain as error:
            # Proven not sent. It is not repeated here: the next cycle decides afresh on fresh prices.
            self._database.keep_answer(order.client_order_id, OrderEvent.REJECT, error=error.message)
            bound.warning("order_not_sent", error=error.message)
            return "unsent"
        except OutcomeUnknown as error:
            return self._unknown(order.client_order_id, error.message)
        if order.purpose is Purpose.ENTRY:  # before anything is stored: that may take as long as the database is locked
            self._take_back_if_forbidden(answer)
        self._database.keep_answer(order.client_order_id, reported_event(answer), venue_order=answer)
        bound.info("order_sent", side=order.side, quantity=str(order.quantity), reason=order.reason, status=answer.status)
        return "sent"

    def _take_back_if_forbidden(self, entry: VenueOrder) -> None:
        """Entries were forbidden while this one was on its way: whoever cancels those that rest may have looked too early."""
        forbidden = self._gate()
        if forbidden is None:
            return
        log.warning("entry_taken_back", client_order_id=entry.client_order_id, reason=forbidden)
        try:
            self._venue.cancel(entry.venue_order_id)
        except VenueError as error:  # the next decision cancels it
            log.warning("cancel_unclear", client_order_id=entry.client_order_id, error=error.message)

    def _refused(self, client_order_id: str, refusal: Refused) -> str:
        """A refusal may mean "you sent that already": the order itself is the proof, not the wording."""
        try:
            existing = self._venue.order_by_client_id(client_order_id)
        except VenueError as error:
            return self._unknown(client_order_id, f"{refusal.message}; {error.message}")
        if existing is not None:
            self._database.keep_answer(client_order_id, reported_event(existing), venue_order=existing)
            return "sent"
        self._database.enqueue_alert("order", f"The venue refused {client_order_id}: {refusal.message}")
        if refusal.details.get("status") == HTTPStatus.UNPROCESSABLE_ENTITY:
            # The status of "you sent that already", and a look-up may miss an order for a while after it was taken.
            return self._unknown(client_order_id, refusal.message)
        self._database.keep_answer(client_order_id, OrderEvent.REJECT, error=refusal.message)
        log.warning("order_refused", client_order_id=client_order_id, error=refusal.message)
        return "refused"

    def _unknown(self, client_order_id: str, error: str) -> str:
        self._database.keep_answer(client_order_id, OrderEvent.LOSE_ANSWER, error=error)
        log.warning("order_outcome_unknown", client_order_id=client_order_id, error=error)
        return "unknown"

    def _look_up(self, outcomes: dict[str, str], venue_now: Callable[[], datetime]) -> None:
        waiting = [name for name, outcome in outcomes.items() if outcome == "unknown"]
        for wait in SENDER_WAITS_SECONDS if waiting else ():
            self._sleep(wait)
            for name in list(waiting):
                if self._lookup.find(name, venue_now()):
                    outcomes[name] = "sent"
                    waiting.remove(name)
            if not waiting:
                break

    def _move(self, move: LegMove) -> None:
        """Move a stop up. What is committed is the level of its holding's plan: whatever goes wrong here, the next decision
        finds the stop behind that level and moves it then."""
        leg = self._database.intent(move.client_order_id)
        bound = log.bind(client_order_id=move.client_order_id, symbol=move.symbol, stop_price=str(move.stop_price))
        # The id and the price are of one reading: whoever moved it since has also changed the id, and this one is refused.
        if leg.is_settled or leg.venue_order_id is None or (leg.stop_price or move.stop_price) >= move.stop_price:
            bound.info("stop_not_moved", state=leg.state)
            return
        try:
            answer = self._venue.replace(leg.venue_order_id, stop_price=move.stop_price)
        except VenueError as error:
            bound.warning("stop_not_moved", code=error.code, error=error.message)
            return
        self._database.adopt_order(answer)
        bound.info("stop_moved", before=str(leg.stop_price))

    def _cancel(self, client_order_ids: Iterable[str]) -> frozenset[str]:
        """Cancel and wait until the venue has let go; the symbols whose orders are still there are returned."""
        intents = [self._database.intent(name) for name in client_order_ids]
        waiting = {one.client_order_id: one for one in intents if one.venue_order_id is not None and not one.is_settled}
        asked: set[str] = set()
        first = {_group(one): one.client_order_id for one in reversed(waiting.values())}
        for wait in CANCEL_WAITS_SECONDS if waiting else ():
            # The cancel of one leg takes its twin along; a twin that stays is asked for by itself.
            names = waiting.keys() if asked else first.values()
            for name in [name for name in waiting if name in names and name not in asked]:
                self._ask_to_cancel(waiting[name])
                asked.add(name)
            open_ids = {order.venue_order_id for order in self._venue.open_orders()}
            gone = [waiting.pop(name) for name, one in list(waiting.items()) if one.venue_order_id not in open_ids]
            self._note_ends(gone)
            if not waiting:
                reach("between_cancel_and_exit")
                break
            self._sleep(wait)
        return frozenset(intent.symbol for intent in waiting.values())

    def _ask_to_cancel(self, intent: IntentRecord) -> None:
        if intent.venue_order_id is None:
            return
        try:
            self._venue.cancel(intent.venue_order_id)
            reach("in_cancel")
        except Refused as refusal:  # already finished: the listing that follows tells how
            log.info("cancel_refused", client_order_id=intent.client_order_id, error=refusal.message)
        except (TryAgain, OutcomeUnknown) as error:
            log.warning("cancel_unclear", client_order_id=intent.client_order_id, error=error.message)

    def _note_ends(self, gone: Collection[IntentRecord]) -> None:
        """How orders ended that we cancelled: they may have been filled instead, and then their units are gone."""
        legs = [one for one in gone if one.is_protective]
        for one in gone:
            if one not in legs:
                self._note_end(one.client_order_id)
        if not legs:
            return
        since = min(one.sent_at or one.created_at for one in legs) - LISTING_OVERLAP
        ids = {one.venue_order_id or "" for one in legs}
        try:
            ended = self._venue.closed_orders(since, symbols={one.symbol for one in legs}, wanted=ids)
        except VenueError as error:
            log.warning("cancel_unclear", client_order_ids=[one.client_order_id for one in legs], error=error.message)
            return
        by_id = {order.venue_order_id: order for order in ended}
        for one in legs:
            order = by_id.get(one.venue_order_id or "")
            if order is not None:
                self._database.settle_intent(one.client_order_id, reported_event(order), venue_order=order)

    def _note_end(self, client_order_id: str) -> None:
        """How an order ended that we cancelled: it may have been filled instead, and then its units are gone."""
        try:
            order = self._venue.order_by_client_id(client_order_id)
        except VenueError as error:
            log.warning("cancel_unclear", client_order_id=client_order_id, error=error.message)
            return
        if order is not None:
            self._database.settle_intent(client_order_id, reported_event(order), venue_order=order)


def _group(intent: IntentRecord) -> str:
    """The same for the legs of one entry or OCO; an order of its own for everything else."""
    return (intent.parent_id or intent.client_order_id) if intent.is_protective else f"alone {intent.client_order_id}"
