"""Entry point of the watchdog: `python -m app.watchdog`. It needs the database and the venue's clock, and nothing else."""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass

from app.config import Settings, TradingMode, settings
from app.notify.notifier import Notifier
from app.runtime.clock import WallClock
from app.runtime.lone_process import run_alone
from app.runtime.venue_time import VenueTime
from app.services.database_service import DatabaseService
from app.services.guard.backlog import Backlog
from app.services.guard.watchdog import Progress, Watchdog
from app.storage.database import Database

LOOK_SECONDS = 5.0
LOOKS_A_COUNT = 3


@dataclass(frozen=True, slots=True)
class _Sentence:
    """An outbox of one message, for when there is no other."""

    message: str
    id: int = 0
    kind: str = "alert"

    def outbox_pending(self, limit: int) -> list[_Sentence]:
        """Itself."""
        return [self][:limit]

    def outbox_sent(self, id: int) -> None:
        """Nothing to note."""

    def outbox_failed(self, id: int, error: str) -> None:
        """Nothing to note."""


def build(chosen: Settings) -> tuple[Watchdog, Backlog]:
    """The watchdog, and who measures what waits, with all that they need: no venue client, no models. Migrates the database."""
    clock = WallClock()
    database = DatabaseService(Database(chosen.database_url, busy_timeout_seconds=5.0), clock)
    database.migrate()
    notifier = Notifier(chosen, clock)
    venue = VenueTime(
        chosen.alpaca_trading_url,
        key=chosen.alpaca_api_key.get_secret_value(),
        secret=chosen.alpaca_api_secret.get_secret_value(),
    )
    watchdog = Watchdog(
        progress=Progress(venue.reading, simulated=chosen.trading_mode is TradingMode.SIMULATED),
        database=database,
        cycle_seconds=chosen.trading_cycle_seconds,
        mode=chosen.trading_mode.value,
        deliver=lambda: notifier.deliver(database),
        say=lambda text: notifier.deliver(_Sentence(text)),
    )
    return watchdog, Backlog(database, clock=clock, mode=chosen.trading_mode.value)


def _watch(chosen: Settings) -> Callable[[threading.Event], object]:
    watchdog, backlog = build(chosen)

    def work(ended: threading.Event) -> None:
        looks = 0
        while not ended.wait(LOOK_SECONDS):
            watchdog.look()
            if looks % LOOKS_A_COUNT == 0:
                backlog.look()
            looks += 1

    return work


if __name__ == "__main__":
    sys.exit(run_alone("watchdog", settings, _watch))
