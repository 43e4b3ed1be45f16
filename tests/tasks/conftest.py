"""A real broker, a real worker and a real beat on a venue clock that the test moves."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
import time
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import SimpleNamespace

import psutil
import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from app.local.broker_server import BrokerServer


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
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    processes = [subprocess.Popen(broker.command, stdout=subprocess.DEVNULL)]
    deadline = time.monotonic() + 20
    while not broker.is_healthy():
        assert time.monotonic() < deadline
        time.sleep(0.05)
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
        until(lambda: ready.exists() and ready.read_text() == str(process.pid), tmp_path)
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


def until(condition, path, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, (path / "out").read_text()[-3000:]
        time.sleep(0.02)


def discarded(directory):
    """Messages thrown away by the processes that share this directory of metrics, by reason."""
    registry = CollectorRegistry()
    MultiProcessCollector(registry, path=str(directory))
    return {
        sample.labels["reason"]: int(sample.value)
        for metric in registry.collect()
        for sample in metric.samples
        if sample.name == "alpha_trader_messages_discarded_total"
    }
