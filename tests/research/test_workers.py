"""Workers of the queue share a run; one that is killed loses nothing, and its message comes again."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from app.celery_config import CeleryTaskQueue, make_celery
from app.config import Settings
from app.domain.research import RunState
from app.local.broker_server import BrokerServer
from tests.research import toy

CHUNKS = 24


def until(condition, seconds=90.0):
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.02)


@pytest.mark.processes
@pytest.mark.parametrize("database_url", ["sqlite"], indirect=True)
def test_two_workers_share_a_run_and_a_killed_one_is_replaced(database_url, tmp_path):
    service, database = toy.service(database_url)
    broker = BrokerServer(tmp_path / "broker")
    broker.prepare()
    environment = os.environ | {
        "CELERY_BROKER_URL": broker.url,
        "RESEARCH_DATABASE": database_url,
        "PROMETHEUS_MULTIPROC_DIR": str(tmp_path / "metrics"),
    }
    processes = [subprocess.Popen(broker.command, stdout=subprocess.DEVNULL)]
    until(broker.is_healthy, 20)
    command = (sys.executable, "-m", "celery", "-A", "tests.research.worker_app", "worker", "-Q", "backtests", "-c", "1")
    try:
        for name in ("one@here", "two@here"):
            log = (tmp_path / name).open("wb")
            quiet = ("--without-gossip", "--without-mingle", "-l", "WARNING", "-n", name)
            processes.append(subprocess.Popen((*command, *quiet), env=environment, stdout=log, stderr=log))
        run_id = service.start("toy", {"chunks": CHUNKS, "seconds": 0.4})
        chosen = Settings(_env_file=None, celery_broker_url=broker.url)
        CeleryTaskQueue(make_celery(chosen), database).ring_research(run_id, workers=2)

        def workers():
            return {message.payload["owner"] for message in database.outbox_pending(1000) if message.payload.get("owner")}

        until(lambda: len(workers()) == 2)
        victim = psutil.Process(int(workers().pop().split(":")[1]))
        victim.send_signal(signal.SIGKILL)
        until(lambda: service.run(run_id).state is not RunState.OPEN)
        run = service.run(run_id)
        assert run.state is RunState.DONE
        assert run.result == {"sum": sum(value**2 for value in range(CHUNKS))}
        done = [message.message for message in database.outbox_pending(1000)]
        assert set(done) == {"finish", *map(str, range(CHUNKS))}
        assert len(done) - len(set(done)) <= 1  # killed between its work and keeping that
    finally:
        for process in reversed(processes):
            process.kill()
            process.wait()
        database.close()
