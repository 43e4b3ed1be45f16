"""How the calls to the venue fared lately: what the breakers on the connection read."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable

from app.domain.trading_state import VenueHealth

WINDOW_SECONDS = 300.0


class CallWindow:
    """Counts the calls of this process over the last five minutes. Safe for threads."""

    def __init__(self, *, monotonic: Callable[[], float] = time.monotonic) -> None:
        self._monotonic = monotonic
        self._calls: deque[tuple[float, bool]] = deque()
        self._errors = 0
        self._good_in_a_row = 0
        self._failing_since: float | None = None
        self._lock = threading.Lock()

    def note(self, *, good: bool) -> None:
        """A call ended: with an answer, be it a refusal, or without."""
        with self._lock:
            now = self._monotonic()
            self._calls.append((now, good))
            self._errors += not good
            self._good_in_a_row = self._good_in_a_row + 1 if good else 0
            if good:
                self._failing_since = None
            elif self._failing_since is None:
                self._failing_since = now
            self._forget(now)

    def health(self) -> VenueHealth:
        """silent_seconds: since the first of the failures that no answer has followed; 0 while calls are answered."""
        with self._lock:
            now = self._monotonic()
            self._forget(now)
            return VenueHealth(
                calls=len(self._calls),
                errors=self._errors,
                good_in_a_row=self._good_in_a_row,
                silent_seconds=0.0 if self._failing_since is None else now - self._failing_since,
            )

    def _forget(self, now: float) -> None:
        while self._calls and now - self._calls[0][0] > WINDOW_SECONDS:
            self._errors -= not self._calls.popleft()[1]
