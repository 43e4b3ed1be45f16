"""The trade-updates stream: its handshake, and what it tells to whom."""

import json
from datetime import datetime

import pytest

from .conftest import HEAD, OPEN, minute_rows
from .streaming import Client, exchange

AUTHENTICATE = {"action": "authenticate", "data": {"key_id": "key", "secret_key": "secret"}}
LISTEN = {"action": "listen", "data": {"streams": ["trade_updates"]}}


def authorization(status, action="authenticate"):
    return {"stream": "authorization", "data": {"status": status, "action": action}}


def listening(*streams):
    return {"stream": "listening", "data": {"streams": list(streams)}}


YES, WRONG = authorization("authorized"), {"stream": "error", "data": {"error_message": "invalid syntax"}}

HANDSHAKES = [
    ("as clients do it", [AUTHENTICATE, LISTEN], [YES, listening("trade_updates")]),
    ("as documented", [{"action": "auth", "key": "key", "secret": "secret"}, LISTEN], [YES, listening("trade_updates")]),
    ("listening first", [LISTEN, AUTHENTICATE], [authorization("unauthorized", "listen"), YES]),
    ("wrong secret", [{"action": "auth", "key": "key", "secret": "other"}], [authorization("unauthorized")]),
    ("empty key", [{"action": "auth", "key": "", "secret": "x"}], [authorization("unauthorized")]),
    ("key no string", [{"action": "auth", "key": 5, "secret": ["x"]}], [authorization("unauthorized")]),
    ("key no ascii", [{"action": "auth", "key": "\ud800", "secret": "x"}], [authorization("unauthorized")]),
    (
        "unknown streams",
        [AUTHENTICATE, {"action": "listen", "data": {"streams": ["account_updates", "trade_updates", 5]}}],
        [YES, listening("trade_updates")],
    ),
    (
        "no streams",
        [AUTHENTICATE, LISTEN, {"action": "listen", "data": {"streams": []}}],
        [YES, listening("trade_updates"), listening()],
    ),
    ("unknown action", [{"action": "dance"}, AUTHENTICATE], [WRONG, YES]),
    ("no object", [[1, 2], 5, None, AUTHENTICATE], [WRONG, WRONG, WRONG, YES]),
    ("streams no list", [AUTHENTICATE, {"action": "listen", "data": {"streams": "trade_updates"}}], [YES, WRONG]),
    ("data no object", [{"action": "authenticate", "data": "key"}], [WRONG]),
]  # fmt: skip


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    path = tmp_path_factory.mktemp("tape") / "tape.csv"
    before = OPEN.replace(year=2023, month=12, day=29)
    path.write_text(HEAD + "".join(minute_rows("ACME", [100], before) + minute_rows("ACME", range(100, 490))))
    with exchange(data=path, start=OPEN.date()) as running:
        yield running


@pytest.fixture
def fresh(market):
    market("POST", "/sim/reset")
    market("GET", "/v2/account")
    return market


@pytest.mark.parametrize(("said", "answered"), [h[1:] for h in HANDSHAKES], ids=[h[0] for h in HANDSHAKES])
@pytest.mark.parametrize("binary", [False, True], ids=["text", "binary"])
def test_handshake(fresh, said, answered, binary):
    with fresh.open("/stream") as socket:
        client = Client(socket)
        for command in said:
            text = json.dumps(command)
            socket.send(text.encode() if binary else text)
        assert client.heard(len(answered)) == answered
        assert set(client.frames) == {bytes}


@pytest.mark.parametrize("frame", ["", "{", b"\xff\xfe", "[" * 100_000, b"\x00"])
def test_bad_frames_are_answered_and_the_connection_goes_on(fresh, frame):
    with fresh.open("/stream") as socket:
        client = Client(socket)
        socket.send(frame)
        socket.send(json.dumps(AUTHENTICATE))
        assert client.heard(2) == [WRONG, YES]


def test_an_order_from_acceptance_to_fill(fresh):
    with fresh.updates() as client:
        order = fresh.buy(qty=3)
        fresh.move(advance_seconds=60)
        new, fill = client.heard(4) and client.events()
        assert (new["event"], fill["event"]) == ("new", "fill")
        assert new["order"] == order
        assert fill["order"] == fresh("GET", f"/v2/orders/{order['id']}")
        assert (fill["qty"], fill["position_qty"], fill["price"]) == ("3", "3", fill["order"]["filled_avg_price"])
        assert fill["order"]["legs"] is None
        assert fill["timestamp"] == fill["order"]["filled_at"]
        activity = fresh("GET", "/v2/account/activities/FILL")[0]
        assert fill["execution_id"] in activity["id"]
        assert not {"qty", "price", "position_qty"} & set(new)
        assert len({new["event_id"], fill["event_id"], new["execution_id"], fill["execution_id"]}) == 3


def test_every_connection_of_the_account_and_nobody_else_is_told(fresh):
    with fresh.updates() as one, fresh.updates() as two, fresh.updates("other") as stranger:
        fresh.buy()
        theirs = fresh.buy(key="other")
        assert one.heard(3) == two.heard(3)
        assert [e["order"]["id"] for e in stranger.heard(3) and stranger.events()] == [theirs["id"]]
        assert len(one.seen) == len(two.seen) == 3


def test_cancel_and_expiry_are_told_with_simulated_times(fresh):
    with fresh.updates() as client:
        first = fresh.buy(type="limit", limit_price=1)
        fresh.move(advance_seconds=90)
        fresh("DELETE", f"/v2/orders/{first['id']}")
        fresh.buy(type="limit", limit_price=1, time_in_force="day")
        fresh.move(to_close=True)
        client.heard(6)
        told = [(e["event"], datetime.fromisoformat(e["timestamp"])) for e in client.events()]
        close = OPEN.replace(hour=21, minute=0)
        cancelled = OPEN.replace(minute=31, second=30)
        assert told == [("new", OPEN), ("canceled", cancelled), ("new", cancelled), ("expired", close)]


def test_who_does_not_listen_any_more_hears_nothing(fresh):
    with fresh.updates() as client:
        client.say(action="listen", data={"streams": []})
        client.heard(3)
        fresh.buy()
        client.say(**LISTEN)
        assert client.heard(4)[3] == listening("trade_updates")


def test_a_client_for_whom_too_much_waits_is_cut_off(fresh):
    for price in range(1, 9):
        fresh.buy(type="limit", limit_price=price)
    with fresh.updates() as client:
        (connection,) = fresh.hub.of("key", "trade_updates")
        connection.outbox_limit = 5
        fresh("DELETE", "/v2/orders")
        assert client.end().code == 1006
        assert not fresh.hub.of("key", "trade_updates")
    assert fresh("GET", "/v2/orders") == []
