"""A token bucket: the venue's request budget, shared by every thread of a process."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

from app.domain.errors import TryAgain


class TokenBucket:
    """Refills `per_minute` tokens a minute and holds at most a tenth of them for bursts (but at least 20)."""

    def __init__(
        self,
        per_minute: int,
        *,
        monotonic: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._rate = per_minute / 60.0
        self._capacity = float(max(20, per_minute // 10))
        self._tokens = self._capacity
        self._monotonic, self._sleep = monotonic, sleep
        self._refilled_at = self._closed_until = monotonic()
        self._lock = threading.Lock()

    def close(self, seconds: float) -> None:
        """Give out nothing for so long: the venue's own count says that the budget is used up."""
        with self._lock:
            self._closed_until = max(self._closed_until, self._monotonic() + seconds)

    def take(self, *, wait_seconds: float = 10.0, spare_fraction: float = 0.0) -> None:
        """Use one token, waiting for it at most `wait_seconds`; TryAgain when it would take longer. spare_fraction: share of
        the burst left for those who ask without."""
        with self._lock:
            now = self._monotonic()
            self._tokens = min(self._capacity, self._tokens + (now - self._refilled_at) * self._rate)
            self._refilled_at = now
            wanted = 1.0 + spare_fraction * self._capacity
            wait = max(0.0, (wanted - self._tokens) / self._rate, self._closed_until - now)
            if wait > wait_seconds:
                raise TryAgain(f"the request budget is used up for {wait:.0f} s", code="rate_limited")
            self._tokens -= 1.0
        if wait > 0.0:
            self._sleep(wait)
