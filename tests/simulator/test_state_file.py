"""The state file: what was answered survives a kill, and a foreign file is refused."""

import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from decimal import Decimal as D

import pytest
import requests

from app.domain.errors import ConfigurationError
from app.local.broker_server import free_port
from app.simulator.server import SimulatorOptions, serve
from app.simulator.world import World

from .conftest import KEYS, Bench

OPTIONS = SimulatorOptions(symbols=("ACME", "BCME"), seed=5, cash=D(50_000))
BRACKET = {"order_class": "bracket", "take_profit": {"limit_price": "100000"}, "stop_loss": {"stop_price": "0.02"}}


def test_a_run_is_resumed_where_it_was(tmp_path):
    options = replace(OPTIONS, state_file=tmp_path / "deep" / "state.db")
    b = Bench(World(options))
    b.minutes(10)
    b.send(qty=3, client_order_id="a", time_in_force="gtc", **BRACKET)
    b.send(qty="0.25", symbol="BCME")
    b.minutes(60 * 24)
    b.send(qty=1, type="limit", limit_price="0.5", client_order_id="waiting", time_in_force="gtc")
    b.world.store.close()

    again = Bench(World(options))
    assert again.account.now == b.account.now
    assert again.ledger.orders == b.ledger.orders
    assert again.ledger.fills == b.ledger.fills
    assert again.ledger.portfolio == b.ledger.portfolio
    assert again.ledger.closes == b.ledger.closes
    # Both go on alike.
    for bench in (b, again):
        bench.account.advance(bench.account.now.replace(day=15))
    assert again.ledger.orders == b.ledger.orders
    assert again.account.equity() == b.account.equity()


@pytest.mark.parametrize("change", [{"seed": 6}, {"symbols": ("ACME",)}, {"cash": D(1)}])
def test_another_run_is_refused(tmp_path, change):
    options = replace(OPTIONS, state_file=tmp_path / "state.db")
    World(options).store.close()
    with pytest.raises(ConfigurationError, match="belongs to another run"):
        World(replace(options, **change))


def test_a_file_that_is_no_state_file_is_refused(tmp_path):
    path = tmp_path / "state.db"
    path.write_text("something else " * 100)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        World(replace(OPTIONS, state_file=path))


def test_a_reset_starts_over(tmp_path):
    options = replace(OPTIONS, state_file=tmp_path / "state.db")
    b = Bench(World(options))
    b.send(qty=1, client_order_id="a")
    b.world.reset(start=None, seed=None, cash=D(70_000))
    assert not b.world.first.ledger.orders
    b.world.store.close()
    assert World(replace(options, cash=D(70_000))).first.equity() == 70_000


SCRIPT = """
import sys
from pathlib import Path
from app.simulator.server import SimulatorOptions, serve
serve(SimulatorOptions(port=int(sys.argv[1]), symbols=("ACME",), speed=float(sys.argv[3]), state_file=Path(sys.argv[2])))
"""


def start(port, state, speed=0.0):
    process = subprocess.Popen(
        [sys.executable, "-c", SCRIPT, str(port), str(state), str(speed)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and process.poll() is None:
        try:
            requests.get(f"http://127.0.0.1:{port}/sim/state", timeout=2)
            break
        except (requests.ConnectionError, requests.Timeout):
            time.sleep(0.05)
    return process


@pytest.mark.processes
def test_kill_nine_loses_nothing_that_was_answered(tmp_path):
    port, state = free_port(), tmp_path / "state.db"
    base = f"http://127.0.0.1:{port}"
    process = start(port, state)
    try:
        for i in range(20):
            order = {
                "symbol": "ACME",
                "side": "buy",
                "type": "market",
                "qty": 1,
                "time_in_force": "day",
                "client_order_id": str(i),
            }
            assert requests.post(f"{base}/v2/orders", json=order, headers=KEYS, timeout=5).status_code == 200
            requests.post(f"{base}/sim/clock", json={"advance_seconds": 60}, timeout=5)
        before = requests.get(f"{base}/sim/ledger", timeout=5).json()
        with pytest.raises(SystemExit, match="cannot listen"):
            serve(replace(OPTIONS, port=port))
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        process = start(port, state)
        assert requests.get(f"{base}/sim/ledger", timeout=5).json() == before
        assert len(before["fills"]) == 20
        # A running clock moves by itself, and stops by itself when told.
        requests.post(f"{base}/sim/clock", json={"speed": 600}, timeout=5)
        time.sleep(0.5)
        requests.post(f"{base}/sim/clock", json={"speed": 0}, timeout=5)
        moved = requests.get(f"{base}/sim/state", timeout=5).json()["clock"]
        assert moved > before["clock"]
        time.sleep(0.3)
        assert requests.get(f"{base}/sim/state", timeout=5).json()["clock"] == moved
        process.terminate()
        assert process.wait(15) == 0
    finally:
        process.kill()
        process.wait(15)
