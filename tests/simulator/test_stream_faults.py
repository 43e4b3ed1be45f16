"""Faults of stream messages, and connections that the exchange closes."""

from typing import NamedTuple

import pytest

from .streaming import exchange


class Plan(NamedTuple):
    drop: bool = False
    copies: int = 1
    delay: float = 0.0
    swap: bool = False
    mute: bool = False


class Board:
    """Faults by the number of the message among those of `stream`."""

    def __init__(self, stream, plans):
        self.stream, self.plans, self.asked = stream, plans, []

    def stream_plan(self, key_id, stream, event):
        if stream != self.stream:
            return Plan()
        self.asked.append((key_id, event))
        return self.plans.get(len(self.asked), Plan())


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
    ("nothing", {}, "abcd"),
    ("drop", {2: Plan(drop=True)}, "acd"),
    ("duplicate", {2: Plan(copies=3)}, "abbbcd"),
    ("swap", {2: Plan(swap=True)}, "acbd"),
    ("two swaps", {1: Plan(swap=True), 2: Plan(swap=True)}, "bacd"),
    ("swap over a dropped one", {2: Plan(swap=True), 3: Plan(drop=True)}, "adb"),
    ("delay keeps the order", {1: Plan(delay=0.05)}, "abcd"),
    ("mute", {3: Plan(mute=True)}, "ab"),
]


@pytest.mark.parametrize(("plans", "told"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_trade_updates(fresh, monkeypatch, plans, told):
    board = Board("trade_updates", plans)
    monkeypatch.setattr(fresh.world, "faults", board, raising=False)
    with fresh.updates() as client, fresh.data(bars=["SPY"]) as other:
        for name in "abcd":
            fresh.buy("SPY", client_order_id=name, type="limit", limit_price=1)
        client.heard(2 + len(told))
        fresh.move(advance_seconds=60)
        other.bars(1)
        assert "".join(e["order"]["client_order_id"] for e in client.events()) == told
        assert board.asked == [("key", "new")] * (len(board.asked))


@pytest.mark.parametrize(("plans", "told"), [row[1:] for row in TABLE], ids=[row[0] for row in TABLE])
def test_market_data(fresh, monkeypatch, plans, told):
    board = Board("market_data", plans)
    monkeypatch.setattr(fresh.world, "faults", board, raising=False)
    with fresh.data(bars=["SPY"]) as client, fresh.updates() as other:
        fresh.move(advance_seconds=240)
        fresh.buy("SPY")
        client.heard(3 + len(told))
        other.heard(3)
        minutes = {f"14:3{i}": name for i, name in enumerate("abcd")}
        assert "".join(minutes[m["t"][11:16]] for m in client.of("b")) == told
        assert set(board.asked) == {("key", "bars")}


def test_a_mute_connection_stays_mute_and_a_new_one_speaks(fresh, monkeypatch):
    monkeypatch.setattr(fresh.world, "faults", Board("trade_updates", {1: Plan(mute=True)}), raising=False)
    with fresh.updates() as mute:
        fresh.buy("SPY")
        mute.say(action="listen", data={"streams": ["trade_updates"]})
        with fresh.updates() as speaking:
            fresh.buy("SPY")
            speaking.heard(3)
        assert len(mute.seen) == 2
        assert mute.ended is None


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


def test_a_halt_is_told(fresh, monkeypatch):
    monkeypatch.setattr(fresh.world.market, "halted", set(), raising=False)
    with fresh.data(bars=["*"], statuses=["*"]) as client:
        fresh.world.market.halted.add("SPY")
        fresh.move(advance_seconds=60)
        fresh.world.market.halted.clear()
        fresh.move(advance_seconds=60)
        client.heard(3 + 1 + 1 + 1 + 2)
        told = [(m["T"], m["S"], m.get("sc")) for m in client.of("s", "b")]
        assert told == [("s", "SPY", "H"), ("b", "AAPL", None), ("s", "SPY", "T"), ("b", "AAPL", None), ("b", "SPY", None)]
