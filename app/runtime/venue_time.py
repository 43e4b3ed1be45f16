"""The clock of an Alpaca-compatible venue, for processes whose time is the venue's."""

from __future__ import annotations

import json
import time
import urllib.request
from datetime import UTC, datetime

from app.domain.errors import TryAgain


class VenueTime:
    """Reads `/v2/clock` at most once per `max_age_seconds`. A venue that no longer answers counts as standing still."""

    def __init__(
        self, url: str, *, key: str, secret: str, max_age_seconds: float = 0.05, patience_seconds: float = 30.0
    ) -> None:
        self._request = urllib.request.Request(  # noqa: S310 - the address comes from settings
            f"{url}/v2/clock", headers={"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": secret}
        )
        self._max_age = max_age_seconds
        self._patience = patience_seconds
        self._read_at = float("-inf")
        self._now: datetime | None = None

    def now(self) -> datetime:
        """The venue's present instant, aware UTC. TryAgain when it has not answered once within the patience."""
        deadline = time.monotonic() + self._patience
        while self._now is None or time.monotonic() - self._read_at > self._max_age:
            reading = self._read()
            if reading is not None:
                self._now = reading
            if self._now is None:
                if time.monotonic() > deadline:
                    raise TryAgain("the venue's clock cannot be read")
                time.sleep(0.2)
        return self._now

    def reading(self) -> tuple[datetime, bool] | None:
        """The venue's present instant and whether it is open, asked now; None when it does not answer."""
        try:
            with urllib.request.urlopen(self._request, timeout=3.0) as answer:  # noqa: S310 - see above
                told = json.load(answer)
                return datetime.fromisoformat(told["timestamp"]).astimezone(UTC), bool(told.get("is_open"))
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return None

    def _read(self) -> datetime | None:
        self._read_at = time.monotonic()
        told = self.reading()
        return None if told is None else told[0]
