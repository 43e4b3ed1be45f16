"""The life of a durable task record around a piece of work."""

from __future__ import annotations

import dataclasses
import math
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any

import structlog
from celery.exceptions import SoftTimeLimitExceeded

from app.celery_config import UNFINISHED, TaskRecord
from app.domain.errors import AlphaTraderError, Conflict, NotFound
from app.runtime import metrics
from app.runtime.stopwatch import Stopwatch
from app.tasks.process import Database, Services, services

Progress = Callable[[int, int, str], None]
Work = Callable[[Services, Mapping[str, Any], Progress], Mapping[str, Any]]

PROGRESS_EVERY_SECONDS = 0.5
_log = structlog.get_logger()


def run_recorded(message_id: str, kind: str, work: Work, *, scheduled: Mapping[str, Any]) -> TaskRecord | None:
    """Do `work` under the record that `message_id` rings for, or under a new one with params `scheduled` (a beat message).

    Returns the record as it ended; None when there was nothing to do, because an earlier delivery ended it. A second
    delivery of a message whose work was under way means that its process died: the record fails, and the work is not
    repeated, so that work that kills its process cannot do so for ever.
    """
    held = services()
    database: Database = held.database
    record = _record_of(database, message_id, kind, scheduled)
    if record.state not in UNFINISHED:
        _log.info("task_already_ended", task_id=record.task_id, kind=kind, state=str(record.state))
        return None
    if record.state == "running":
        _fail(database, record.task_id, "the process that ran it died; start it again")
        metrics.observe_task(kind, "failed")
        return database.task(record.task_id)
    database.start_task(record.task_id)
    metrics.observe_task(kind, "running")
    watch = Stopwatch()
    log = _log.bind(task_id=record.task_id, kind=kind)
    log.info("task_started")
    try:
        result = work(held, record.params, _reporter(database, record.task_id))
        database.finish_task(record.task_id, plain(result))
        log.info("task_done")
    except SoftTimeLimitExceeded:
        log.error("task_too_long")
        _fail(database, record.task_id, "it took longer than a task of this kind may")
    except AlphaTraderError as fault:
        log.warning("task_failed", code=fault.code, error=fault.message)
        _fail(database, record.task_id, fault.message)
    except Exception as fault:  # the edge of the process: the record must not stay running
        log.exception("task_broke")
        _fail(database, record.task_id, f"{type(fault).__name__}: {fault}")
    ended = database.task(record.task_id)
    metrics.observe_task(kind, str(ended.state), watch.total())
    return ended


def _fail(database: Database, task_id: str, error: str) -> None:
    with suppress(Conflict):  # ended meanwhile by somebody who took this process for dead
        database.fail_task(task_id, error)


def find_record(database: Database, task_id: str) -> TaskRecord | None:
    """The record of this id, or None."""
    try:
        return database.task(task_id)
    except NotFound:
        return None


def plain(value: Any) -> Any:
    """The value as JSON knows it: decimals as text, instants as RFC 3339, enums by value, numbers not finite as null."""
    if isinstance(value, Enum):
        return plain(value.value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: plain(getattr(value, field.name)) for field in dataclasses.fields(value)}
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple, set, frozenset)):
        return [plain(item) for item in value]
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    if isinstance(value, (Decimal, Path)):
        return str(value)
    if value is None or isinstance(value, (str, bool, int)):
        return value
    if hasattr(value, "tolist"):  # numpy scalars and arrays
        return plain(value.tolist())
    number = float(value)
    return number if math.isfinite(number) else None


def _record_of(database: Database, message_id: str, kind: str, scheduled: Mapping[str, Any]) -> TaskRecord:
    record = find_record(database, message_id)
    if record is not None:
        return record
    for known in database.tasks(100):
        if known.kind == kind and known.params.get("message_id") == message_id:
            return known
    return database.task(database.create_task(kind, {**scheduled, "message_id": message_id}))


def _reporter(database: Database, task_id: str) -> Progress:
    """Progress to the record, at most twice a second and always the last."""
    written_at = float("-inf")

    def report(done: int, total: int, message: str) -> None:
        nonlocal written_at
        if done >= total or time.monotonic() - written_at >= PROGRESS_EVERY_SECONDS:
            written_at = time.monotonic()
            database.progress_task(task_id, done, total, message)

    return report
