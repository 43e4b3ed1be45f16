"""The exit monitor as the process it is: without queue, worker or Redis, killed, and started again."""

from __future__ import annotations

import signal
import time
from pathlib import Path

import pytest
import requests

from app.runtime.clock import WallClock
from app.services.database_service import DatabaseService
from app.services.guard.protection import GUARD
from app.storage.database import Database
from tests.exits.guard_process import guard, until
from tests.exits.guarding import stage

FALLS = [*[100] * 10, *[94] * 60]


@pytest.fixture
def database_file(tmp_path: Path, sqlite_template: Path) -> Path:
    path = tmp_path / "ledger.db"
    path.write_bytes(sqlite_template.read_bytes())
    return path


def test_D07_D15_it_protects_and_sells_with_nothing_else_running(database_file: Path, tmp_path: Path) -> None:
    ledger = DatabaseService(Database(f"sqlite:///{database_file}"), WallClock())
    with stage(tmp_path, ledger, FALLS) as scene:
        scene.by_hand("10.5")
        scene.minutes(2)
        scene.open_books()
        with guard(scene, tmp_path, database_file) as process:
            until(lambda: len(scene.orders(open_only=True)) == 2)
            scene.minutes(10)
            assert until(lambda: any(one["qty"] == "0.5" for one in scene.orders())) < 10
            process.send_signal(signal.SIGTERM)
            assert process.wait(20) == 0
        scene.minutes(2)
        assert scene.held() == 0
        lease = ledger.lease(GUARD)
        assert lease is not None
        assert lease.owner == ""
    ledger.close()


def test_A11_killed_for_real_between_cancel_and_order_the_next_one_protects(database_file: Path, tmp_path: Path) -> None:
    ledger = DatabaseService(Database(f"sqlite:///{database_file}"), WallClock())
    with stage(tmp_path, ledger, [100] * 60) as scene:
        scene.open_books()
        scene.buy(10)
        scene.minutes(2)
        stop = next(one for one in scene.orders() if one["type"] == "stop")
        scene.system.venue.cancel(stop["id"])
        barriers = f"{scene.exchange.url}/sim/barriers"
        held = requests.post(barriers, json={"method": "POST", "path": "/v2/orders", "when": "before"}, timeout=10).json()["id"]
        with guard(scene, tmp_path, database_file) as process:
            requests.get(f"{barriers}/{held}?wait=60", timeout=100).raise_for_status()
            assert scene.orders(open_only=True) == []  # cancelled, and the new order is on its way
            process.send_signal(signal.SIGKILL)
            process.wait(10)
        requests.post(f"{barriers}/{held}/release", json={"then": "reset"}, timeout=10).raise_for_status()
        assert scene.orders(open_only=True) == []
        with guard(scene, tmp_path, database_file):
            looked_for = lambda: any(one.missed_at for one in ledger.orders(symbol="ACME") if one.source == "protection")  # noqa: E731
            until(looked_for)
            scene.minutes(1.1)
            until(lambda: len(scene.orders(open_only=True)) == 2)
            scene.minutes(1)
            time.sleep(2.5)
        assert sorted(one["type"] for one in scene.orders(open_only=True)) == ["limit", "stop"]
        assert scene.held() == 10
    ledger.close()
