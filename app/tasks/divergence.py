"""Live beside backtest, every night."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date
from typing import Any

from celery import Task, shared_task

from app.celery_config import DIVERGENCE_TASK
from app.tasks.process import Services
from app.tasks.recorded import Progress, run_recorded


@shared_task(name=DIVERGENCE_TASK, bind=True)
def compare_with_backtest(self: Task) -> None:
    """The newest session, or the period of the record, decided and matched again."""
    run_recorded(self.request.id, "divergence", _compare, scheduled={"trigger": "schedule"})


def _compare(held: Services, params: Mapping[str, Any], progress: Progress) -> Mapping[str, Any]:
    """first, last in params: ISO dates of a period a person asked for."""
    if "first" in params or "last" in params:
        first, last = (date.fromisoformat(params[name]) if params.get(name) else None for name in ("first", "last"))
        asked: Mapping[str, Any] = held.divergence.report(first, last, progress=progress).plain()
        return asked
    report = held.divergence.nightly(progress)
    result: Mapping[str, Any] = {"nothing_recorded": True} if report is None else report.plain()
    return result
