"""Small chores that must never stand in a cycle's way."""

from __future__ import annotations

from celery import shared_task

from app.celery_config import DELIVER_TASK
from app.tasks.process import services

BATCH = 50


@shared_task(name=DELIVER_TASK)
def deliver_outbox() -> None:
    """Send the messages that wait in the outbox. What fails stays there for the next sweep."""
    held = services()
    held.notifier.deliver(held.database, BATCH)
