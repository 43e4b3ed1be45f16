"""Whether trading makes progress, asked apart from everything that trades: no queue, no worker, no beat.

A process can run, answer pings and do nothing. What counts is in the database: cycles that did their work while the venue was
open.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import structlog

from app.domain.errors import AlphaTraderError
from app.runtime import metrics
from app.runtime.owner import is_alive, this_process
from app.services.database_service import DatabaseService

log = structlog.get_logger()

LEASE = "watchdog"
LEASE_PATIENCE = timedelta(seconds=60)
OUTBOX_PATIENCE_SECONDS = 60.0
SILENT_CYCLES = 2  # of ten minutes: the twenty minutes of session after which people are told

Reading = tuple[datetime, bool]


class Progress:
    """Session time since a cycle did its work, by the venue's clock.

    reading: the venue's instant and whether it is open, None when it does not answer. Its time then goes on as ours does,
    unless it is simulated: that clock stands while nobody moves it."""

    def __init__(
        self, reading: Callable[[], Reading | None], *, simulated: bool, monotonic: Callable[[], float] = time.monotonic
    ) -> None:
        self._reading = reading
        self._simulated = simulated
        self._monotonic = monotonic
        self._last: tuple[Reading, float] | None = None
        self._open_since: datetime | None = None

    def silence(self, newest_slot_done: datetime | None) -> timedelta:
        """Zero while the venue is closed, or was never reached. The time before the opening does not count, and neither
        does that before our first look."""
        told = self._reading()
        if told is not None:
            self._last = told, self._monotonic()
        if self._last is None:
            return timedelta(0)
        (now, is_open), read_at = self._last
        if not is_open:
            self._open_since = None
            return timedelta(0)
        if told is None and not self._simulated:
            now += timedelta(seconds=self._monotonic() - read_at)
        self._open_since = min(self._open_since or now, now)
        return now - max(newest_slot_done or self._open_since, self._open_since)


class Watchdog:
    """Tells people when cycles stop coming, and delivers what waits in the outbox when nobody else does.

    deliver: sends what waits. say: sends one sentence past the outbox, for when the database takes nothing. Neither raises."""

    def __init__(
        self,
        *,
        progress: Progress,
        database: DatabaseService,
        cycle_seconds: int,
        mode: str,
        deliver: Callable[[], object],
        say: Callable[[str], object],
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._progress = progress
        self._database = database
        self._allowed = timedelta(seconds=SILENT_CYCLES * cycle_seconds)
        self._mode = mode
        self._deliver = deliver
        self._say = say
        self._monotonic = monotonic
        self._fence: int | None = None
        self._silent = False
        self._newest: datetime | None = None
        self._stuck: tuple[object, float] | None = None

    def look(self) -> None:
        """One look at everything. Only one of several watchdogs acts. Trouble with the database is itself told."""
        try:
            if not self._is_mine():
                return
            self._newest = self._database.newest_slot_done()
        except AlphaTraderError as fault:
            log.warning("watchdog_without_database", code=fault.code, error=fault.message)
        self._judge(self._progress.silence(self._newest))
        self._empty_outbox()

    def _is_mine(self) -> bool:
        status: dict[str, Any] = {"silent": self._silent, "newest_slot_done": self._newest}
        if self._fence is not None and not self._database.renew_lease(LEASE, fence=self._fence, status=status):
            self._fence = None
        if self._fence is None:
            self._fence = self._database.take_lease(LEASE, owner=this_process(), patience=LEASE_PATIENCE, is_alive=is_alive)
        return self._fence is not None

    def _judge(self, silence: timedelta) -> None:
        metrics.observe_silence(self._mode, silence.total_seconds())
        silent = silence > self._allowed
        if silent is self._silent:
            return
        self._silent = silent
        minutes = f"{silence.total_seconds() / 60:.0f} minutes"
        newest = f"the last one was that of {self._newest:%Y-%m-%d %H:%M} UTC" if self._newest else "there was none yet"
        self._tell(
            f"No trading cycle has done its work for {minutes} of session; {newest}."
            if silent
            else f"Trading cycles do their work again; {newest}."
        )

    def _tell(self, text: str) -> None:
        log.error("watchdog", text=text)
        try:
            self._database.enqueue_alert("watchdog", text)
        except AlphaTraderError as fault:
            log.warning("watchdog_past_the_outbox", code=fault.code)
            self._say(text)

    def _empty_outbox(self) -> None:
        """The first message of the outbox is still the same after a while: whoever should deliver it does not."""
        try:
            first = next((message.id for message in self._database.outbox_pending(1)), None)
        except AlphaTraderError:
            return
        now = self._monotonic()
        if first is None or self._stuck is None or self._stuck[0] != first:
            self._stuck = None if first is None else (first, now)
        elif now - self._stuck[1] >= OUTBOX_PATIENCE_SECONDS:
            self._deliver()
