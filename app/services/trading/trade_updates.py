"""The one listener to the venue's trade updates: books orders and executions as they happen.

Nothing depends on it. Each cycle asks the venue for everything all the same; what is told here is only booked sooner, by the
same methods and keyed by the same ids, so that repeats, reordering and gaps do no harm. What nobody told while no connection
listened is asked for once one does, and a connection that tells nothing although something happened is given up.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from app.domain.errors import AlphaTraderError, Conflict
from app.domain.ports import Clock
from app.domain.trade_update import Listening, Told, TradeUpdate
from app.runtime import metrics
from app.runtime.owner import is_alive, this_process
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.trading.reconciliation import FILL_OVERLAP

log = structlog.get_logger()

LEASE = "trade-updates"
LEASE_PATIENCE = timedelta(seconds=30)
# Executions that were taken back change more than the order they belonged to.
_RESTATING = frozenset({"trade_bust", "trade_correct"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How long what may take, in seconds of this machine.

    poll: between two questions for what the stream might not have told. connect: until the venue must have acknowledged that we
    listen. silence: without a sign of life from the other end. untold: an execution that we found by asking may still come.
    """

    read: float = 1.0
    renew: float = 5.0
    wait: float = 2.0
    poll: float = 60.0
    again: float = 5.0
    connect: float = 25.0
    silence: float = 30.0
    untold: float = 5.0


class Stream(Protocol):
    """A connection to the venue's stream that makes itself anew."""

    @property
    def is_listening(self) -> bool:
        """Whether the venue has acknowledged that it tells us everything from now on."""
        ...

    def heard_seconds_ago(self) -> float | None:
        """Since the other end gave a sign of life; None before the first."""
        ...

    def open(self) -> None:
        """Begin to connect."""
        ...

    def next(self, timeout_seconds: float) -> Told | None:
        """The next thing told, None after so long."""
        ...

    def reconnect(self) -> None:
        """Give up this connection and make the next."""
        ...

    def close(self) -> None:
        """End for good."""
        ...


class TradeUpdates:
    """Reads the stream while it holds the lease; as long as another process does, it waits.

    connect: makes a new stream. reconcile: brings our books up to the venue's at its time; what the cycle does too."""

    def __init__(
        self,
        *,
        connect: Callable[[], Stream],
        venue: AlpacaService,
        database: DatabaseService,
        reconcile: Callable[[datetime], object],
        clock: Clock,
        pace: Pace | None = None,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._connect = connect
        self._venue = venue
        self._database = database
        self._reconcile = reconcile
        self._clock = clock
        self._pace = pace or Pace()
        self._monotonic = monotonic
        self._behind = True
        self._acknowledged = False
        self._untold: dict[str, float] = {}
        self._event_at: datetime | None = None
        self._looked_at: datetime | None = None
        self._look_at = self._renew_at = self._give_up_at = 0.0

    def run(self, stop: Callable[[], bool], pause: Callable[[float], object] = time.sleep) -> None:
        """Work until `stop()`. Trouble with the venue or the database ends nothing."""
        while not stop():
            try:
                fence = self._database.take_lease(LEASE, owner=this_process(), patience=LEASE_PATIENCE, is_alive=is_alive)
                if fence is not None:
                    self._own(fence, stop)
                    continue
            except AlphaTraderError as fault:
                log.warning("trade_updates_wait", code=fault.code, error=fault.message)
            pause(self._pace.wait)

    def take(self, update: TradeUpdate) -> None:
        """Book what one message tells. An order that we do not know yet is left to the next look at the venue, which tells
        whose it is; its executions move money all the same and are booked at once."""
        metrics.observe_stream_event(update.event)
        self._event_at = update.at
        self._behind |= update.event in _RESTATING
        if update.fill is not None:
            self._untold.pop(update.fill.execution_id, None)
        try:
            self._database.adopt_known_order(update.order)
            if update.fill is not None:
                for fill in self._database.book_fills([update.fill]):
                    metrics.observe_fill(fill.side, fill.quantity * fill.price)
        except Conflict as fault:  # the books are not open yet, or the news contradicts them: the venue is asked as a whole
            log.info("trade_update_left", code=fault.code, client_order_id=update.order.client_order_id)
        except AlphaTraderError as fault:
            self._behind = True
            log.warning("trade_update_not_booked", code=fault.code, client_order_id=update.order.client_order_id)

    # -- one ownership -------------------------------------------------------------------------------------------------
    def _own(self, fence: int, stop: Callable[[], bool]) -> None:
        stream = self._connect()
        stream.open()
        self._behind, self._acknowledged, self._untold = True, False, {}
        self._look_at = self._renew_at = self._monotonic()
        self._give_up_at = self._look_at + self._pace.connect
        try:
            while not stop() and self._is_mine(stream, fence):
                told = stream.next(self._pace.read)
                if isinstance(told, TradeUpdate):
                    self.take(told)
                elif told is not None:
                    self._note_gap(told)
                if not stream.is_listening:
                    self._acknowledged, self._behind = False, True
                now = self._monotonic()
                if now >= self._look_at:
                    self._look_at = now + (self._pace.poll if self._look(now) else self._pace.again)
                self._judge(stream, now)
        finally:
            stream.close()
            metrics.observe_stream(listening=False)
            self._database.release_lease(LEASE, fence=fence)

    def _note_gap(self, told: Told) -> None:
        """What happened before we listened, or what we could not read, is asked for now."""
        log.info("trade_updates_gap", listening=isinstance(told, Listening))
        self._acknowledged |= isinstance(told, Listening)
        self._behind, self._look_at = True, self._monotonic()

    def _is_mine(self, stream: Stream, fence: int) -> bool:
        """Whether the lease stands; as long as nobody can say, it does."""
        now = self._monotonic()
        if now < self._renew_at:
            return True
        self._renew_at = now + self._pace.renew
        try:
            stands = self._database.renew_lease(LEASE, fence=fence, status=self._status(stream))
        except AlphaTraderError as fault:
            log.warning("trade_updates_lease_not_renewed", code=fault.code, error=fault.message)
            return True
        if not stands:
            log.warning("trade_updates_lease_lost", fence=fence)
        return stands

    def _look(self, now: float) -> bool:
        """Ask the venue for what may not have been told; whether it answered."""
        try:
            opened = self._database.account()
            if opened is None:  # the first cycle opens the books
                return True
            if self._behind:
                self._reconcile(self._venue.clock().now)
                self._behind = not self._acknowledged
            else:
                listed_at = self._database.fills_listed_at()
                since = opened.opened_at if listed_at is None else max(opened.opened_at, listed_at - FILL_OVERLAP)
                for fill in self._database.book_fills(self._venue.fills(since)):
                    metrics.observe_fill(fill.side, fill.quantity * fill.price)
                    self._untold[fill.execution_id] = now + self._pace.untold
        except AlphaTraderError as fault:
            log.warning("trade_updates_look_failed", code=fault.code, error=fault.message)
            return False
        self._looked_at = self._clock.now()
        return True

    def _judge(self, stream: Stream, now: float) -> None:
        """Give up a connection that was not acknowledged in time, whose other end is silent, or that does not tell."""
        heard = stream.heard_seconds_ago()
        untold = any(now >= due for due in self._untold.values())
        alive = heard is not None and heard <= self._pace.silence
        if stream.is_listening and alive and not untold:
            self._give_up_at = now + self._pace.connect
        elif untold or now >= self._give_up_at:
            log.warning("trade_updates_mute", heard_seconds_ago=heard, untold=len(self._untold))
            metrics.observe_stream_event("mute")
            self._untold.clear()
            self._give_up_at = now + self._pace.connect
            stream.reconnect()

    def _status(self, stream: Stream) -> Mapping[str, Any]:
        heard = stream.heard_seconds_ago()
        metrics.observe_stream(listening=stream.is_listening, heard_seconds_ago=heard)
        return {
            "listening": stream.is_listening,
            "caught_up": not self._behind,
            "heard_seconds_ago": None if heard is None else round(heard, 1),
            "last_event_at": self._event_at,
            "last_look_at": self._looked_at,
        }
