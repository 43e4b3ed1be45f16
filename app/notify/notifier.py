"""Delivers the messages that wait in the outbox. Called beside trading, never in it: nothing waits for a message.

A message leaves the outbox only when the channel took it, so it is delivered at least once. A channel that fails is left
alone for a while that doubles with every failure; one that hangs is abandoned after a bounded time.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any, Protocol

import structlog

from app.config import Settings
from app.domain.ports import Clock
from app.notify import discord
from app.runtime import metrics
from app.runtime.clock import WallClock
from app.runtime.redaction import Redactor, secrets_of

log = structlog.get_logger(__name__)

SEND_SECONDS = 12.0
FIRST_PAUSE = timedelta(seconds=5)
LONGEST_PAUSE = timedelta(minutes=10)


class Message(Protocol):
    """A row of the outbox. kind: fill, alert or halt; message: a sentence for a person."""

    @property
    def id(self) -> Any: ...  # noqa: D102
    @property
    def kind(self) -> str: ...  # noqa: D102
    @property
    def message(self) -> str: ...  # noqa: D102


class Outbox(Protocol):
    """The database as the notifier needs it."""

    def outbox_pending(self, limit: int) -> Sequence[Message]: ...  # noqa: D102
    def outbox_sent(self, id: Any) -> object: ...  # noqa: D102
    def outbox_failed(self, id: Any, error: str) -> object: ...  # noqa: D102


class Notifier:
    """Sends waiting messages to the configured channel, several in one post. Keep one for the life of a process."""

    def __init__(self, settings: Settings, clock: Clock | None = None) -> None:
        """Raises ConfigurationError when the webhook's address is not one."""
        webhook = settings.discord_webhook_url
        self._webhook = webhook.get_secret_value() if webhook is not None else ""
        if self._webhook:
            discord.channel_url(self._webhook)
        self._redactor = Redactor(secrets_of(settings))
        self._clock = clock or WallClock()
        self._mode = settings.trading_mode.value
        self._channel: Any = None
        self._sending: threading.Thread | None = None
        self._failures = 0
        self._silent_until: datetime | None = None

    def deliver(self, database: Outbox, limit: int = 50) -> int:
        """Send up to `limit` waiting messages; returns how many left the outbox. Never raises for a channel's failure.

        Without a channel they are written to the log instead, so that the outbox does not grow for ever.
        """
        if self._is_paused():
            return 0
        waiting = list(database.outbox_pending(limit))
        sent = 0
        for batch in self._batches(waiting):
            error = self._post("\n".join(line for _, line in batch))
            for row, line in batch:
                if error is None:
                    database.outbox_sent(row.id)
                    log.info("message", kind=row.kind, text=line, channel="discord" if self._webhook else "log")
                else:
                    database.outbox_failed(row.id, error)
            if error is not None:
                self._pause(error)
                break
            sent += len(batch)
            self._failures = 0
            metrics.observe_alert("sent")
        return sent

    def _batches(self, rows: list[Message]) -> list[list[tuple[Message, str]]]:
        batches: list[list[tuple[Message, str]]] = []
        room = 0
        for row in rows:
            line = discord.plain(self._redactor.text(f"[{self._mode}] {row.message}"))[: discord.LONGEST_MESSAGE]
            if not batches or len(line) + 1 > room:
                batches.append([])
                room = discord.LONGEST_MESSAGE
            batches[-1].append((row, line))
            room -= len(line) + 1
        return batches

    def _is_paused(self) -> bool:
        if self._sending is not None and self._sending.is_alive():
            return True  # the last post still hangs; one at a time
        return self._silent_until is not None and self._clock.now() < self._silent_until

    def _pause(self, error: str) -> None:
        self._failures += 1
        pause = min(FIRST_PAUSE * 2 ** min(self._failures - 1, 10), LONGEST_PAUSE)
        self._silent_until = self._clock.now() + pause
        metrics.observe_alert("failed")
        log.warning("message_not_sent", error=error, failures=self._failures, pause_seconds=pause.total_seconds())

    def _post(self, text: str) -> str | None:
        """None when the channel took it, else why not."""
        if not self._webhook:
            return None
        if self._channel is None:
            self._channel = discord.channel(self._webhook)  # outside the clock: it loads the library, on first use only
        outcome: list[str | None] = []

        def post() -> None:
            try:
                outcome.append(None if self._channel.send(body=text) else "the channel refused the message")
            except Exception as fault:  # noqa: BLE001 - a channel may fail in any way; trading must not notice
                outcome.append(self._redactor.text(f"{type(fault).__name__}: {fault}")[:200])

        # The library's time-outs bound each wait, not the whole: a channel that drips bytes would hold us for ever.
        self._sending = threading.Thread(target=post, name="notify", daemon=True)
        self._sending.start()
        self._sending.join(SEND_SECONDS)
        return outcome[0] if outcome else f"no answer within {SEND_SECONDS:.0f} seconds"
