"""How many periods of a curve make a year, and where its days and months end. Instants are seconds since 1970 UTC.

A value known at midnight belongs to the day that ended with it. Days are those of UTC: a session of a US exchange lies inside
one.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from app.domain.bar import Seconds

SESSIONS_PER_YEAR = 252
DAYS_PER_YEAR = 365
SECONDS_PER_DAY = 86_400
_SPARSE_DAYS = 5  # from this distance on a period is not a day: weeks, months
_WEEKEND_SHARE = 0.1  # of the days; a market that never closes has two in seven

Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True, kw_only=True)
class Year:
    """periods: so many make a year; annualised figures stand on it. text: the same in words."""

    periods: float
    text: str


STOCK_YEAR = Year(periods=float(SESSIONS_PER_YEAR), text=f"{SESSIONS_PER_YEAR} sessions")


def year_of(known_at: Seconds, *, continuous: bool | None = None) -> Year:
    """The year of a curve with values at `known_at`, shape (n,), ascending.

    252 sessions, or 365 days of a market that never closes, times the median number of values on a day that has any; a curve
    with values every few days only: the days of a year over their median distance. continuous: whether the market never closes;
    None: it does where at least a tenth of the days are Saturdays and Sundays. Fewer than two values: 252 sessions.
    """
    if len(known_at) < 2:
        return STOCK_YEAR
    first, last = ((int(at) - 1) // SECONDS_PER_DAY for at in (known_at[0], known_at[-1]))
    midnights = np.arange(first, last + 2) * SECONDS_PER_DAY
    on_each = np.diff(np.searchsorted(known_at, midnights, side="right"))
    days, counts = first + np.flatnonzero(on_each), on_each[on_each > 0]
    distance = float(np.median(np.diff(days))) if len(days) > 1 else 1.0
    if distance >= _SPARSE_DAYS:
        return Year(periods=365.25 / distance, text=f"365.25 days, one period in {distance:g}")
    if continuous is None:
        continuous = float(np.mean((days + 3) % 7 >= 5)) >= _WEEKEND_SHARE  # day 0 was a Thursday
    per_day = float(np.median(counts))
    count, name = (DAYS_PER_YEAR, "days") if continuous else (SESSIONS_PER_YEAR, "sessions")
    return Year(periods=count * per_day, text=f"{count} {name}" + (f" of {per_day:g} bars" if per_day > 1 else ""))


def day_ends(known_at: Seconds) -> Indices:
    """Index of the last value of each day."""
    return _ends((known_at - 1) // SECONDS_PER_DAY)


def month_ends(known_at: Seconds) -> Indices:
    """Index of the last value of each calendar month."""
    return _ends(_months(known_at))


def month_names(known_at: Seconds) -> list[tuple[int, int]]:
    """Year and month (1 to 12) of each value."""
    return [(1970 + month // 12, month % 12 + 1) for month in _months(known_at).tolist()]


def _months(known_at: Seconds) -> npt.NDArray[np.int64]:
    return (known_at - 1).astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)


def _ends(group: npt.NDArray[np.int64]) -> Indices:
    if not len(group):
        return np.empty(0, dtype=np.intp)
    return np.append(np.flatnonzero(np.diff(group)), len(group) - 1)
