"""Barriers: a held request waits for its word, and what the exchange did with it is in its books."""

import os
import signal
import subprocess
import sys
import threading

import pytest
import requests

from app.simulator.options import SimulatorOptions

from .conftest import KEYS
from .serving import served


@pytest.fixture(scope="module")
def exchange():
    with served(SimulatorOptions(symbols=("ACME", "BCME"), seed=5)) as client:
        yield client


@pytest.fixture
def x(exchange):
    exchange.sim("POST", "/sim/reset", {})
    exchange.get("/v2/account")
    return exchange


def barrier(x, **fields):
    return x.sim("POST", "/sim/barriers", fields, status=201)["id"]


def arrived(x, barrier_id):
    return x.sim("GET", f"/sim/barriers/{barrier_id}?wait=20")


class Sending(threading.Thread):
    """An order sent from a thread of its own."""

    def __init__(self, x, client_order_id):
        super().__init__(daemon=True)
        self.x, self.client_order_id, self.answer = x, client_order_id, None
        self.start()

    def run(self):
        try:
            self.answer = self.x.order(client_order_id=self.client_order_id).status_code
        except requests.ConnectionError:
            self.answer = "cut"

    def end(self):
        self.join(20)
        return self.answer


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize(
    ("release", "answer"), [({}, 200), ({"then": "reset"}, "cut"), ({"then": "status", "status": 504}, 504)], ids=str
)
def test_a_held_order_is_released(x, when, release, answer):
    held = barrier(x, method="POST", path="/v2/orders", when=when)
    sending = Sending(x, "a")
    shown = arrived(x, held)
    assert shown["state"] == "arrived"
    assert x.client_ids() == (["a"] if when == "after" else [])
    # The clock moves and others are served meanwhile.
    x.sim("POST", "/sim/clock", {"advance_seconds": 60})
    assert x.order(client_order_id="b").status_code == 200
    assert sending.answer is None
    assert x.sim("POST", f"/sim/barriers/{held}/release", release)["state"] == "released"
    assert sending.end() == answer
    takes_effect = when == "after" or not release
    assert ("a" in x.client_ids()) is takes_effect
    (entry,) = x.sim("GET", "/sim/requests?client_order_id=a")["requests"]
    assert (entry["number"], entry["accepted"]) == (shown["request"], takes_effect)
    assert entry["disturbed"] == [f"barrier {held}: {when}"]
    assert entry["status"] == (None if answer == "cut" else answer)


def test_the_nth_matching_request_is_held(x):
    held = barrier(x, method="POST", path="/v2/orders", symbol="ACME", number=3)
    x.order(client_order_id="1")
    x.order(client_order_id="other", symbol="BCME")
    x.order(client_order_id="2")
    assert x.sim("GET", f"/sim/barriers/{held}?wait=0.01")["state"] == "waiting"
    sending = Sending(x, "3")
    assert arrived(x, held)["matched"] == 3
    x.sim("DELETE", f"/sim/barriers/{held}")
    assert sending.end() == 200
    assert x.client_ids() == ["1", "other", "2", "3"]


def test_two_barriers_line_two_requests_up_in_the_order_wished(x):
    first, second = (barrier(x, method="POST", path="/v2/orders", number=n) for n in (1, 2))
    sending = [Sending(x, "a")]
    arrived(x, first)
    sending.append(Sending(x, "b"))
    arrived(x, second)
    x.sim("POST", f"/sim/barriers/{second}/release", {})
    assert sending[1].end() == 200
    x.sim("POST", f"/sim/barriers/{first}/release", {})
    assert sending[0].end() == 200
    assert x.client_ids() == ["b", "a"]


def test_a_reset_of_the_run_lets_held_requests_go(x):
    held = barrier(x, method="POST", path="/v2/orders")
    sending = Sending(x, "a")
    arrived(x, held)
    x.sim("POST", "/sim/reset", {})
    assert sending.end() == 200
    assert x.sim("GET", "/sim/barriers") == []


SENDER = """
import sys, requests
keys = {"APCA-API-KEY-ID": "key", "APCA-API-SECRET-KEY": "secret"}
requests.post(sys.argv[1] + "/v2/orders", json={"symbol": "ACME", "side": "buy", "type": "limit", "limit_price": "1", "qty": 1,
    "time_in_force": "gtc", "client_order_id": sys.argv[2]}, headers=keys)
"""


@pytest.mark.processes
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_client_killed_while_it_is_held_undoes_nothing(x, when):
    held = barrier(x, method="POST", path="/v2/orders", when=when)
    process = subprocess.Popen([sys.executable, "-c", SENDER, x.url, "a"], env=dict(os.environ))
    try:
        arrived(x, held)
        process.send_signal(signal.SIGKILL)
        process.wait(10)
        assert x.client_ids() == (["a"] if when == "after" else [])
        x.sim("POST", f"/sim/barriers/{held}/release", {"then": "proceed"})
        assert x.order(client_order_id="a").json()["message"] == "client_order_id must be unique"
        assert x.client_ids() == ["a"]
    finally:
        process.kill()
        process.wait(10)


def test_releases_at_the_wrong_time(x):
    held = barrier(x, path="/v2/orders", method="POST")
    assert "holds no request" in x.sim("POST", f"/sim/barriers/{held}/release", {}, status=409)["message"]
    sending = Sending(x, "a")
    arrived(x, held)
    x.sim("POST", f"/sim/barriers/{held}/release", {})
    assert "has been released" in x.sim("POST", f"/sim/barriers/{held}/release", {}, status=409)["message"]
    assert sending.end() == 200


@pytest.mark.parametrize(
    "body",
    [{"number": 0}, {"number": "1"}, {"when": "during"}, {"status": 500}, {"path": "/sim/clock"}, {"method": 1}],
    ids=str,
)
def test_wrong_barriers_are_refused(generated, body):
    status, error = generated("POST", "/sim/barriers", body=body)
    assert status == 422 and error["message"]
    assert generated("GET", "/sim/barriers")[1] == []


@pytest.mark.parametrize("body", [{"then": "explode"}, {"then": 5}, {"then": "status", "status": 99}, {"x": 1}], ids=str)
def test_wrong_releases_are_refused(generated, body):
    held = generated("POST", "/sim/barriers", body={})[1]["id"]
    assert generated("POST", f"/sim/barriers/{held}/release", body=body)[0] == 422
    for wait in ("-1", "x", "61", "1e1"):
        assert generated("GET", f"/sim/barriers/{held}", params={"wait": wait})[0] == 422
    generated("DELETE", "/sim/barriers")


def test_a_shutdown_ends_what_is_held_without_effect():
    with served(SimulatorOptions(symbols=("ACME",), seed=5)) as x:
        held = barrier(x, method="POST", path="/v2/orders")
        x.fault("hang", path="/v2/clock", seconds=600)
        x.fault("latency", path="/v2/account", seconds=600)
        sending = Sending(x, "a")
        arrived(x, held)
        waiting = [x.open_socket("GET", path, headers=KEYS) for path in ("/v2/clock", "/v2/account")]
    assert sending.end() == "cut"
    for connection in waiting:
        connection.settimeout(10)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
        connection.close()
