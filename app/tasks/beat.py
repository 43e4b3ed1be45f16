"""Beat's memory of what it has sent, which may be lost but never keeps beat from starting."""

from __future__ import annotations

import contextlib

import structlog
from celery.beat import PersistentScheduler

_log = structlog.get_logger()


class Scheduler(PersistentScheduler):
    """Celery's, which mends some kinds of broken files; this one begins anew on any. A slot that is then rung for a second time
    finds its cycle in the database."""

    def setup_schedule(self) -> None:
        """Read the file, or begin a new one."""
        try:
            super().setup_schedule()
        except Exception as fault:  # noqa: BLE001 - a pickle that is broken, or of an older build, may fail in any way
            _log.error("beat_schedule_file_discarded", error=f"{type(fault).__name__}: {fault}")
            with contextlib.suppress(Exception):
                self._store.close()
            self._remove_db()
            super().setup_schedule()
