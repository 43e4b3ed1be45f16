"""Which messages are acted upon: of this version, readable, and not the death of whoever takes them.

What is not is thrown away, counted, and told to people where it names work of ours.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Any

import structlog
from celery import Task
from celery.worker.consumer import Consumer as CeleryConsumer

from app.celery_config import MESSAGE_VERSION, UNFINISHED, VERSION_HEADER
from app.domain.errors import Conflict
from app.runtime import metrics
from app.tasks.process import services
from app.tasks.recorded import find_record

MOST_ATTEMPTS = 3
_log = structlog.get_logger()


class OurTask(Task):
    """The base of all tasks: looks at the message before the work begins."""

    abstract = True

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        """The task's work, or nothing where the message is refused."""
        if not (self.request.called_directly or self.request.is_eager):
            if self.request.get(VERSION_HEADER) != MESSAGE_VERSION:
                said = self.request.get(VERSION_HEADER) or "none"
                _refuse(self, "wrong_version", f"it is of version {said}, and this build understands {MESSAGE_VERSION}")
                return None
            if self.request.delivery_info.get("redelivered") and _deaths(self) >= MOST_ATTEMPTS:
                _refuse(self, "poison", f"the process that ran it died {MOST_ATTEMPTS} times")
                return None
        return self.run(*args, **kwargs)


class Consumer(CeleryConsumer):
    """Celery's, which throws away what it cannot read or does not know; this one counts it."""

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """Not JSON, or a kind of content that could be code."""
        metrics.observe_message_discarded("undecodable")
        super().on_decode_error(message, exc)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """No task is named."""
        metrics.observe_message_discarded("not_a_task")
        super().on_unknown_message(body, message)

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task is named that there is not."""
        metrics.observe_message_discarded("unknown_task")
        super().on_unknown_task(body, message, exc)

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """A task of ours is named in a message of the wrong form."""
        metrics.observe_message_discarded("invalid_task")
        super().on_invalid_task(body, message, exc)


def _deaths(task: Task) -> int:
    return int(services().database.note_redelivery(task.request.id, task.name))


def _refuse(task: Task, reason: str, why: str) -> None:
    metrics.observe_message_discarded(reason)
    _log.error("message_refused", task=task.name, message_id=task.request.id, reason=reason)
    database = services().database
    record = find_record(database, task.request.id)
    if record is not None and record.state in UNFINISHED:
        with suppress(Conflict):  # ended meanwhile
            database.fail_task(record.task_id, f"the message was refused: {why}")
    database.enqueue_alert("queue", f"A message for {task.name} was thrown away: {why}.", {"message_id": task.request.id})
