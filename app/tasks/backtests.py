"""Backtests on their own queue."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Task, shared_task

from app.celery_config import BACKTEST_TASK
from app.tasks.process import Services
from app.tasks.recorded import Progress, run_recorded


@shared_task(name=BACKTEST_TASK, bind=True)
def run_backtest(self: Task) -> None:
    """Run the backtest that the record describes."""
    run_recorded(self.request.id, "backtest", _backtest, scheduled={})


def _backtest(held: Services, params: Mapping[str, Any], progress: Progress) -> Mapping[str, Any]:
    result: Mapping[str, Any] = held.backtests.run(dict(params), progress=progress)
    return result
