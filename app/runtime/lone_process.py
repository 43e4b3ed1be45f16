"""The life of a process of ours that needs no queue: settings, log, signals, and the file that says that it has begun."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable
from typing import Any

from app.domain.errors import ConfigurationError
from app.runtime import log, metrics

TURN_SECONDS = 1.0  # a busy loop goes round more often than is worth telling


def run_alone(role: str, read: Callable[[], Any], build: Callable[[Any], Callable[[threading.Event], object]]) -> int:
    """Work until SIGTERM or Ctrl-C; the exit code. read: app.config.settings. build: makes of the settings what works until
    its event is set."""
    try:
        chosen = read()
    except ConfigurationError as fault:
        print(fault.message, file=sys.stderr)  # noqa: T201 - there is no log without settings
        return 1
    log.configure(chosen, role)
    ended = _Ended(role)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: ended.set())
    work = build(chosen)
    (chosen.state_dir / f"{role}.pid").write_text(str(os.getpid()))  # whoever waits for this process looks here
    metrics.serve(chosen.metrics_port, chosen.api_host)
    work(ended)
    return 0


class _Ended(threading.Event):
    """Set when the process is to end. Whoever asks, or waits for it, goes round the process's loop, which is told as such."""

    def __init__(self, role: str) -> None:
        super().__init__()
        self._role = role
        self._told_at = float("-inf")

    def is_set(self) -> bool:
        """As of any event."""
        self._tell()
        return super().is_set()

    def wait(self, timeout: float | None = None) -> bool:
        """As of any event."""
        self._tell()
        return super().wait(timeout)

    def _tell(self) -> None:
        now = time.monotonic()
        if now - self._told_at >= TURN_SECONDS:
            self._told_at = now
            metrics.observe_turn(self._role)
