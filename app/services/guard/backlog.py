"""How long messages to people and tasks have been waiting, as metrics."""

from __future__ import annotations

import structlog

from app.domain.errors import AlphaTraderError
from app.domain.ports import Clock
from app.runtime import metrics
from app.services.database_service import DatabaseService

log = structlog.get_logger()

MOST_COUNTED = 200


class Backlog:
    """Reads the outbox and the task records. clock: of the process, the one whose time the records carry."""

    def __init__(self, database: DatabaseService, *, clock: Clock, mode: str) -> None:
        self._database = database
        self._clock = clock
        self._mode = mode

    def look(self) -> None:
        """One reading, of at most MOST_COUNTED of each. Without the database the last one stands."""
        try:
            messages = [message.created_at for message in self._database.outbox_pending(MOST_COUNTED)]
            tasks = [task.created_at for task in self._database.tasks(MOST_COUNTED) if task.state == "queued"]
        except AlphaTraderError as fault:
            log.warning("backlog_not_read", code=fault.code)
            return
        now = self._clock.now()
        metrics.observe_waiting(
            self._mode,
            messages=[(now - at).total_seconds() for at in messages],
            tasks=[(now - at).total_seconds() for at in tasks],
        )
