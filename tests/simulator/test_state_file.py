"""The state file: what was answered survives a kill, and a foreign file is refused."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import fields, replace
from datetime import UTC, date, datetime
from decimal import Decimal as D
from enum import Enum
from types import UnionType
from typing import Union, get_args, get_origin, get_type_hints

import pytest
import requests
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import ConfigurationError
from app.domain.order import Fill
from app.local.broker_server import free_port
from app.simulator.accounts.configuration import Configuration
from app.simulator.accounts.ledger import Entry, SimOrder
from app.simulator.errors import ApiError
from app.simulator.rows import from_row, to_row
from app.simulator.server import SimulatorOptions, build_app, serve
from app.simulator.world import World

from .conftest import KEYS, Bench, Local

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


def values_of(hint):
    """Any value of a field's type."""
    if get_origin(hint) in {UnionType, Union}:
        return st.one_of([values_of(part) for part in get_args(hint)])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return {
        type(None): st.none(),
        str: st.text(max_size=5),
        int: st.integers(),
        bool: st.booleans(),
        D: st.decimals(allow_nan=False, allow_infinity=False),
        date: st.dates(),
        datetime: st.datetimes(timezones=st.just(UTC)),
    }[hint]


@pytest.mark.parametrize("kind", [SimOrder, Fill, Entry, Configuration])
@given(data=st.data())
@settings(max_examples=60)
def test_every_field_survives_on_disk(kind, data):
    hints = get_type_hints(kind)
    value = kind(**{f.name: data.draw(values_of(hints[f.name])) for f in fields(kind)})
    assert from_row(kind, json.loads(json.dumps(to_row(value)))) == value


def test_accounts_keep_their_terms_over_a_restart(tmp_path):
    options = replace(OPTIONS, state_file=tmp_path / "state.db")
    world = World(options)
    world.account("first", "s")
    other = world.open_account("other", "t", cash=D(5), multiplier=4, account_blocked=True)
    other.configure(Configuration(no_shorting=True, max_margin_multiplier="1"))
    world.save()
    world.store.close()
    again = World(options)
    assert [a.key_id for a in again.accounts] == ["first", "other"]
    kept = again.account("other", "t")
    assert (kept.ledger.start_cash, kept.multiplier, kept.account_blocked, kept.trading_blocked) == (5, 4, True, False)
    assert kept.configuration == other.configuration
    assert kept.ledger.account_id == other.ledger.account_id
    with pytest.raises(ApiError):
        again.account("other", "wrong")


def test_a_restart_lets_stuck_cancels_take_effect(tmp_path):
    options = replace(OPTIONS, state_file=tmp_path / "state.db")
    b = Bench(World(options))
    order_id = b.send(qty=1, type="limit", limit_price="0.5", time_in_force="gtc")
    b.account.cancel(order_id, stuck=True)
    b.world.save()
    b.world.store.close()
    for _ in range(2):
        again = Bench(World(options))
        assert again.status(order_id) == "canceled"
        again.world.store.close()


def test_a_state_file_belongs_to_one_exchange_at_a_time(tmp_path):
    options = replace(OPTIONS, state_file=tmp_path / "state.db")
    first = World(options)
    with pytest.raises(ConfigurationError, match="cannot be used"):
        World(options)
    first.store.close()
    World(options).store.close()


def test_a_snapshot_restores_everything_exactly(tmp_path):
    x = Local(build_app(replace(OPTIONS, state_file=tmp_path / "state.db")))
    other = {**KEYS, "APCA-API-KEY-ID": "other"}

    def trade(headers, **fields):
        body = {"symbol": "ACME", "side": "buy", "type": "market", "qty": 2, "time_in_force": "gtc", **fields}
        assert x("POST", "/v2/orders", body=body, headers=headers)[0] == 200

    def everything():
        keys = ("key", "other")
        paths = ("/v2/account", "/v2/positions", "/v2/account/activities", "/v2/clock")
        books = [x("GET", "/sim/ledger", params={"key_id": key})[1] for key in keys]
        return [{**book, "received": None} for book in books] + [
            x("GET", path, headers={**KEYS, "APCA-API-KEY-ID": key}) for path in paths for key in keys
        ]

    trade(KEYS, **BRACKET)
    trade(other, symbol="BCME")
    x("POST", "/sim/clock", body={"advance_seconds": 3600})
    trade(KEYS, type="limit", limit_price="0.5")
    before, document = everything(), x("GET", "/sim/snapshot")[1]
    x("POST", "/sim/clock", body={"next_open": True})
    trade(other, qty=5)
    x("GET", "/v2/account", headers={**KEYS, "APCA-API-KEY-ID": "third"})
    later = everything()
    assert x("PUT", "/sim/snapshot", body=document)[0] == 200
    assert everything() == before
    assert x("GET", "/sim/snapshot")[1] == document
    assert [a["key_id"] for a in x("GET", "/sim/accounts")[1]] == ["key", "other"]
    # What was restored is in the state file too, and the same future follows.
    x.world.store.close()
    x = Local(build_app(replace(OPTIONS, state_file=tmp_path / "state.db")))
    assert everything() == before
    x("POST", "/sim/clock", body={"next_open": True})
    trade(other, qty=5)
    assert everything() == later
    x.world.store.close()


def test_a_snapshot_of_another_run_or_a_damaged_one_changes_nothing():
    x = Local(build_app(OPTIONS))
    x("POST", "/v2/orders", body={"symbol": "ACME", "side": "buy", "type": "market", "qty": 2, "time_in_force": "day"})
    document = x("GET", "/sim/snapshot")[1]
    foreign = Local(build_app(replace(OPTIONS, seed=6)))("GET", "/sim/snapshot")[1]
    assert x("PUT", "/sim/snapshot", body=foreign)[0] == 409
    richer = json.loads(json.dumps(document).replace('"50000"', '"60000"'))
    damaged = [b"", b"[]", b"{", b"5", b"{}", {}, {**document, "version": 2}, {**document, "accounts": []}, richer]
    damaged += [{**document, "digest": 5}, b"[" * 100_000]
    for one in damaged:
        status, error = x("PUT", "/sim/snapshot", body=one)
        assert (status, "GET /sim/snapshot" in error["message"]) == (422, True), one
        assert x("GET", "/sim/snapshot")[1] == document


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
