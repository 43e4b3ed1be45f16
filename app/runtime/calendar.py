"""Trading sessions of a venue, aware UTC in and out."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from functools import lru_cache
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt

from app.domain.bar import Seconds
from app.domain.errors import InvalidInput
from app.runtime.session_table import CLOSES, OPENS, trading_days

NEW_YORK = ZoneInfo("America/New_York")


@dataclass(frozen=True, slots=True)
class Session:
    """One trading day: its date on the venue and its opening and closing instants (half days close early)."""

    day: date
    opens_at: datetime
    closes_at: datetime


class TradingCalendar:
    """Sessions in order. Sorted arrays inside, so that each question is a binary search."""

    def __init__(self, sessions: list[Session]) -> None:
        self._sessions = sessions
        self._opens = np.array([int(s.opens_at.timestamp()) for s in sessions], dtype=np.int64)
        self._closes = np.array([int(s.closes_at.timestamp()) for s in sessions], dtype=np.int64)
        self._days = np.array([s.day for s in sessions], dtype="datetime64[D]")

    def is_open(self, at: datetime) -> bool:
        """Whether `at` lies in a session (opening instant included, closing instant not)."""
        return self.session_at(at) is not None

    def session_at(self, at: datetime) -> Session | None:
        """The session in progress at `at`, or None."""
        index = int(np.searchsorted(self._opens, int(at.timestamp()), side="right")) - 1
        return self._sessions[index] if index >= 0 and at < self._sessions[index].closes_at else None

    def next_open(self, at: datetime) -> datetime:
        """The first opening after `at`."""
        return self._after(self._opens, at).opens_at

    def next_close(self, at: datetime) -> datetime:
        """The first closing after `at`."""
        return self._after(self._closes, at).closes_at

    def previous_close(self, at: datetime) -> datetime:
        """The last closing at or before `at`."""
        index = int(np.searchsorted(self._closes, int(at.timestamp()), side="right")) - 1
        if index < 0:
            raise InvalidInput(f"the calendar knows no session before {at:%Y-%m-%d}")
        return self._sessions[index].closes_at

    def between(self, start: date, end: date) -> list[Session]:
        """Sessions with start <= day <= end."""
        low = int(np.searchsorted(self._days, np.datetime64(start, "D"), side="left"))
        high = int(np.searchsorted(self._days, np.datetime64(end, "D"), side="right"))
        return self._sessions[low:high]

    def in_session(self, starts: Seconds, ends: Seconds) -> npt.NDArray[np.bool_]:
        """Whether any part of each interval from `starts` to `ends` (seconds since 1970 UTC) lies in a session."""
        following = np.minimum(np.searchsorted(self._closes, starts, side="right"), len(self._closes) - 1)
        inside: npt.NDArray[np.bool_] = (self._opens[following] < ends) & (starts < self._closes[following])
        return inside

    def known_at(self, days: list[date]) -> Seconds:
        """When the daily bar of each day was complete: the session's close, or 16:00 New York off the calendar."""
        found = np.searchsorted(self._days, np.array(days, dtype="datetime64[D]"))
        return np.array(
            [
                self._closes[i]
                if i < len(self._days) and self._sessions[i].day == day
                else int(_instant(day, CLOSES).timestamp())
                for i, day in zip(found, days, strict=True)
            ],
            dtype=np.int64,
        )

    def _after(self, instants: Seconds, at: datetime) -> Session:
        index = int(np.searchsorted(instants, int(at.timestamp()), side="right"))
        if index >= len(self._sessions):
            raise InvalidInput(f"the calendar ends before {at:%Y-%m-%d}; nothing is planned past its last session")
        return self._sessions[index]


@lru_cache(maxsize=4)
def new_york_calendar(first: date = date(1998, 1, 2)) -> TradingCalendar:
    """New York Stock Exchange sessions from `first` to the end of the table (see `session_table`)."""
    return TradingCalendar(
        [Session(day, _instant(day, OPENS), _instant(day, closes)) for day, closes in trading_days() if day >= first]
    )


def session_day(at: datetime) -> date:
    """The New York date of an instant: the day that daily limits count."""
    return at.astimezone(NEW_YORK).date()


def midnight_new_york(day: date) -> datetime:
    """The label Alpaca puts on a daily bar, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=NEW_YORK).astimezone(UTC)


def _instant(day: date, at: time) -> datetime:
    return datetime.combine(day, at, NEW_YORK).astimezone(UTC)
