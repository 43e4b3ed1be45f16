"""Messages that must not be acted upon, in front of a real worker; beat that was away or lost its file."""

from __future__ import annotations

import base64
import json
import pickle
import signal
import time
from datetime import datetime, timedelta

import psutil
import pytest
import redis

from app.celery_config import CYCLE_TASK, DELIVER_TASK, make_celery
from app.config import Settings
from tests.tasks.conftest import discarded, until

pytestmark = [pytest.mark.processes, pytest.mark.timeout(120)]


def ours(field):
    return make_celery(Settings(_env_file=None, celery_broker_url=field.url))


def envelope(body: bytes, content_type: str, **headers: object) -> str:
    properties = {
        "correlation_id": "x",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": "trading"},
        "priority": 0,
        "body_encoding": "base64",
        "delivery_tag": f"tag-{time.monotonic_ns()}",
    }
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-encoding": "utf-8",
            "content-type": content_type,
            "headers": headers,
            "properties": properties,
        }
    )


class Canary:
    """Whoever unpickles it leaves a file."""

    def __init__(self, path):
        self.path = str(path)

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_D13_what_cannot_be_read_or_is_unknown_is_thrown_away_and_counted(field):
    queue = redis.Redis.from_url(field.url)
    nothing = json.dumps([[], {}, None]).encode()
    for entry in ("garbage", "{}", "[]", "\xff", "null"):
        queue.lpush("trading", entry)
    queue.lpush("trading", envelope(b"{not json", "application/json", task=CYCLE_TASK, id="a"))
    canary = field.path / "canary"
    poisoned = pickle.dumps(Canary(canary))
    queue.lpush("trading", envelope(poisoned, "application/x-python-serialize", task=CYCLE_TASK, id="b"))
    queue.lpush("trading", envelope(nothing, "application/json", task="os.system", id="c", lang="py"))
    queue.lpush("trading", envelope(b'{"hello": 1}', "application/json"))
    ours(field).send_task(CYCLE_TASK, queue="trading")
    until(lambda: field.lines() == ["cycle-schedule 01-03T14:30"], field.path)
    counted = discarded(field.path / "metrics")
    assert counted["not_a_message"] == 5
    assert counted["undecodable"] == 1
    assert counted["invalid_task"] == 1  # the pickle
    assert counted["unknown_task"] == 1
    assert counted["not_a_task"] == 1
    assert field.worker.poll() is None
    assert not canary.exists()
    pickle.loads(poisoned).close()
    assert canary.exists(), "the bait is one"


def test_D19_a_message_of_another_build_is_refused_and_told(field):
    queue = redis.Redis.from_url(field.url)
    celery = ours(field)
    celery.send_task(CYCLE_TASK, queue="trading")
    until(lambda: len(field.lines()) == 1, field.path)
    for process in family(field.worker):
        process.suspend()
    time.sleep(2)  # what the worker asked Redis for before would still be given to it
    celery.send_task(CYCLE_TASK, queue="trading", task_id="old")
    message = json.loads(queue.rpop("trading") or b"{}")
    for version in (None, 0, 99):
        headers = {name: value for name, value in message["headers"].items() if name != "message_version"}
        headers |= {} if version is None else {"message_version": version}
        queue.lpush("trading", json.dumps({**message, "headers": headers}))
    for process in reversed(family(field.worker)):
        process.resume()
    until(lambda: discarded(field.path / "metrics").get("wrong_version") == 3, field.path)
    assert len(field.lines()) == 1
    assert (field.path / "log.alerts").read_text().count("thrown away") == 3


def test_A17_a_task_that_kills_whoever_runs_it_is_quarantined_after_three_attempts(field):
    celery = ours(field)
    deadly = field.path / "log.deadly"
    deadly.touch()
    celery.send_task(DELIVER_TASK, queue="upkeep")
    alerts = field.path / "log.alerts"
    until(lambda: alerts.exists() and "died 3 times" in alerts.read_text(), field.path, 90)
    assert field.all().count("died") == 3
    deadly.unlink()
    celery.send_task(DELIVER_TASK, queue="upkeep")
    until(lambda: "deliver" in field.all(), field.path)
    assert field.all().count("died") == 3


def test_D10_a_backlog_whose_time_has_passed_is_dropped(field):
    celery = ours(field)
    celery.send_task(CYCLE_TASK, queue="trading")
    until(lambda: len(field.lines()) == 1, field.path)
    for process in family(field.worker):
        process.suspend()
    for _ in range(39):
        celery.send_task(CYCLE_TASK, queue="trading", expires=0.2)
    time.sleep(0.3)
    for process in reversed(family(field.worker)):
        process.resume()
    field.clock.now += timedelta(minutes=10)
    celery.send_task(CYCLE_TASK, queue="trading")
    until(lambda: field.all().count("cycle") == 2, field.path)
    assert field.lines()[-1] == "cycle-schedule 01-03T14:40"


def test_A12_a_killed_child_loses_no_work(field):
    celery = ours(field)
    celery.send_task(CYCLE_TASK, queue="trading")
    until(lambda: len(field.lines()) == 1, field.path)
    for child in psutil.Process(field.worker.pid).children():
        child.send_signal(signal.SIGKILL)
    field.clock.now += timedelta(minutes=10)
    celery.send_task(CYCLE_TASK, queue="trading")
    until(lambda: len(field.lines()) == 2, field.path, 60)


def test_A14_beat_that_was_dead_for_three_hours_rings_once(field):
    beat = field.beat()
    field.clock.now += timedelta(minutes=10)
    until(lambda: len(field.lines()) == 1, field.path)
    beat.kill()
    beat.wait()
    field.clock.now += timedelta(hours=3)
    field.beat()
    until(lambda: len(field.lines()) == 2, field.path)
    time.sleep(0.5)
    assert field.all().count("cycle") == 2


@pytest.mark.parametrize("content", [b"", b"garbage" * 100], ids=["empty", "garbage"])
def test_D16_beat_starts_from_a_broken_schedule_file(field, content):
    for name in ("beat-schedule", "beat-schedule.db", "beat-schedule.dat", "beat-schedule.dir"):
        (field.path / name).write_bytes(content)
    field.beat()
    field.clock.now = datetime.fromisoformat("2024-01-03T14:40:00+00:00")
    until(lambda: field.lines() == ["cycle-schedule 01-03T14:40"], field.path)


def family(process):
    leader = psutil.Process(process.pid)
    return [leader, *leader.children(recursive=True)]
