"""The table of sessions is the library's, and what is asked of it near half days and clock changes."""

from datetime import UTC, date, datetime

import pytest

from app.domain.errors import InvalidInput
from app.runtime.calendar import new_york_calendar
from app.runtime.session_table import FIRST_DAY, LAST_DAY, exceptions_by_library, trading_days

CALENDAR = new_york_calendar()


def test_the_table_is_what_the_library_says():
    table = [f"{day},{closes:%H:%M}" for day, closes in trading_days()]
    library = dict(line.split(",") for line in exceptions_by_library()[1:])
    assert table[0].startswith(FIRST_DAY.isoformat())
    assert table[-1].startswith(LAST_DAY.isoformat())
    early = {day: at for day, at in (row.split(",") for row in table) if at != "16:00"}
    assert early == {day: at for day, at in library.items() if at}
    closed = {day for day, at in library.items() if not at}
    assert not closed & {row.split(",")[0] for row in table}
    assert len(table) + len(closed) == sum(
        date.fromordinal(n).weekday() < 5 for n in range(FIRST_DAY.toordinal(), LAST_DAY.toordinal() + 1)
    )


@pytest.mark.row("F03")
@pytest.mark.parametrize(
    ("day", "opens", "closes"),
    [
        (date(2024, 3, 8), "14:30", "21:00"),  # the Friday before the clocks change
        (date(2024, 3, 11), "13:30", "20:00"),
        (date(2024, 11, 1), "13:30", "20:00"),
        (date(2024, 11, 4), "14:30", "21:00"),
        (date(2024, 7, 3), "13:30", "17:00"),  # half days
        (date(2024, 11, 29), "14:30", "18:00"),
        (date(2024, 12, 24), "14:30", "18:00"),
    ],
)
def test_hours_in_utc(day, opens, closes):
    (session,) = CALENDAR.between(day, day)
    assert (f"{session.opens_at:%H:%M}", f"{session.closes_at:%H:%M}") == (opens, closes)


@pytest.mark.parametrize(
    "day", [date(2001, 9, 11), date(2012, 10, 29), date(2018, 12, 5), date(2024, 6, 19), date(2025, 1, 9), date(2024, 3, 10)]
)
def test_closed_days(day):
    assert not CALENDAR.between(day, day)


@pytest.mark.row("F05")
def test_questions_around_a_half_day():
    before, closing = datetime(2024, 7, 3, 16, 59, tzinfo=UTC), datetime(2024, 7, 3, 17, tzinfo=UTC)
    assert CALENDAR.is_open(before)
    assert not CALENDAR.is_open(closing)
    assert CALENDAR.next_close(before) == CALENDAR.previous_close(closing) == closing
    assert CALENDAR.next_open(closing) == datetime(2024, 7, 5, 13, 30, tzinfo=UTC)
    with pytest.raises(InvalidInput, match="calendar ends"):
        CALENDAR.next_open(datetime(2031, 1, 1, tzinfo=UTC))
