"""kill -9 of the exchange under load, again and again: every order that was answered is there once, none is there twice.

KILLS=n sets how often (`make exchange-kill`: 50).
"""

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from decimal import Decimal as D
from pathlib import Path

import pytest
import requests

from app.local.broker_server import free_port

KILLS = int(os.environ.get("KILLS", "3"))
CLIENTS = (("one", "a"), ("one", "b"), ("two", "c"))  # key, name
ENDED = {"filled", "canceled", "expired", "rejected", "replaced"}
CASH = D(10**9)
SERVER = """
import sys
from decimal import Decimal
from pathlib import Path
from app.simulator.server import SimulatorOptions, serve
port, state = int(sys.argv[1]), Path(sys.argv[2])
serve(SimulatorOptions(port=port, symbols=("ACME", "BCME", "CCME"), cash=Decimal(10**9), state_file=state))
"""
ENVIRONMENT = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))}


def start_exchange(port, state):
    process = subprocess.Popen(
        [sys.executable, "-c", SERVER, str(port), str(state)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
    )
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        assert process.poll() is None, process.stderr.read().decode()
        try:
            requests.get(f"http://127.0.0.1:{port}/sim/state", timeout=2)
            return process
        except requests.RequestException:
            time.sleep(0.02)
    raise AssertionError("the exchange did not start")


def start_client(port, key_id, name, journal):
    script = Path(__file__).with_name("journaling_client.py")
    return subprocess.Popen([sys.executable, script, f"http://127.0.0.1:{port}", key_id, name, journal], env=ENVIRONMENT)


def read(journal):
    """Complete lines of a journal."""
    text = journal.read_text() if journal.exists() else ""
    return [json.loads(line) for line in text.splitlines(keepends=True) if line.endswith("\n")]


def ledger_of(port, key_id):
    return requests.get(f"http://127.0.0.1:{port}/sim/ledger?key_id={key_id}", timeout=60).json()


def check_answers(lines, ledger):
    """Everything that one client was answered is in the books, once."""
    orders = {order["id"]: order for order in ledger["orders"]}
    by_client_id = Counter(order["client_order_id"] for order in ledger["orders"])
    for line in lines:
        answer = line.get("answer")
        if answer is None or answer["status"] >= 400:
            continue
        if answer["to"] == "cancel":
            assert orders[answer["id"]]["status"] == "canceled"
            continue
        told = answer["body"]
        kept = orders[told["id"]]
        assert by_client_id[told["client_order_id"]] == 1
        assert all(kept[name] == told[name] for name in ("client_order_id", "symbol", "side", "qty", "type", "submitted_at"))
        assert D(kept["filled_qty"]) >= D(told["filled_qty"])
        assert told["status"] not in ENDED or kept["status"] == told["status"]
        if answer["to"] == "replace":
            assert (kept["replaces"], orders[answer["id"]]["status"]) == (answer["id"], "replaced")
            assert orders[answer["id"]]["replaced_by"] == kept["id"]


def check_books(ledger, intents):
    """The books agree with themselves, and hold nothing that nobody meant."""
    orders = ledger["orders"]
    for names in (
        [order["id"] for order in orders],
        [order["client_order_id"] for order in orders],
        [fill["execution_id"] for fill in ledger["fills"]],
    ):
        assert len(names) == len(set(names))
    assert {order["client_order_id"] for order in orders if not order["leg"]} <= intents
    cash, positions, filled = CASH, Counter(), Counter()
    for fill in ledger["fills"]:
        sign = 1 if fill["side"] == "buy" else -1
        cash -= sign * D(fill["quantity"]) * D(fill["price"]) + D(fill["commission"])
        positions[fill["symbol"]] += sign * D(fill["quantity"])
        filled[fill["order_id"]] += D(fill["quantity"])
    assert D(ledger["cash"]) == cash
    assert {symbol: D(held["quantity"]) for symbol, held in ledger["positions"].items()} == {
        s: q for s, q in positions.items() if q
    }
    assert all(D(order["filled_qty"]) == filled[order["id"]] for order in orders)


def check_progress(earlier, later):
    """Nothing that was told once is undone."""
    assert later["clock"] >= earlier["clock"]
    assert later["fills"][: len(earlier["fills"])] == earlier["fills"]
    now = {order["id"]: order for order in later["orders"]}
    for order in earlier["orders"]:
        assert now[order["id"]] == order if order["status"] in ENDED else order["id"] in now


def check_received(ledger):
    """At most one request for each of a sender's ids was accepted; what was accepted is in the books."""
    accepted = Counter(r["client_order_id"] for r in ledger["received"] if r["method"] == "POST" and r["accepted"])
    assert set(accepted.values()) <= {1}
    assert set(accepted) <= {order["client_order_id"] for order in ledger["orders"]}


@pytest.mark.processes
@pytest.mark.timeout(120 + 30 * KILLS)
def test_kill_nine_under_load_neither_loses_nor_doubles_an_order(tmp_path):
    port, state = free_port(), tmp_path / "state.db"
    journals = {name: tmp_path / f"{name}.jsonl" for _, name in CLIENTS}
    exchange = start_exchange(port, state)
    for key_id in ("one", "two"):  # the first kill may come before a client's first request
        headers = {"APCA-API-KEY-ID": key_id, "APCA-API-SECRET-KEY": "secret"}
        requests.get(f"http://127.0.0.1:{port}/v2/clock", headers=headers, timeout=60).raise_for_status()
    clients = [start_client(port, key_id, name, journals[name]) for key_id, name in CLIENTS]
    ledgers, answered = {}, 0
    try:
        for kill in range(KILLS + 1):
            deadline = time.monotonic() + 60
            while sum(len(read(j)) for j in journals.values()) < answered + 60 + kill % 7 and time.monotonic() < deadline:
                time.sleep(0.01)
            if kill == KILLS:
                break
            exchange.send_signal(signal.SIGKILL)
            exchange.wait(10)
            exchange = start_exchange(port, state)
            lines = {name: read(journal) for name, journal in journals.items()}
            assert sum(map(len, lines.values())) > answered, "the clients are stuck"
            answered = sum(map(len, lines.values()))
            for key_id in ("one", "two"):
                ledger = ledger_of(port, key_id)
                mine = [name for key, name in CLIENTS if key == key_id]
                # Read again: the clients go on, and what they mean to do is written down before it is sent.
                intents = {
                    line["intent"].get("client_order_id") for name in mine for line in read(journals[name]) if "intent" in line
                }
                for name in mine:
                    check_answers(lines[name], ledger)
                check_books(ledger, intents)
                check_received(ledger)
                if key_id in ledgers:
                    check_progress(ledgers[key_id], ledger)
                ledgers[key_id] = ledger
    finally:
        for process in (*clients, exchange):
            process.kill()
            process.wait(10)
    print(f"{KILLS} kills, {answered} journal lines, {sum(len(one['orders']) for one in ledgers.values())} orders")
