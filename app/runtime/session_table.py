"""The days on which the New York Stock Exchange was or will be closed or closes early: a table, read in milliseconds.

It is made from `exchange_calendars`, which takes seconds to load, and checked against it in the tests. To make it anew (a new
holiday, a later end): `python -m app.runtime.session_table`.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import date, time, timedelta
from pathlib import Path

FIRST_DAY, LAST_DAY = date(1993, 1, 4), date(2030, 12, 31)
OPENS, CLOSES, CLOSES_EARLY = time(9, 30), time(16), time(13)
_TABLE = Path(__file__).with_name("nyse_exceptions.csv")
_DAY = timedelta(days=1)


def trading_days() -> Iterator[tuple[date, time]]:
    """Every session from FIRST_DAY to LAST_DAY with its closing time in New York; all of them open at OPENS."""
    rows = (line.split(",") for line in _TABLE.read_text().split()[1:])
    exceptions = {date.fromisoformat(day): closes for day, closes in rows}
    for day in _weekdays():
        closes = exceptions.get(day, "")
        if day not in exceptions or closes:
            yield day, time.fromisoformat(closes) if closes else CLOSES


def _weekdays() -> Iterator[date]:
    day = FIRST_DAY
    while day <= LAST_DAY:
        if day.weekday() < 5:
            yield day
        day += _DAY


def exceptions_by_library() -> list[str]:
    """The lines of the table as `exchange_calendars` has them: weekdays without a session, and early closes."""
    import exchange_calendars

    schedule = exchange_calendars.get_calendar("XNYS", start=FIRST_DAY.isoformat(), end=LAST_DAY.isoformat()).schedule
    local = schedule["close"].dt.tz_convert("America/New_York").dt.time
    closes = dict(zip(schedule.index.date, local, strict=True))
    lines = ["day,closes"]
    for day in _weekdays():
        at = closes.get(day)
        if at != CLOSES:
            lines.append(f"{day},{at:%H:%M}" if at else f"{day},")
    return lines


if __name__ == "__main__":
    _TABLE.write_text("\n".join(exceptions_by_library()) + "\n")
