"""A real broker, a real worker and a real beat on a venue clock that the test moves."""

from __future__ import annotations

import time
from collections import Counter
from datetime import datetime

import pytest

from app.celery_config import CeleryTaskQueue, make_celery
from app.config import Settings
from app.domain.errors import Conflict, InvalidInput, TryAgain
from app.local.broker_server import free_port
from tests.tasks.conftest import until
from tests.tasks.fakes import FakeDatabase

pytestmark = pytest.mark.processes


def test_beat_and_worker_follow_the_venues_clock_through_a_day_and_a_night(field):
    beat = field.beat()

    def move(at, expected):
        field.clock.now = datetime.fromisoformat(f"2024-01-{at}:00+00:00")
        until(lambda: len(field.lines()) >= expected, field.path)

    move("03T14:40", 1)
    move("03T14:50", 2)
    beat.kill()
    beat.wait()
    field.beat()  # goes on from its file: the slot it has sent is not sent again
    move("03T15:00", 3)
    move("03T21:00", 4)
    assert field.lines() == [f"cycle-schedule 01-03T{at}" for at in ("14:40", "14:50", "15:00", "21:00")]
    move("03T23:00", 7)
    time.sleep(0.5)
    night = [line.split()[0] for line in field.lines()[4:]]
    assert Counter(night) == Counter({"cycle-schedule": 1, "tune": 1, "train": 1})
    assert night.index("tune") < night.index("train")
    assert "deliver" in field.all()  # rung by each cycle, and swept


def test_the_queue_tells_apart_its_refusals():
    database = FakeDatabase()
    gone = make_celery(Settings(_env_file=None, celery_broker_url=f"redis://127.0.0.1:{free_port()}/0"))
    queue = CeleryTaskQueue(gone, database)
    began = time.monotonic()
    with pytest.raises(TryAgain):
        queue.enqueue("train", {})
    assert time.monotonic() - began < 10
    assert [record.state for record in database.records.values()] == ["failed"]
    with pytest.raises(InvalidInput):
        queue.enqueue("unknown", {})
    for _ in range(20):
        database.create_task("backtest", {})
    with pytest.raises(Conflict):
        queue.enqueue("backtest", {})
