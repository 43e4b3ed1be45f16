"""What the installation asks of the simulated exchange: its time, its sessions, and to move on."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from datetime import UTC, date, datetime
from typing import Any
from zoneinfo import ZoneInfo

from app.domain.errors import Refused, TryAgain
from app.runtime.calendar import Session

_NEW_YORK = ZoneInfo("America/New_York")
_HEADERS = {"APCA-API-KEY-ID": "simulated", "APCA-API-SECRET-KEY": "simulated", "Content-Type": "application/json"}


class ExchangeLink:
    """Calls to one exchange by its base address. TryAgain: no answer. Refused: it said no, with its words."""

    def __init__(self, url: str, *, timeout_seconds: float = 20.0) -> None:
        self._url = url.rstrip("/")
        self._timeout = timeout_seconds

    def now(self) -> datetime:
        """The exchange's clock."""
        return datetime.fromisoformat(self._call("/v2/clock")["timestamp"]).astimezone(UTC)

    def is_healthy(self) -> bool:
        """Whether it answers."""
        try:
            self._call("/v2/clock", timeout=2.0)
        except (TryAgain, Refused):
            return False
        return True

    def sessions(self, start: date, end: date) -> list[Session]:
        """Its trading sessions from `start` to `end`, both included."""
        days = self._call(f"/v2/calendar?start={start}&end={end}")
        return [
            Session(date.fromisoformat(day["date"]), _instant(day["date"], day["open"]), _instant(day["date"], day["close"]))
            for day in days
        ]

    def move(self, to: datetime) -> None:
        """Set the clock forward. Refused: it cannot go there (the data ends, or it lies in the past)."""
        self._call("/sim/clock", {"to": to.isoformat()})

    def state(self) -> dict[str, Any]:
        """What it replays, and how: `/sim/state`."""
        answer: dict[str, Any] = self._call("/sim/state")
        return answer

    def _call(self, path: str, body: object = None, *, timeout: float | None = None) -> Any:
        request = urllib.request.Request(  # noqa: S310 - our own exchange on the loopback address
            self._url + path, data=None if body is None else json.dumps(body).encode(), headers=_HEADERS
        )
        try:
            with urllib.request.urlopen(request, timeout=timeout or self._timeout) as answer:  # noqa: S310
                return json.load(answer)
        except urllib.error.HTTPError as fault:
            words = fault.read(2000).decode(errors="replace")
            if fault.code < 500:
                raise Refused(_message(words)) from None
            raise TryAgain(f"the exchange answered {fault.code}: {words[:200]}") from None
        except (OSError, ValueError) as fault:
            raise TryAgain(f"the exchange does not answer: {fault}") from fault


def _instant(day: str, clock: str) -> datetime:
    """A New York wall time (09:30) on a day, in UTC."""
    text = clock if ":" in clock else f"{clock[:2]}:{clock[2:]}"
    return datetime.fromisoformat(f"{day}T{text}").replace(tzinfo=_NEW_YORK).astimezone(UTC)


def _message(words: str) -> str:
    try:
        answer = json.loads(words)
    except ValueError:
        return words[:200]
    return str(answer.get("message") or answer) if isinstance(answer, dict) else words[:200]
