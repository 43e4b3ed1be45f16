"""The whole product in real time while its queue, its workers and its broker fail (reliability, rows D and A)."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import psutil
import pytest
import redis
import requests

from app.celery_config import CYCLE_TASK, make_celery
from app.config import Settings
from app.local.session import RUNNING_FILE
from tests.processes.installation import SYMBOLS
from tests.processes.paper import Paper, paper

pytestmark = [pytest.mark.processes, pytest.mark.timeout(600)]

TURNING = {symbol: (-1) ** i * 0.012 for i, symbol in enumerate(SYMBOLS.split())}
ROUNDS = 5 if os.environ.get("FAULTS") == "long" else 1  # a broker that dies seven times within minutes is given up
PATIENCE = 120.0


def environment(here: Paper) -> dict[str, str]:
    return dict(json.loads((here.run / RUNNING_FILE).read_text())["environment"])


def queue(here: Paper) -> redis.Redis:
    return redis.Redis.from_url(environment(here)["REDIS_URL"], socket_timeout=10)


def broker(here: Paper) -> int:
    """Its process; it paints over the environment by which the others are known."""
    return int((here.run / "broker" / "broker.pid").read_text())


def answers(here: Paper) -> bool:
    try:
        return bool(queue(here).ping())
    except redis.RedisError:
        return False


def family(here: Paper, role: str) -> list[psutil.Process]:
    leader = psutil.Process(here.roles()[role])
    return [leader, *leader.children(recursive=True)]


def more_cycles(here: Paper, count: int = 2) -> None:
    before = here.cycles()
    here.wait_until(lambda: here.cycles() >= before + count, PATIENCE)


def post(here: Paper, path: str) -> requests.Response:
    address = f"http://127.0.0.1:{here.port}/api"
    login = requests.post(f"{address}/auth/login", json={"username": "admin", "password": "four-Blue-kettles"}, timeout=20)
    headers = {"Authorization": f"Bearer {login.json()['access_token']}"}
    return requests.post(address + path, headers=headers, timeout=30)


def assert_each_slot_once_and_no_order_twice(here: Paper) -> None:
    slots = here.slots()
    assert len(slots) == len(set(slots))
    sent = Counter(order["client_order_id"] for order in here.venues_orders())
    assert set(sent.values()) <= {1}
    per_slot = Counter(here.ledger("SELECT cycle_id, symbol FROM intents WHERE origin = 'decision'"))
    assert set(per_slot.values()) <= {1}


def flush(here: Paper) -> None:
    queue(here).flushall()


def lose_everything(here: Paper) -> None:
    """The broker dies and its files with it; it is started again and empty."""
    psutil.Process(broker(here)).kill()
    shutil.rmtree(here.run / "broker" / "appendonlydir", ignore_errors=True)
    here.wait_until(lambda: answers(here), PATIENCE)


def same_message_again_and_again(here: Paper) -> None:
    """One tick forty times: taken out of the queue while the worker sleeps, and put back over and over."""
    workers = family(here, "worker-trading")
    for process in workers:
        process.suspend()
    url = environment(here)["REDIS_URL"]
    sender, message = make_celery(Settings(_env_file=None, celery_broker_url=url)), None
    while message is None:  # the first may go to the sleeper: it was waiting at the broker when it fell asleep
        sender.send_task(CYCLE_TASK, queue="trading")
        message = queue(here).lindex("trading", 0)
    for _ in range(40):
        queue(here).lpush("trading", message)
    for process in reversed(workers):
        with suppress(psutil.NoSuchProcess):  # on a slow machine it was replaced meanwhile
            process.resume()


QUEUE_FAULTS: dict[str, Callable[[Paper], None]] = {
    "D02 one message forty times": same_message_again_and_again,
    "D04 killed without persistence": lose_everything,
    "D05 flushed": flush,
}


@pytest.mark.long
def test_D02_D04_D05_D08_whatever_becomes_of_the_queue_each_slot_runs_once_and_halts_stay(tmp_path: Path) -> None:
    with paper(tmp_path, TURNING) as here:
        here.wait_until(lambda: here.answers() and here.cycles() >= 2, 300)
        for _ in range(ROUNDS):
            for name, fault in QUEUE_FAULTS.items():
                fault(here)
                more_cycles(here)
                print(f"{name}: {here.cycles()} cycles")
        full(here)
        silent(here)
        # The exchange has another year than this machine, so in the paper mode its clock keeps entries away: what is held here
        # is one decision a slot. That no order is doubled is held where orders flow (`tests/orders/test_races.py`, the kills).
        assert_each_slot_once_and_no_order_twice(here)
        assert len(here.slots()) > 10
        assert post(here, "/risk/halt").ok
        flush(here)
        lose_everything(here)
        more_cycles(here)
        state = json.loads((here.run / "risk_state.json").read_text())
        assert "halted" in json.dumps(state).lower()


def full(here: Paper) -> None:
    """D08: the broker refuses every write. The API says so at once; the next tick goes on when there is room."""
    queue(here).config_set("maxmemory", "1")
    began = time.monotonic()
    answer = post(here, "/training/start/batch")
    assert answer.status_code == 503, answer.text
    assert time.monotonic() - began < 25
    queue(here).config_set("maxmemory", "0")
    more_cycles(here)


def silent(here: Paper) -> None:
    """D07, D08: the broker answers nothing for a while. The API answers, readiness names it, and it heals by itself."""
    process = psutil.Process(broker(here))
    process.suspend()
    began = time.monotonic()
    answer = post(here, "/training/start/batch")
    assert answer.status_code == 503, answer.text
    assert time.monotonic() - began < 30
    assert here.ready()["components"]["broker"] != "ok"
    process.resume()
    here.wait_until(lambda: here.ready()["components"]["broker"] == "ok", 30)
    more_cycles(here)


@pytest.mark.long
def test_D12_J08_a_worker_that_is_there_and_does_nothing_is_told_and_replaced(tmp_path: Path) -> None:
    with paper(tmp_path, TURNING) as here:
        here.wait_until(lambda: here.answers() and here.cycles() >= 2, 300)
        frozen = here.roles()["worker-trading"]
        for process in family(here, "worker-trading"):
            process.suspend()
        here.wait_until(lambda: here.ready()["components"]["last_cycle"] == "overdue", 60)
        here.wait_until(lambda: here.roles().get("worker-trading") not in (None, frozen), PATIENCE)
        assert "does no work; replacing it" in here.output()
        more_cycles(here)
        assert_each_slot_once_and_no_order_twice(here)
        here.wait_until(lambda: here.ledger("SELECT 1 FROM outbox WHERE kind = 'watchdog'") != [], 30)
        here.wait_until(lambda: here.ready()["trade_updates"]["listening"], 60)
