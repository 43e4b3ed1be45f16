"""Requests a minute and account: windows of one minute of wall time, apart for the trading and the data routes."""

from __future__ import annotations

import math
import time

from app.simulator.faults.answers import Answer, rate_headers, refusal

_WINDOW_SECONDS = 60.0


class RateLimit:
    """At most `limit` requests a window. A window begins with its first request."""

    def __init__(self, limit: int) -> None:
        self.limit = limit
        self._windows: dict[tuple[str, bool], tuple[float, int]] = {}  # (key, data or not): end, requests

    def take(self, key_id: str, path: str) -> tuple[Answer | None, tuple[tuple[bytes, bytes], ...]]:
        """Count a request: a 429 when it is too much, and the headers that its answer bears."""
        now, whose = time.time(), (key_id, path.startswith(("/v2/stocks", "/v1beta1")))
        end, used = self._windows.get(whose, (0.0, 0))
        if now >= end:
            end, used = now + _WINDOW_SECONDS, 0
        used = min(used + 1, self.limit + 1)
        self._windows[whose] = (end, used)
        headers = rate_headers(self.limit, max(self.limit - used, 0), math.ceil(end))
        return (refusal(429, headers=headers) if used > self.limit else None), headers
