"""A real broker, a real worker and a real beat on a venue clock that the test moves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import psutil
import pytest

from app.celery_config import CeleryTaskQueue, make_celery
from app.config import Settings
from app.domain.errors import Conflict, InvalidInput, TryAgain
from app.local.broker_server import BrokerServer, free_port
from tests.tasks.fakes import FakeDatabase

pytestmark = pytest.mark.processes


def _venue(clock):
    class Venue(BaseHTTPRequestHandler):
        def do_GET(self):
            self.send_response(200)
            self.end_headers()
            self.wfile.write(json.dumps({"timestamp": clock.now.isoformat()}).encode())

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Venue)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server


@pytest.fixture
def field(tmp_path):
    """Broker, venue, worker and beat; everything is stopped at the end."""
    clock = SimpleNamespace(now=datetime(2024, 1, 3, 14, 30, tzinfo=UTC))
    venue, broker = _venue(clock), BrokerServer(tmp_path / "broker")
    broker.prepare()
    log = tmp_path / "log"
    log.touch()
    environment = os.environ | {
        "CELERY_BROKER_URL": broker.url,
        "ALPACA_TRADING_URL": f"http://127.0.0.1:{venue.server_port}",
        "STATE_DIR": str(tmp_path),
        "ROUND_TRIP_LOG": str(log),
    }
    processes = [subprocess.Popen(broker.command, stdout=subprocess.DEVNULL)]
    celery = (sys.executable, "-m", "celery", "-A", "tests.tasks.round_trip_app")

    def run(*arguments):
        process = subprocess.Popen(
            (*celery, *arguments, "-l", "WARNING"),
            env=environment,
            stdout=(tmp_path / "out").open("ab"),
            stderr=subprocess.STDOUT,
        )
        processes.append(process)
        return process

    def beat():
        process = run("beat", "--pidfile=")
        ready = tmp_path / "log.beat"
        _until(lambda: ready.exists() and ready.read_text() == str(process.pid), tmp_path)
        return process

    def lines():
        # A tick may come twice (beat killed between sending and writing that down); the ledger makes a second one harmless.
        return list(dict.fromkeys(line for line in log.read_text().splitlines() if not line.startswith("deliver")))

    worker = run("worker", "-Q", "trading,learning,backtests,upkeep", "-c", "1", "--without-gossip", "--without-mingle")
    yield SimpleNamespace(clock=clock, beat=beat, worker=worker, lines=lines, all=log.read_text, path=tmp_path, url=broker.url)
    family = [
        child for process in processes if psutil.pid_exists(process.pid) for child in psutil.Process(process.pid).children(True)
    ]
    for process in reversed(processes):
        process.kill()
        process.wait()
    assert not psutil.wait_procs(family, timeout=3)[1]  # a killed worker leaves no child
    venue.shutdown()
    venue.server_close()


def _until(condition, path, seconds=40.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (path / "out").read_text()[-3000:]
        time.sleep(0.02)


def test_beat_and_worker_follow_the_venues_clock_through_a_day_and_a_night(field):
    beat = field.beat()

    def move(at, expected):
        field.clock.now = datetime.fromisoformat(f"2024-01-{at}:00+00:00")
        _until(lambda: len(field.lines()) >= expected, field.path)

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
