"""The task queue: names, queues, limits, beat schedule, and the door by which long work enters.

The queue is a doorbell, never the ledger: what a task is and how far it got stands in the database, so a lost, late or doubled
message is harmless. Measured reasons for the transport figures are beside them.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any, Protocol

from celery import Celery
from celery.schedules import crontab, schedstate, schedule
from celery.signals import before_task_publish
from kombu import Queue
from kombu.exceptions import OperationalError
from redis.exceptions import RedisError

from app.config import Settings, TradingMode, settings
from app.domain.errors import Conflict, InvalidInput, TryAgain
from app.runtime import metrics
from app.runtime.venue_time import VenueTime

TRADING, LEARNING, BACKTESTS, UPKEEP = "trading", "learning", "backtests", "upkeep"
QUEUES = (TRADING, LEARNING, BACKTESTS, UPKEEP)

CYCLE_TASK = "app.tasks.smart_trading_pipeline"
TRAIN_TASK = "app.tasks.train_models_batch"
TUNE_TASK = "app.tasks.optimize_hyperparameters_for_watchlist"
BACKTEST_TASK = "app.tasks.run_backtest"
DELIVER_TASK = "app.tasks.deliver_outbox"
RECONCILE_TASK = "app.tasks.reconcile_books"
RESEARCH_TASK = "app.tasks.work_on_research"
OPTIMIZE_TASK = "app.tasks.optimize_ensemble"
DIVERGENCE_TASK = "app.tasks.compare_with_backtest"

# Raised whenever a message of before could be misread by the tasks of after: those still queued are refused, not guessed at.
MESSAGE_VERSION = 1
VERSION_HEADER = "message_version"

LONGEST_TASK_SECONDS = 4 * 3600
SIMULATED_TICK_EXPIRES_SECONDS = 25.0  # shorter than the conductor's patience: a slot given up never runs late
PENDING_LIMIT = 20  # unfinished tasks of one kind; the next is refused
UNFINISHED = ("queued", "running")
_KEYED = uuid.UUID("2a7e6b2e-7c8e-5c0e-9d1b-6f0f4b1c9a55")  # ids of tasks follow from their callers' keys
OUTBOX_SWEEP_SECONDS = 2.0  # and a second of beat's: an alert that no cycle hands on is at the channel within five


@dataclass(frozen=True, slots=True, kw_only=True)
class TaskRule:
    """Where a task runs and how long it may: soft limit (exception inside the task), then hard (its process is killed)."""

    queue: str
    soft_seconds: int
    hard_seconds: int


TASKS: Mapping[str, TaskRule] = {
    CYCLE_TASK: TaskRule(queue=TRADING, soft_seconds=90, hard_seconds=120),
    TRAIN_TASK: TaskRule(queue=LEARNING, soft_seconds=3_600, hard_seconds=3_900),
    TUNE_TASK: TaskRule(queue=LEARNING, soft_seconds=LONGEST_TASK_SECONDS - 600, hard_seconds=LONGEST_TASK_SECONDS),
    BACKTEST_TASK: TaskRule(queue=BACKTESTS, soft_seconds=3_600, hard_seconds=3_900),
    RESEARCH_TASK: TaskRule(queue=BACKTESTS, soft_seconds=LONGEST_TASK_SECONDS - 600, hard_seconds=LONGEST_TASK_SECONDS),
    OPTIMIZE_TASK: TaskRule(queue=BACKTESTS, soft_seconds=LONGEST_TASK_SECONDS - 600, hard_seconds=LONGEST_TASK_SECONDS),
    RECONCILE_TASK: TaskRule(queue=TRADING, soft_seconds=240, hard_seconds=300),
    DIVERGENCE_TASK: TaskRule(queue=BACKTESTS, soft_seconds=1_800, hard_seconds=1_900),
    DELIVER_TASK: TaskRule(queue=UPKEEP, soft_seconds=50, hard_seconds=60),
}

KINDS: Mapping[str, str] = {
    "trading_cycle": CYCLE_TASK,
    "train": TRAIN_TASK,
    "tune": TUNE_TASK,
    "backtest": BACKTEST_TASK,
    "divergence": DIVERGENCE_TASK,
}


def make_celery(chosen: Settings) -> Celery:
    """The Celery application for these settings. Opens no connection; tasks are imported when a worker starts."""
    url = chosen.celery_broker_url
    app = Celery("alpha_trader", broker=url, include=["app.tasks"], task_cls="app.tasks.delivery:OurTask")
    app.conf.update(
        timezone="UTC",
        enable_utc=True,
        task_ignore_result=True,  # the state of a task is its row in the database; there is no result backend
        task_store_errors_even_if_ignored=False,
        result_expires=None,  # no results, no nightly sweep for them
        task_serializer="json",
        accept_content=["json"],  # a pickle in the queue would be code
        worker_consumer="app.tasks.delivery:Consumer",
        broker_transport="app.runtime.redis_transport:Transport" if url.startswith("redis") else None,
        task_queues=[Queue(name) for name in QUEUES],
        task_default_queue=LEARNING,
        task_create_missing_queues=False,
        task_routes={name: {"queue": rule.queue} for name, rule in TASKS.items()},
        task_annotations={
            name: {"soft_time_limit": rule.soft_seconds, "time_limit": rule.hard_seconds} for name, rule in TASKS.items()
        },
        task_acks_late=True,  # with the next line: a task whose process dies goes back to the queue; either alone loses it
        task_reject_on_worker_lost=True,
        worker_prefetch_multiplier=1,  # a long task must not sit on others that were fetched with it
        worker_max_memory_per_child=2_000_000,  # kB: a child that has grown beyond is replaced when its task has ended
        worker_proc_alive_timeout=60.0,  # a fresh child imports the model libraries; the default 4 s kills it in a loop
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        worker_cancel_long_running_tasks_on_connection_loss=False,
        broker_connection_retry_on_startup=True,
        broker_connection_timeout=3.0,
        broker_transport_options=transport_options(),
        task_publish_retry_policy={"max_retries": 1, "interval_start": 0.1, "interval_step": 0.2, "interval_max": 0.5},
        beat_schedule=beat_schedule(chosen),
        beat_max_loop_interval=0.1 if chosen.trading_mode is TradingMode.SIMULATED else 1.0,
        beat_schedule_filename=str(chosen.state_dir / "beat-schedule"),
        beat_scheduler="app.tasks.beat:Scheduler",
        beat_sync_every=1,  # a killed beat must not send again what it has sent
    )
    return app


@before_task_publish.connect
def _stamp(headers: dict[str, Any] | None = None, **_: object) -> None:
    if headers is not None:
        headers[VERSION_HEADER] = MESSAGE_VERSION


def transport_options() -> dict[str, object]:
    """Options of the Redis transport."""
    return {
        # Longer than the longest task and the longest countdown: a task that outlives it runs twice at once.
        "visibility_timeout": LONGEST_TASK_SECONDS + 3_600,
        # How often unacknowledged messages are looked through. With the defaults (10 x 10 s) a message that was due came
        # back up to 100 s late; with these, 12 s were measured.
        "unacked_restore_interval": 2,
        "unacked_restore_throttle": 1,
        # A silent broker is an error, not a wait. The reader blocks up to 1 s for messages, so 5 s is no false alarm.
        "socket_timeout": 5.0,
        "socket_connect_timeout": 2.0,
        "socket_keepalive": True,
        "health_check_interval": 25,
    }


class SlotSchedule(schedule):
    """Due once per slot, where slots are the multiples of `run_every` since 1970: the same slots that name the cycles."""

    def is_due(self, last_run_at: datetime) -> schedstate:
        """Whether a slot has begun since `last_run_at`, and seconds to the next."""
        length = self.run_every.total_seconds()
        now = self.maybe_make_aware(self.now()).timestamp()
        due = now // length > self.maybe_make_aware(last_run_at).timestamp() // length
        return schedstate(due, length - now % length)


def beat_schedule(chosen: Settings) -> dict[str, dict[str, Any]]:
    """What beat sends, and when, in UTC of the venue's clock (simulated mode) or the wall's.

    At 23:00 both nightly entries are sent. Tuning goes first: on its end, good or bad, it hands on to training. The training
    entry only makes sure: it yields while a tuning of the same night is due or running, or once that night has been
    trained (`app.tasks.learning`), so the order tuning, training holds whichever message comes first.
    """
    now = venue_now if chosen.trading_mode is TradingMode.SIMULATED else None
    seconds = chosen.trading_cycle_seconds
    each_cycle = (
        crontab(minute="*/10", hour="11-23", day_of_week="mon-fri", nowfun=now)
        if seconds == 600
        else SlotSchedule(seconds, nowfun=now)
    )
    # A tick that waited longer than this is of a slot gone by: dropped, so that a backlog never runs in a burst.
    expires = SIMULATED_TICK_EXPIRES_SECONDS if now else 0.9 * seconds
    entries: dict[str, dict[str, Any]] = {
        "smart-trading-pipeline": {"task": CYCLE_TASK, "schedule": each_cycle, "options": {"expires": expires}},
        # All entries run on one clock: beat keeps them in one heap, and an entry on another clock would starve in it.
        "deliver-outbox": {
            "task": DELIVER_TASK,
            "schedule": schedule(OUTBOX_SWEEP_SECONDS, nowfun=now),
            "options": {"expires": 4 * OUTBOX_SWEEP_SECONDS},
        },
    }
    # After the last cycle that can trade: a venue's statement of the day is complete then.
    entries["reconcile-books"] = {
        "task": RECONCILE_TASK,
        "schedule": crontab(minute="30", hour="22", day_of_week="mon-fri", nowfun=now),
        "options": {"expires": 3600.0},
    }
    # After the books have been compared, and before the night's training replaces the models that forecast the day.
    entries["compare-with-backtest"] = {
        "task": DIVERGENCE_TASK,
        "schedule": crontab(minute="45", hour="22", day_of_week="mon-fri", nowfun=now),
        "options": {"expires": 3600.0},
    }
    if chosen.nightly_learning:
        nightly = crontab(minute="0", hour="23", day_of_week="mon-fri", nowfun=now)
        options = {"expires": 12 * 3600.0}
        entries["optimize-hyperparameters"] = {"task": TUNE_TASK, "schedule": nightly, "options": options}
        entries["daily-model-finetuning"] = {
            "task": TRAIN_TASK,
            "schedule": nightly,
            "kwargs": {"nightly": True},
            "options": options,
        }
        # After the day's tuning and training; the morning after each trading day.
        entries["optimize-ensemble"] = {
            "task": OPTIMIZE_TASK,
            "schedule": crontab(minute="0", hour="1", day_of_week="tue-sat", nowfun=now),
            "options": options,
        }
    return entries


@lru_cache(maxsize=1)
def _venue_time() -> VenueTime:
    chosen = settings()
    return VenueTime(
        chosen.alpaca_trading_url,
        key=chosen.alpaca_api_key.get_secret_value(),
        secret=chosen.alpaca_api_secret.get_secret_value(),
    )


def venue_now() -> datetime:
    """The venue's present instant by this process's settings. A plain function, so that a stored schedule can name it."""
    return _venue_time().now()


class TaskRecord(Protocol):
    """What the queue and the tasks read of a durable task record (`app.domain.records.TaskRecord`)."""

    @property
    def task_id(self) -> str:
        """Id of the record, and of the message that rings for it."""

    @property
    def kind(self) -> str:
        """One of KINDS."""

    @property
    def state(self) -> str:
        """queued, running, done or failed."""

    @property
    def params(self) -> Mapping[str, Any]:
        """What was asked."""


class TaskRecords(Protocol):
    """The part of the database service that keeps long-running tasks."""

    def create_task(self, kind: str, params: dict[str, Any], task_id: str | None = None) -> str:
        """A new queued record; its id. One that is there already stays as it is."""

    def fail_task(self, task_id: str, error: str) -> object:
        """The task has ended without a result."""

    def tasks(self, limit: int) -> Sequence[TaskRecord]:
        """The newest records."""


class CeleryTaskQueue:
    """Starts long work: first the record, then the message. The message carries no more than the record's id."""

    def __init__(self, celery: Celery, records: TaskRecords) -> None:
        self._celery = celery
        self._records = records
        metrics.expect_tasks(KINDS)

    def enqueue(self, kind: str, params: Mapping[str, Any], *, key: str | None = None) -> str:
        """The id of the new task. Conflict: too many of this kind wait. TryAgain: no broker, nothing was sent.
        key: of whoever asks; the same one again means the same task. Its message is sent anew while nobody has begun, as
        whoever was to send it may have died."""
        if kind not in KINDS:
            raise InvalidInput(f"no such kind of task: {kind}; there are {', '.join(KINDS)}")
        if key is not None:
            return self._enqueue_once(kind, params, uuid.uuid5(_KEYED, f"{kind} {key}").hex)
        self._refuse_when_full(kind)
        task_id = self._records.create_task(kind, dict(params))
        try:
            self._ring(kind, task_id)
        except TryAgain:
            self._records.fail_task(task_id, "the task queue could not be reached")
            metrics.observe_task(kind, "failed")
            raise
        return task_id

    def _enqueue_once(self, kind: str, params: Mapping[str, Any], task_id: str) -> str:
        known = next((task for task in self._records.tasks(10 * PENDING_LIMIT) if task.task_id == task_id), None)
        if known is None:
            self._refuse_when_full(kind)
            self._records.create_task(kind, dict(params), task_id)
        if known is None or known.state == "queued":
            self._ring(kind, task_id)  # without a broker it stays queued, for the next time it is asked for
        return task_id

    def ring_research(self, run_id: str, workers: int = 1) -> None:
        """Have `workers` processes, as far as there are so many, work on a run of research. TryAgain: no broker; the run
        stands as it is and can be rung for again."""
        try:
            for _ in range(workers):
                self._celery.send_task(RESEARCH_TASK, kwargs={"run_id": run_id})
        except (OperationalError, RedisError, OSError) as fault:
            raise TryAgain("the task queue cannot be reached", code="queue_unavailable") from fault

    def _refuse_when_full(self, kind: str) -> None:
        waiting = [task for task in self._records.tasks(10 * PENDING_LIMIT) if task.kind == kind and task.state in UNFINISHED]
        if len(waiting) >= PENDING_LIMIT:
            raise Conflict(
                f"{len(waiting)} tasks of kind {kind} are waiting; try again when some have ended", code="queue_full"
            )

    def _ring(self, kind: str, task_id: str) -> None:
        try:
            self._celery.send_task(KINDS[kind], task_id=task_id)
        except (OperationalError, RedisError, OSError) as fault:
            raise TryAgain("the task queue cannot be reached", code="queue_unavailable") from fault
        metrics.observe_task(kind, "queued")

    def ping(self) -> None:
        """Returns when the broker answers; else TryAgain."""
        try:
            with self._celery.connection_for_write(connect_timeout=1.0) as connection:
                connection.ensure_connection(max_retries=1, interval_start=0.1, timeout=1.0)
        except (OperationalError, RedisError, OSError) as fault:
            raise TryAgain("the task queue cannot be reached", code="queue_unavailable") from fault
