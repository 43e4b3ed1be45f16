"""Beat on venue time: what is due when the clock stands at which instant."""

from __future__ import annotations

import pickle
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app import celery_config
from app.celery_config import SlotSchedule, beat_schedule, make_celery
from app.config import Settings

APP = make_celery(Settings(_env_file=None))


def due(entry: str, last: str, now: str) -> bool:
    at = datetime.fromisoformat(now).replace(tzinfo=UTC)
    when = beat_schedule(Settings(_env_file=None))[entry]["schedule"]
    when.app, when.nowfun = APP, lambda: at
    return bool(when.is_due(datetime.fromisoformat(last).replace(tzinfo=UTC)).is_due)


@pytest.mark.parametrize(
    ("entry", "last", "now", "expected"),
    [
        # winter: the New York session is 14:30-21:00 UTC; summer: 13:30-20:00. The crontab is UTC and covers both.
        ("smart-trading-pipeline", "2024-01-03 14:30", "2024-01-03 14:30", False),
        ("smart-trading-pipeline", "2024-01-03 14:30", "2024-01-03 14:40", True),
        ("smart-trading-pipeline", "2024-01-03 14:40", "2024-01-03 14:40", False),
        ("smart-trading-pipeline", "2024-01-03 20:50", "2024-01-03 21:00", True),
        ("smart-trading-pipeline", "2024-01-03 21:00", "2024-01-04 14:40", True),
        ("smart-trading-pipeline", "2024-07-03 13:30", "2024-07-03 13:40", True),
        # the clocks change on 2024-03-10 in New York; nothing happens in UTC
        ("smart-trading-pipeline", "2024-03-08 21:00", "2024-03-11 13:40", True),
        ("smart-trading-pipeline", "2024-03-11 13:40", "2024-03-11 13:49:59", False),
        # Friday's last to Saturday and Sunday: nothing new after the hours of Friday
        ("smart-trading-pipeline", "2024-01-05 23:50", "2024-01-06 15:00", False),
        ("smart-trading-pipeline", "2024-01-05 23:50", "2024-01-07 23:50", False),
        ("smart-trading-pipeline", "2024-01-05 23:50", "2024-01-08 11:00", True),
        ("smart-trading-pipeline", "2024-01-08 00:00", "2024-01-08 10:59", False),
        ("optimize-hyperparameters", "2024-01-03 14:30", "2024-01-03 22:59", False),
        ("optimize-hyperparameters", "2024-01-03 14:30", "2024-01-03 23:00", True),
        ("daily-model-finetuning", "2024-01-03 14:30", "2024-01-03 23:00", True),
        ("daily-model-finetuning", "2024-01-05 23:00", "2024-01-07 23:30", False),
    ],
)
def test_due(entry, last, now, expected):
    assert due(entry, last, now) is expected


@given(
    seconds=st.integers(1, 86_400),
    start=st.integers(946_684_800, 1_893_456_000).map(lambda seconds: datetime.fromtimestamp(seconds, UTC)),
    steps=st.lists(st.floats(0, 90_000), max_size=30),
)
def test_each_slot_is_due_exactly_once_however_the_clock_moves(seconds, start, steps):
    now = start
    schedule = SlotSchedule(seconds, nowfun=lambda: now, app=APP)
    last, sent, seen = start, [], [int(start.timestamp() // seconds)]
    for step in steps:
        now += timedelta(seconds=step)
        seen.append(int(now.timestamp() // seconds))
        for _ in range(3):  # beat looks several times while the clock stands
            state = schedule.is_due(last)
            assert 0 < state.next <= seconds
            if state.is_due:
                sent.append(seen[-1])
                last = now
    assert sent == sorted(set(seen))[1:]


def test_schedules_survive_the_schedule_file():
    for seconds in (600, 60):
        for entry in beat_schedule(Settings(_env_file=None, trading_cycle_seconds=seconds)).values():
            again = pickle.loads(pickle.dumps(entry["schedule"]))
            assert again == entry["schedule"]
            assert again.nowfun is celery_config.venue_now
