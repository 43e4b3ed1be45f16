"""Celery's Redis transport, but for one thing: what is no message at all is thrown away instead of ending the worker.

What turns out to be unreadable has left the queue by then; kombu lets the fault end the process, and as many of these as there
are restarts would end the installation.
"""

from __future__ import annotations

from queue import Empty
from typing import Any

import structlog
from kombu.transport import redis

from app.runtime import metrics

_log = structlog.get_logger()


class Channel(redis.Channel):
    """Reads over what is not one of kombu's envelopes."""

    def _brpop_read(self, **options: Any) -> Any:
        try:
            return super()._brpop_read(**options)
        except (ValueError, KeyError, TypeError) as fault:
            metrics.observe_message_discarded("not_a_message")
            _log.error("queue_entry_discarded", error=f"{type(fault).__name__}: {fault}")
            raise Empty from None


class Transport(redis.Transport):
    """kombu's, with the channel above."""

    Channel = Channel
