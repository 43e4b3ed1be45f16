"""Faults on demand: each does to a client what it says, the exchange's books say the truth, and nothing else is touched."""

import json
import time

import pytest
import requests
from hypothesis import given
from hypothesis import strategies as st
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from app.simulator.faults.answers import merge_patch
from app.simulator.faults.arrivals import Arrival, Selector
from app.simulator.faults.board import UNDISTURBED, Fault, FaultBoard, StreamPlan
from app.simulator.options import SimulatorOptions

from .conftest import KEYS
from .serving import served

OPTIONS = SimulatorOptions(symbols=("ACME", "BCME"), seed=5)


@pytest.fixture(scope="module")
def exchange():
    with served(OPTIONS) as client:
        yield client


@pytest.fixture
def x(exchange):
    exchange.sim("POST", "/sim/reset", {})
    exchange.get("/v2/account")
    return exchange


def received(x, client_order_id):
    return x.sim("GET", f"/sim/requests?client_order_id={client_order_id}")["requests"]


OUTCOMES = {
    "429": ("status", {"status": 429}, lambda a: (a.status_code, a.json()["code"]) == (429, 42910000)),
    "500": ("status", {"status": 500}, lambda a: (a.status_code, a.json()["code"]) == (500, 50010000)),
    "503": ("status", {"status": 503}, lambda a: a.status_code == 503),
    "504": ("status", {"status": 504}, lambda a: a.status_code == 504),
    "any": ("status", {"status": "any", "seed": 3}, lambda a: a.status_code in {429, 500, 502, 503, 504}),
    "words": (
        "status",
        {"status": 422, "code": 40010001, "message": "client_order_id must be unique"},
        lambda a: a.json() == {"code": 40010001, "message": "client_order_id must be unique"},
    ),
    "html": ("html", {}, lambda a: a.status_code == 200 and a.text.startswith("<html>")),
    "gateway": ("html", {"status": 502}, lambda a: a.status_code == 502 and "502 Bad Gateway" in a.text),
    "empty": ("empty", {}, lambda a: (a.status_code, a.content) == (200, b"")),
    "redirect": (
        "redirect",
        {"location": "http://other.invalid/v2"},
        lambda a: (a.status_code, a.headers["location"]) == (307, "http://other.invalid/v2"),
    ),
}


@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("name", OUTCOMES)
def test_answers_before_and_after_acceptance(x, name, when):
    what, settings, expected = OUTCOMES[name]
    fault = x.fault(what, method="POST", path="/v2/orders", when=when, **settings)
    assert expected(x.order(client_order_id="a"))
    assert x.client_ids() == (["a"] if when == "after" else [])
    (entry,) = received(x, "a")
    assert entry["accepted"] is (when == "after")
    assert entry["disturbed"] == [f"fault {fault}: {what} {when}"]
    assert x.sim("GET", f"/sim/faults/{fault}")["fired"] == 1
    # One-shot: the next one is served, and so was every other route.
    assert x.order(client_order_id="b").status_code == 200


def test_rate_headers_and_own_headers(x):
    x.fault("status", status=429, rate_headers=True, headers={"Retry-After": "7"}, path="/v2/clock")
    x.fault("status", status=429, path="/v2/clock")
    answer = x.get("/v2/clock")
    assert answer.headers["X-RateLimit-Remaining"] == "0"
    assert 0 <= int(answer.headers["X-RateLimit-Reset"]) - time.time() <= 60
    assert answer.headers["Retry-After"] == "7"
    assert "X-RateLimit-Reset" not in x.get("/v2/clock").headers


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_reset_cuts_the_connection(x, when):
    x.fault("reset", method="POST", path="/v2/orders", when=when)
    body = {"symbol": "ACME", "side": "buy", "type": "market", "qty": 1, "time_in_force": "day", "client_order_id": "a"}
    with x.open_socket("POST", "/v2/orders", body) as connection, pytest.raises(ConnectionResetError):
        connection.recv(100)
    assert x.client_ids() == (["a"] if when == "after" else [])
    (entry,) = received(x, "a")
    assert (entry["accepted"], entry["status"], entry["answered_at"]) == (when == "after", None, None)


@pytest.mark.parametrize("when", ["before", "after"])
def test_a_hang_is_silent_until_its_fault_is_removed(x, when):
    fault = x.fault("hang", method="POST", when=when)
    with pytest.raises(requests.Timeout):
        x.call(
            "POST",
            "/v2/orders",
            {"symbol": "ACME", "side": "buy", "type": "market", "qty": 1, "time_in_force": "day"},
            timeout=0.3,
        )
    body = {"symbol": "ACME", "side": "buy", "type": "market", "qty": 1, "time_in_force": "day", "client_order_id": "b"}
    assert len(x.client_ids()) == (when == "after")
    x.sim("DELETE", f"/sim/faults/{fault}")
    again = x.fault("hang", method="POST", when=when)
    with x.open_socket("POST", "/v2/orders", body) as connection:
        connection.settimeout(0.2)
        with pytest.raises(TimeoutError):
            connection.recv(1)
        x.sim("DELETE", f"/sim/faults/{again}")
        connection.settimeout(10)
        with pytest.raises(ConnectionResetError):
            connection.recv(1)
    assert ("b" in x.client_ids()) is (when == "after")


def test_a_hang_ends_with_its_time(x):
    x.fault("hang", path="/v2/clock", seconds=0.05)
    with pytest.raises(requests.ConnectionError):
        x.get("/v2/clock")


@pytest.mark.parametrize("when", ["before", "after"])
def test_latency_delays_and_changes_nothing(x, when):
    x.fault("latency", seconds=0.3, when=when, path="/v2/orders")
    begun = time.monotonic()
    assert x.order(client_order_id="a").status_code == 200
    assert time.monotonic() - begun >= 0.3
    assert x.get("/v2/clock").status_code == 200


def test_a_truncated_body_is_cut_half_way(x):
    x.fault("truncate", path="/v2/account")
    with x.open_socket("GET", "/v2/account") as connection:
        content = b"".join(iter(lambda: connection.recv(65536), b""))
    head, body = content.split(b"\r\n\r\n", 1)
    length = next(int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length"))
    assert len(body) == length // 2


def test_a_huge_body_is_the_answer_behind_many_blanks(x):
    x.fault("huge", bytes=3_000_000, path="/v2/clock")
    answer = x.get("/v2/clock")
    assert len(answer.content) > 3_000_000
    assert answer.json()["is_open"] is True


def test_patches_make_absurd_readings(x):
    x.fault("patch", path="/v2/account", patch={"equity": "0", "cash": "-5", "account_blocked": True, "status": None}, times=2)
    for _ in range(2):
        account = x.get("/v2/account").json()
        assert (account["equity"], account["cash"], account["account_blocked"], "status" in account) == ("0", "-5", True, False)
        assert account["account_number"]
    assert x.get("/v2/account").json()["equity"] == "100000.00"
    x.fault("patch", path="/v2/account", patch={"equity": None}, keep_nulls=True)
    assert x.get("/v2/account").json()["equity"] is None
    x.order(client_order_id="a")
    x.fault("patch", path="/v2/orders", method="GET", patch=[])
    x.fault("patch", path="/v2/orders", method="GET", patch={"status": "pending_new"}, each=True)
    assert x.get("/v2/orders").json() == []
    x.fault("patch", path="/v2/orders", method="GET", patch={"status": "pending_new"}, each=True)
    assert [order["status"] for order in x.get("/v2/orders").json()] == ["pending_new"]
    # A stale quote; the other symbol's stays as it is.
    x.fault("patch", path="/v2/stocks/*/latest", patch={"quotes": {"ACME": {"t": "2001-01-01T00:00:00Z"}}})
    quotes = x.get("/v2/stocks/quotes/latest?symbols=ACME,BCME").json()["quotes"]
    assert quotes["ACME"]["t"].startswith("2001") and not quotes["BCME"]["t"].startswith("2001")


def test_a_lagging_look_up(x):
    fault = x.fault("lag", seconds=600, client_order_id="slow-*")
    order_id = x.order(client_order_id="slow-1").json()["id"]
    x.order(client_order_id="slow-2")
    look_up = "/v2/orders:by_client_order_id?client_order_id="
    assert x.get(look_up + "slow-1").status_code == 404
    assert x.get(look_up + "slow-2").status_code == 200  # one-shot
    assert x.get(f"/v2/orders/{order_id}").status_code == 200
    assert len(x.get("/v2/orders").json()) == 2
    x.sim("DELETE", f"/sim/faults/{fault}")
    assert x.get(look_up + "slow-1").status_code == 200
    x.fault("lag", seconds=0.05, times=None)
    x.order(client_order_id="brief")
    time.sleep(0.1)
    assert x.get(look_up + "brief").status_code == 200


def test_a_revoked_key(x):
    x.fault("unauthorized", key_id="other", times=None)
    assert x.get("/v2/account").status_code == 200
    for _ in range(2):
        answer = x.get("/v2/account", headers={**KEYS, "APCA-API-KEY-ID": "other"})
        assert (answer.status_code, answer.json()["code"]) == (401, 40110000)


def test_selectors_of_orders(x):
    x.fault("status", status=503, symbol="BCME", side="sell", times=None)
    x.fault("status", status=500, client_order_id="at-*", method="DELETE", path="/v2/orders/{id}", times=None)
    assert x.order(symbol="ACME").status_code == 200
    assert x.order(symbol="bcme", side="sell").status_code == 503
    named, other = (x.order(client_order_id=name).json()["id"] for name in ("at-1", "human"))
    assert x.call("DELETE", f"/v2/orders/{named}").status_code == 500
    assert x.call("DELETE", f"/v2/orders/{other}").status_code == 204


def test_skip_times_and_a_reproducible_probability(x):
    x.fault("status", status=500, path="/v2/clock", skip=2, times=2)
    assert [x.get("/v2/clock").status_code for _ in range(6)] == [200, 200, 500, 500, 200, 200]
    runs = []
    for _ in range(2):
        fault = x.fault("status", status=500, path="/v2/clock", probability=0.5, seed=9, times=None)
        runs.append([x.get("/v2/clock").status_code for _ in range(30)])
        x.sim("DELETE", f"/sim/faults/{fault}")
    assert runs[0] == runs[1]
    assert 5 < runs[0].count(500) < 25


def test_the_list_tells_what_fired_and_deletion_empties_it(x):
    first, second = x.fault("empty", path="/v2/clock"), x.fault("latency", seconds=0, path="/v2/account", times=None)
    x.get("/v2/clock")
    x.get("/v2/account")
    shown = {fault["id"]: fault for fault in x.sim("GET", "/sim/faults")}
    assert (shown[first]["fired"], shown[first]["spent"], shown[first]["path"]) == (1, True, "/v2/clock")
    assert (shown[second]["fired"], shown[second]["spent"], shown[second]["times"]) == (1, False, None)
    assert len(x.sim("DELETE", "/sim/faults")) == 2
    assert x.sim("GET", "/sim/faults") == []
    x.fault("empty", path="/v2/clock")
    x.sim("POST", "/sim/reset", {})
    assert x.sim("GET", "/sim/faults") == []


def test_control_routes_are_never_disturbed(x):
    x.fault("status", status=500, times=None)
    x.fault("hang", times=None)
    assert x.get("/v2/clock").status_code == 500
    assert x.get("/v2/nowhere").status_code == 500
    assert len(x.sim("GET", "/sim/faults")) == 2
    assert x.sim("GET", "/sim/state")["is_open"] is True


BAD = [
    {},
    {"what": "rain"},
    {"what": "latency"},
    {"what": "latency", "seconds": -1},
    {"what": "latency", "seconds": "1"},
    {"what": "latency", "seconds": 1, "when": "never"},
    {"what": "latency", "seconds": 1, "colour": "red"},
    {"what": "truncate", "when": "before"},
    {"what": "status"},
    {"what": "status", "status": 200},
    {"what": "status", "status": 500, "headers": {"a\r\nb": "c"}},
    {"what": "status", "status": 500, "headers": {"a": "c\r\nd: e"}},
    {"what": "status", "status": 500, "headers": ["a"]},
    {"what": "redirect", "status": 200},
    {"what": "redirect", "location": "a\r\nb"},
    {"what": "huge", "bytes": 1e12},
    {"what": "patch"},
    {"what": "patch", "patch": 1e300},
    {"what": "empty", "times": 0},
    {"what": "empty", "times": 1.5},
    {"what": "empty", "skip": -1},
    {"what": "empty", "probability": 1.1},
    {"what": "empty", "method": "FETCH"},
    {"what": "empty", "path": "orders"},
    {"what": "empty", "path": "/sim/*"},
    {"what": "empty", "side": "up"},
    {"what": "empty", "symbol": 5},
    {"what": "drop"},
    {"what": "drop", "stream": "news"},
    {"what": "duplicate", "stream": "trade_updates", "copies": 1},
    {"what": "delay", "stream": "trade_updates"},
    {"what": "drop", "stream": "trade_updates", "path": "/v2/orders"},
    {"what": "halt"},
    {"what": "halt", "symbol": "ACME", "side": "buy"},
]


@pytest.mark.parametrize("body", BAD, ids=str)
def test_wrong_faults_are_refused_and_set_nothing(generated, body):
    status, error = generated("POST", "/sim/faults", body=body)
    assert status == 422 and error["code"] and error["message"]
    assert generated("GET", "/sim/faults")[1] == []


@pytest.mark.parametrize("path", ["/sim/faults/7", "/sim/faults/x", "/sim/barriers/7", "/sim/barriers/-1"])
def test_unknown_ids(generated, path):
    for method in ("GET", "DELETE"):
        status, error = generated(method, path)
        assert status == 404 and "lists them" in error["message"]


def test_a_halted_symbol_does_not_fill(x):
    halt = x.fault("halt", symbol="ACME", times=None)
    for symbol in ("ACME", "BCME"):
        assert x.order(symbol=symbol, type="market", limit_price=None, time_in_force="day").status_code == 200
    x.sim("POST", "/sim/clock", {"advance_seconds": 600})
    assert [fill["symbol"] for fill in x.sim("GET", "/sim/ledger")["fills"]] == ["BCME"]
    x.sim("DELETE", f"/sim/faults/{halt}")
    x.sim("POST", "/sim/clock", {"advance_seconds": 600})
    assert [fill["symbol"] for fill in x.sim("GET", "/sim/ledger")["fills"]] == ["BCME", "ACME"]


def test_accepted_then_rejected(x):
    x.fault("reject_later", symbol="ACME", reason="halted by the venue")
    doomed = x.order(symbol="ACME", client_order_id="a").json()
    assert doomed["status"] == "new"
    assert x.order(symbol="ACME", client_order_id="b").json()["status"] == "new"
    x.sim("POST", "/sim/clock", {"advance_seconds": 60})
    assert {o["client_order_id"]: o["status"] for o in x.sim("GET", "/sim/ledger")["orders"]} == {"a": "rejected", "b": "new"}


def test_a_stuck_cancel_stays_pending_until_its_fault_is_removed(x):
    fault = x.fault("stuck_cancel", client_order_id="a")
    ids = [x.order(client_order_id=name).json()["id"] for name in ("a", "b")]
    assert [x.call("DELETE", f"/v2/orders/{one}").status_code for one in ids] == [204, 204]
    assert [x.get(f"/v2/orders/{one}").json()["status"] for one in ids] == ["pending_cancel", "canceled"]
    x.sim("POST", "/sim/clock", {"advance_seconds": 3600})
    assert x.get(f"/v2/orders/{ids[0]}").json()["status"] == "pending_cancel"
    x.sim("DELETE", f"/sim/faults/{fault}")
    assert x.get(f"/v2/orders/{ids[0]}").json()["status"] == "canceled"


# -- laws of the parts ---------------------------------------------------------------------------------------------------

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3),
    max_leaves=8,
)


@given(target=json_values, patch=json_values)
def test_a_merge_patch_is_idempotent_and_says_what_it_sets(target, patch):
    once = merge_patch(target, patch)
    assert merge_patch(once, patch) == once
    if not isinstance(patch, dict):
        assert once == patch
        return
    for name, value in patch.items():
        assert (name in once) is (value is not None)
        assert name in merge_patch(target, patch, keep_nulls=True)
    kept = target if isinstance(target, dict) else {}
    assert {k: v for k, v in once.items() if k not in patch} == {k: v for k, v in kept.items() if k not in patch}


PATHS = [
    ("/v2/orders", "/v2/orders", True),
    ("/v2/orders", "/v2/orders/1", False),
    ("/v2/orders/{id}", "/v2/orders/1", True),
    ("/v2/orders/{id}", "/v2/orders/1/2", False),
    ("/v2/orders*", "/v2/orders/1/2", True),
    ("/v2/stocks/*/latest", "/v2/stocks/ACME/bars/latest", True),
    ("/v2/orders:by_client_order_id", "/v2/orders:by_client_order_id", True),
    ("/v2/order?", "/v2/orders", True),
    ("/v2/.*", "/v2/orders", False),
    ("", "/anything", True),
]


@pytest.mark.parametrize(("pattern", "path", "expected"), PATHS)
def test_paths(pattern, path, expected):
    arrival = Arrival(method="GET", path=path, query="", body=b"", key_id="k", account=None)
    assert Selector(path=pattern).matches(arrival) is expected


PLANS = [
    ("drop", {}, StreamPlan(drop=True)),
    ("duplicate", {"copies": 3}, StreamPlan(copies=3)),
    ("swap", {}, StreamPlan(swap=True)),
    ("delay", {"seconds": 1.5}, StreamPlan(delay=1.5)),
    ("mute", {}, StreamPlan(mute=True)),
]


@pytest.mark.parametrize(("what", "settings", "plan"), PLANS)
def test_stream_plans(what, settings, plan):
    board = FaultBoard()
    fault = Fault(what=what, stream="trade_updates", event="*fill", where=Selector(key_id="k"), settings=settings, times=2)
    board.add(fault)
    asked = [("k", "trade_updates", "new"), ("k", "market_data", "fill"), ("j", "trade_updates", "fill")]
    assert [board.stream_plan(*one) for one in asked] == [UNDISTURBED] * 3
    assert [board.stream_plan("k", "trade_updates", event) for event in ("fill", "partial_fill", "fill")] == [
        plan,
        plan,
        UNDISTURBED,
    ]
    assert (fault.fired, fault.is_spent) == (2, True)
    assert not board.disturbs_requests


@given(
    skip=st.integers(0, 5),
    times=st.none() | st.integers(1, 5),
    probability=st.floats(0, 1),
    seed=st.integers(0, 100),
    arrivals=st.integers(0, 30),
)
def test_how_often_a_fault_fires(skip, times, probability, seed, arrivals):
    def fates():
        fault = Fault(what="empty", skip=skip, times=times, probability=probability, seed=seed)
        return [fault.hits() for _ in range(arrivals)]

    hits = fates()
    assert hits == fates()
    assert not any(hits[:skip])
    assert times is None or sum(hits) <= times
    if probability == 1:
        assert sum(hits) == min(max(arrivals - skip, 0), times or arrivals)


def test_stream_faults_reach_the_streams(x):
    def events(stream, count):
        return [json.loads(stream.recv(10))["data"]["event"] for _ in range(count)]

    with connect(f"ws://127.0.0.1:{x.port}/stream") as stream:
        stream.send(json.dumps({"action": "auth", "key": "key", "secret": "secret"}))
        stream.send(json.dumps({"action": "listen", "data": {"streams": ["trade_updates"]}}))
        assert [json.loads(stream.recv(10))["stream"] for _ in range(2)] == ["authorization", "listening"]
        x.fault("drop", stream="trade_updates", event="new")
        x.fault("duplicate", stream="trade_updates", event="canceled", copies=3)
        order_id = x.order().json()["id"]
        x.call("DELETE", f"/v2/orders/{order_id}")
        assert events(stream, 3) == ["canceled"] * 3
        x.order()
        assert events(stream, 1) == ["new"]
        x.fault("disconnect", stream="trade_updates", key_id="key")
        with pytest.raises(ConnectionClosed):
            stream.recv(10)
