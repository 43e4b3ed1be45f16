"""Faults of stream messages, and connections that the exchange closes."""

import pytest

from .streaming import exchange


@pytest.fixture(scope="module")
def market():
    with exchange(symbols=("AAPL", "SPY"), seed=3) as running:
        yield running


@pytest.fixture
def fresh(market):
    market("POST", "/sim/reset")
    market("GET", "/v2/account")
    return market


TABLE = [
    ("nothing", [], "abcd"),
    ("drop", [{"what": "drop", "skip": 1}], "acd"),
    ("duplicate", [{"what": "duplicate", "skip": 1, "copies": 3}], "abbbcd"),
    ("swap", [{"what": "swap", "skip": 1}], "acbd"),
    ("two swaps", [{"what": "swap", "times": 2}], "bacd"),
    ("swap over a dropped one", [{"what": "swap", "skip": 1}, {"what": "drop", "skip": 2}], "adb"),
    ("delay keeps the order", [{"what": "delay", "seconds": 0.05}], "abcd"),
    ("mute", [{"what": "mute", "skip": 2}], "ab"),
    ("another event", [{"what": "drop", "event": "fill"}], "abcd"),
    ("another account", [{"what": "drop", "key_id": "other"}], "abcd"),
]


@pytest.mark.parametrize(("faults", "told"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_trade_updates(fresh, faults, told):
    for fault in faults:
        fresh("POST", "/sim/faults", stream="trade_updates", **fault)
    with fresh.updates() as client, fresh.data(bars=["SPY"]) as other:
        for name in "abcd":
            fresh.buy("SPY", client_order_id=name, type="limit", limit_price=1)
        client.heard(2 + len(told))
        fresh.move(advance_seconds=60)
        other.bars(1)
        assert "".join(e["order"]["client_order_id"] for e in client.events()) == told


@pytest.mark.parametrize(("faults", "told"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_market_data(fresh, faults, told):
    for fault in faults:
        fresh("POST", "/sim/faults", stream="market_data", **fault)
    with fresh.data(bars=["SPY"]) as client, fresh.updates() as other:
        fresh.move(advance_seconds=240)
        fresh.buy("SPY")
        client.heard(3 + len(told))
        other.heard(3)
        minutes = {f"14:3{i}": name for i, name in enumerate("abcd")}
        assert "".join(minutes[m["t"][11:16]] for m in client.of("b")) == told


def test_a_mute_connection_stays_mute_and_a_new_one_speaks(fresh):
    fresh("POST", "/sim/faults", stream="trade_updates", what="mute")
    with fresh.updates() as mute:
        fresh.buy("SPY")
        mute.say(action="listen", data={"streams": ["trade_updates"]})
        with fresh.updates() as speaking:
            fresh.buy("SPY")
            speaking.heard(3)
        assert len(mute.seen) == 2
        assert mute.ended is None


def test_a_fault_closes_a_connection(fresh):
    with fresh.updates() as trading, fresh.updates("other") as stranger:
        fresh("POST", "/sim/faults", what="disconnect", stream="trade_updates", key_id="key")
        assert trading.end().code == 1012
        assert stranger.ended is None


@pytest.mark.parametrize(("abrupt", "code"), [(False, 1012), (True, 1006)])
@pytest.mark.parametrize("key", ["key", ""])
def test_the_exchange_closes_a_connection(fresh, abrupt, code, key):
    with fresh.updates() as trading, fresh.data(bars=["SPY"]) as data, fresh.updates("other") as stranger:
        fresh.in_loop(lambda: fresh.hub.disconnect(key, "trade_updates", abrupt=abrupt))
        assert trading.end().code == code
        if not key:
            assert stranger.end().code == code
        fresh.move(advance_seconds=60)
        data.bars(1)
        assert (stranger.ended is None) == bool(key)


def test_a_halt_is_told(fresh):
    with fresh.data(bars=["*"], statuses=["*"]) as client:
        halt = fresh("POST", "/sim/faults", what="halt", symbol="SPY")
        fresh.move(advance_seconds=60)
        fresh("DELETE", f"/sim/faults/{halt['id']}")
        fresh.move(advance_seconds=60)
        client.heard(3 + 1 + 1 + 1 + 2)
        told = [(m["T"], m["S"], m.get("sc")) for m in client.of("s", "b")]
        assert told == [("s", "SPY", "H"), ("b", "AAPL", None), ("s", "SPY", "T"), ("b", "AAPL", None), ("b", "SPY", None)]
