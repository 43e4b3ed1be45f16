"""The trading cycle."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import structlog
from celery import Task, shared_task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.celery_config import CYCLE_TASK, DELIVER_TASK, OUTBOX_SWEEP_SECONDS, RECONCILE_TASK
from app.domain.errors import AlphaTraderError
from app.runtime import metrics
from app.runtime.stopwatch import Stopwatch
from app.tasks.process import Services, services
from app.tasks.recorded import Progress, find_record, plain, run_recorded

_log = structlog.get_logger()


@shared_task(name=CYCLE_TASK, bind=True)
def smart_trading_pipeline(self: Task) -> None:
    """Run the cycle of the present slot. A tick of beat leaves a cycle row; what a person asked for has a task record too."""
    held = services()
    if find_record(held.database, self.request.id) is not None:
        run_recorded(self.request.id, "trading_cycle", partial(_manual_cycle, request_id=self.request.id), scheduled={})
    else:
        _scheduled_cycle(held)
    _ring_outbox(self)


@shared_task(name=RECONCILE_TASK, bind=True)
def reconcile_books(self: Task) -> None:
    """Nightly: the account statement of the last days against our books, entry by entry."""
    try:
        books = services().trading.reconcile("nightly")
    except AlphaTraderError as fault:
        _log.error("reconciliation_failed", code=fault.code, error=fault.message)
    else:
        _log.info("books_reconciled", fills=books.fills, differences=books.differences)
    _ring_outbox(self)


def _scheduled_cycle(held: Services) -> None:
    state, watch = "failed", Stopwatch()
    metrics.observe_task("trading_cycle", "running")
    try:
        report = held.trading.run_cycle(trigger="schedule")
    except AlphaTraderError as fault:
        # No retry: a cycle belongs to its slot, and the next tick brings the next one.
        _log.error("cycle_failed", code=fault.code, error=fault.message)
    else:
        state = "done"
        _log.info("cycle_ended", cycle_id=report.cycle_id, outcome=str(report.outcome), detail=report.detail)
    finally:
        metrics.observe_task("trading_cycle", state, watch.total())


def _manual_cycle(
    held: Services,
    params: Mapping[str, Any],  # noqa: ARG001
    progress: Progress,  # noqa: ARG001
    *,
    request_id: str,
) -> Mapping[str, Any]:
    """A cycle of its own beside the slot's; the request's id keeps a redelivered message from running it twice."""
    report = held.trading.run_cycle(trigger="manual", request_id=request_id)
    result: Mapping[str, Any] = plain(report)
    return result


def _ring_outbox(task: Task) -> None:
    """Have new messages delivered now rather than at the next sweep. The cycle is over; a silent broker changes nothing."""
    try:
        task.app.send_task(DELIVER_TASK, expires=4 * OUTBOX_SWEEP_SECONDS, retry=False)
    except (OperationalError, RedisError, OSError) as fault:
        _log.warning("outbox_not_rung", error=str(fault))
