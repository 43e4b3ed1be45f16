"""Research on the queue: any number of workers share a run, each for a while, so that it never keeps others waiting long."""

from __future__ import annotations

from datetime import datetime, timedelta

import structlog
from celery import Task, shared_task
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.celery_config import OPTIMIZE_TASK, RESEARCH_TASK
from app.domain.errors import AlphaTraderError
from app.domain.research import ResearchRun, RunState
from app.runtime.stopwatch import Stopwatch
from app.services.research.ensemble_grid import grid_request
from app.tasks.process import Services, services, venue_now

SLICE_SECONDS = 300.0
_log = structlog.get_logger()


class SliceOver(Exception):
    """This process has worked long enough; the next message goes on."""


@shared_task(name=RESEARCH_TASK, bind=True)
def work_on_research(self: Task, *, run_id: str) -> None:
    """Work on a run until it is over, others do the rest, or the time slice ends; then ring for the next slice. A message
    that is delivered again, because its process died, goes on with what is left."""
    try:
        run = _slice(services(), run_id)
    except AlphaTraderError as fault:
        _log.error("research_failed", run_id=run_id, code=fault.code, error=fault.message)
        return
    if run is None:
        _ring(self, run_id)


@shared_task(name=OPTIMIZE_TASK, bind=True)
def optimize_ensemble(self: Task) -> None:
    """The nightly search over the ensemble's weights and threshold. One run a night, however often the message comes."""
    held, now = services(), venue_now()
    run_id = f"ensemble-{now:%Y-%m-%d}"
    try:
        _begin(held, run_id, now)
        run = _slice(held, run_id)
    except AlphaTraderError as fault:
        _log.error("optimization_failed", run_id=run_id, code=fault.code, error=fault.message)
        return
    if run is None:
        _ring(self, run_id)


def _begin(held: Services, run_id: str, now: datetime) -> None:
    if any(run.run_id == run_id for run in held.research.runs(50, "sweep")):
        return
    chosen = held.settings
    held.alpaca.training_bars(chosen.watchlist)  # keeps them in the database
    request = grid_request(
        symbols=chosen.watchlist,
        thresholds=chosen.opt_thresholds,
        window=chosen.opt_window,
        cash=chosen.opt_initial_cash,
        months=chosen.opt_months,
        today=(now - timedelta(hours=2)).date(),
    )
    held.research.start("sweep", request, run_id=run_id)


def _slice(held: Services, run_id: str) -> ResearchRun | None:
    """The run as it stands after a time slice; None when there is more to do."""
    watch = Stopwatch()

    def progress(_done: int, _total: int, message: str) -> None:
        # Between two chunks, where nothing is lost.
        if not message and watch.total() > SLICE_SECONDS:
            raise SliceOver

    try:
        run: ResearchRun = held.research.work(run_id, progress)
    except SliceOver:
        return None
    if run.state is RunState.DONE:
        best = (run.result or {}).get("best", {})
        _log.info("optimization done" if best else "research_over", run_id=run_id, best=best.get("values"))
    return run


def _ring(task: Task, run_id: str) -> None:
    try:
        task.app.send_task(RESEARCH_TASK, kwargs={"run_id": run_id})
    except (OperationalError, RedisError, OSError) as fault:
        _log.warning("research_not_rung", run_id=run_id, error=str(fault))
