"""Tuning and training, and the night on which they follow each other.

Night: from 23:00 UTC of a day to 23:00 of the next, named by the day it begins. Both nightly beat messages come at 23:00:

    tuning      ends, well or badly  ->  enqueues the night's training
    training    night already trained or being trained  ->  nothing to do
                tuning of the night under way, or not heard of yet  ->  looks again in five minutes
                tuning ended without handing on, or never came in half an hour  ->  trains
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from typing import Any

import structlog
from celery import Task, shared_task

from app.celery_config import TRAIN_TASK, TUNE_TASK, UNFINISHED, TaskRecord
from app.domain.errors import AlphaTraderError, InvalidInput
from app.tasks.process import Services, services, venue_now
from app.tasks.recorded import Progress, find_record, run_recorded

LOOK_AGAIN_SECONDS = 300
LOOKS_WITHOUT_TUNING = 6
MOST_LOOKS = 60  # longer than the longest tuning
DEFAULT_TRIALS = 20
_log = structlog.get_logger()


class NightStep(StrEnum):
    """What the nightly training message finds to do."""

    TRAIN = "train"
    WAIT = "wait"
    NOTHING = "nothing"


@shared_task(name=TUNE_TASK, bind=True)
def optimize_hyperparameters_for_watchlist(self: Task) -> None:
    """Tune every symbol of the record (default: the watch list); a nightly tuning then hands on to training."""
    held = services()
    asked = find_record(held.database, self.request.id)
    night = None if asked else night_of(venue_now()).isoformat()
    if night and any(task.params.get("message_id") != self.request.id for task in _of_night(held, "tune", night)):
        _log.info("night_already_tuned", night=night)
        return
    ended = run_recorded(self.request.id, "tune", _tune, scheduled={"night": night, "trigger": "schedule"})
    night = ended.params.get("night") if ended else None
    if night and not _of_night(held, "train", night):
        try:
            held.tasks.enqueue("train", {"night": night, "trigger": "tuning"})
        except AlphaTraderError as fault:  # the nightly training message looks again and finds the tuning ended
            _log.warning("training_not_rung", night=night, error=fault.message)


@shared_task(name=TRAIN_TASK, bind=True, max_retries=MOST_LOOKS)
def train_models_batch(self: Task, *, nightly: bool = False) -> None:
    """Train every symbol of the record (default: the watch list)."""
    held = services()
    if not nightly:
        run_recorded(self.request.id, "train", _train, scheduled={"trigger": "message"})
        return
    night = night_of(venue_now()).isoformat()
    trained = [task for task in _of_night(held, "train", night) if task.params.get("message_id") != self.request.id]
    step = night_step(_of_night(held, "tune", night), trained, looks=self.request.retries)
    if step is NightStep.WAIT:
        raise self.retry(countdown=LOOK_AGAIN_SECONDS)
    if step is NightStep.TRAIN:
        run_recorded(self.request.id, "train", _train, scheduled={"night": night, "trigger": "schedule"})


def night_of(at: datetime) -> date:
    """The night an instant (aware UTC) belongs to."""
    return (at - timedelta(hours=23)).date()


def night_step(tunings: list[TaskRecord], trainings: list[TaskRecord], *, looks: int) -> NightStep:
    """What the nightly training message does, given the night's records and how often it has looked before."""
    if trainings:
        return NightStep.NOTHING
    if any(task.state in UNFINISHED for task in tunings):
        return NightStep.WAIT if looks < MOST_LOOKS else NightStep.TRAIN
    if not tunings and looks < LOOKS_WITHOUT_TUNING:
        return NightStep.WAIT
    # A tuning that ended a moment ago is about to hand on: one more look, unless this was it.
    return NightStep.WAIT if tunings and looks == 0 else NightStep.TRAIN


def _of_night(held: Services, kind: str, night: str) -> list[TaskRecord]:
    return [task for task in held.database.tasks(200) if task.kind == kind and task.params.get("night") == night]


def _tune(held: Services, params: Mapping[str, Any], progress: Progress) -> Mapping[str, Any]:
    bars, at = held.alpaca.training_bars(_symbols(held, params))
    reports = held.optimizer.tune(bars, at=at, trials=_trials(params), progress=progress)
    return {"at": at, "reports": reports}


def _train(held: Services, params: Mapping[str, Any], progress: Progress) -> Mapping[str, Any]:
    """only_unusable in params: leave models alone that would forecast now."""
    bars, at = held.alpaca.training_bars(_symbols(held, params))
    if params.get("only_unusable"):
        answers = held.ai.forecast(bars, at)
        bars = {symbol: series for symbol, series in bars.items() if _wants_model(answers.get(symbol))}
    reports = held.ai.train_batch(bars, at=at, progress=progress) if bars else []
    return {"at": at, "trained": sum(report.trained for report in reports), "reports": reports}


def _wants_model(answer: object) -> bool:
    """Whether an answer of the forecaster is a refusal (NoForecast) for want of a usable model, or none at all."""
    return answer is None or str(getattr(answer, "code", "")).startswith("model_")


def _symbols(held: Services, params: Mapping[str, Any]) -> tuple[str, ...]:
    return tuple(params.get("symbols") or held.settings.watchlist)


def _trials(params: Mapping[str, Any]) -> int:
    trials = params.get("trials") or DEFAULT_TRIALS
    if not isinstance(trials, int) or not 1 <= trials <= 1000:
        raise InvalidInput(f"trials must be 1 to 1000, not {trials!r}")
    return trials
