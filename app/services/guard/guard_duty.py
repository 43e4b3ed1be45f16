"""The exit monitor's turn and rhythm: one process at a time looks, every few seconds, whatever else is down.

The turn is a lease in the database; it is asked for again before each commit, so that a process that was paused acts no more.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

import structlog

from app.domain.errors import AlphaTraderError
from app.runtime import metrics
from app.runtime.owner import is_alive, this_process
from app.services.alpaca_service import AlpacaService
from app.services.database_service import DatabaseService
from app.services.guard.exit_monitor import ExitMonitor, Look
from app.services.guard.protection import GUARD, GUARD_PATIENCE

log = structlog.get_logger()

RENEW_SECONDS = 5.0
LONGEST_STEP_SECONDS = 1.0  # between two looks at a simulated clock, which may move by minutes at once


class Turn:
    """The right to act, and what its owner tells about its work."""

    def __init__(
        self,
        database: DatabaseService,
        *,
        owner: str | None = None,
        alive: Callable[[str], bool] = is_alive,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """owner: this process unless given. alive: whether an owner still runs."""
        self._database = database
        self._owner = owner or this_process()
        self._alive = alive
        self._monotonic = monotonic
        self._fence: int | None = None
        self._renewed_at = float("-inf")
        self._told: Mapping[str, Any] = {}

    def hold(self) -> bool:
        """Take the turn if it is free; whether it is ours."""
        if self._fence is None:
            self._fence = self._database.take_lease(GUARD, owner=self._owner, patience=GUARD_PATIENCE, is_alive=self._alive)
            self._renewed_at = self._monotonic()
        elif self._monotonic() - self._renewed_at > RENEW_SECONDS:
            self._renew()
        return self._fence is not None

    def may_act(self) -> bool:
        """Whether it is ours at this very moment."""
        if self._fence is not None:
            self._renew()
        return self._fence is not None

    def tell(self, status: Mapping[str, Any]) -> None:
        """What others are to know; written when it changes and with each renewal."""
        changed = status.get("notes") != self._told.get("notes")
        self._told = dict(status)
        if changed and self._fence is not None:
            self._renew()

    def give_back(self) -> None:
        """Another process may go on at once."""
        fence, self._fence = self._fence, None
        if fence is not None:
            self._database.release_lease(GUARD, fence=fence)

    def _renew(self) -> None:
        if self._fence is None or not self._database.renew_lease(GUARD, fence=self._fence, status=self._told):
            log.warning("guard_turn_lost", fence=self._fence)
            self._fence = None
            return
        self._renewed_at = self._monotonic()


class GuardDuty:
    """Looks again and again while it has the turn."""

    def __init__(
        self,
        *,
        monitor: ExitMonitor,
        venue: AlpacaService,
        turn: Turn,
        interval_seconds: float,
        follows_venue: bool,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        """follows_venue: the venue's time does not run with ours; a look is worth something only when it moved on."""
        self._monitor = monitor
        self._venue = venue
        self._turn = turn
        self._interval = min(interval_seconds, LONGEST_STEP_SECONDS) if follows_venue else interval_seconds
        self._follows_venue = follows_venue
        self._monotonic = monotonic
        self._stood_at: datetime | None = None
        self._unprotected: set[str] = set()
        self._exposed: set[str] = set()
        self._accounted_at = monotonic()

    def run(self, stop: Callable[[], bool], pause: Callable[[float], object] = time.sleep) -> None:
        """Until `stop()`. Trouble with venue or database ends nothing."""
        while not stop():
            self.once()
            pause(self._interval)
        try:
            self._turn.give_back()
        except AlphaTraderError as fault:
            log.warning("guard_turn_not_given_back", code=fault.code, error=fault.message)

    def once(self) -> Look | None:
        """One look if it is our turn and there is something to see."""
        try:
            if not self._turn.hold():
                metrics.observe_guard("waiting")
                return None
            clock = self._venue.clock()
            if self._follows_venue and clock.now == self._stood_at:
                return None
            look = self._monitor.look(clock)
        except AlphaTraderError as fault:
            log.warning("guard_is_blind", code=fault.code, error=fault.message)
            metrics.observe_guard("failed")
            self._account(self._exposed, set())
            return None
        self._stood_at = clock.now
        self._report(look)
        return look

    def _report(self, look: Look) -> None:
        self._account(set(look.notes), set(look.watched))
        metrics.observe_guard("looked")
        if look.sold or look.rested:
            log.info("guard_acted", sold=look.sold, rested=look.rested)
        try:
            self._turn.tell({"looked_at": look.at.isoformat(), "watched": list(look.watched), "notes": dict(look.notes)})
        except AlphaTraderError as fault:
            log.warning("guard_status_not_written", code=fault.code, error=fault.message)

    def _account(self, unprotected: set[str], watched: set[str]) -> None:
        """Seconds for which holdings had nobody: those that had nobody at the last look and have nobody now. Blind, all do that
        nothing at the venue protected."""
        now = self._monotonic()
        metrics.observe_protection(
            watched=len(watched),
            unprotected=len(unprotected),
            seconds=(now - self._accounted_at) * len(self._unprotected & unprotected),
        )
        self._unprotected, self._exposed = unprotected, unprotected | watched
        self._accounted_at = now
