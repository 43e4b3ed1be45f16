"""What an account's trade updates add up to is what REST says about it."""

import random
from collections import Counter, defaultdict
from decimal import Decimal

import pytest
import requests

from .streaming import exchange

SYMBOLS = ("AAPL", "SPY")
STEPS = 150
TOLD_ALIKE = ("status", "filled_qty", "filled_avg_price", "qty", "limit_price", "client_order_id", "filled_at", "replaced_by")


def random_step(running, draw, key, prices):
    """One thing that a client may do; refusals are part of life."""
    symbol = draw.choice(SYMBOLS)
    price = prices[symbol]
    near = round(price * draw.uniform(0.995, 1.005), 2)
    order = {"symbol": symbol, "side": draw.choice(["buy", "sell"]), "qty": draw.randint(1, 40), "time_in_force": "gtc"}
    kinds = [
        {"type": "market"},
        {"type": "market", "time_in_force": "ioc"},
        {"type": "limit", "limit_price": near},
        {"type": "limit", "limit_price": near, "time_in_force": "day"},
        {"type": "stop", "stop_price": near},
        {"type": "trailing_stop", "trail_percent": "0.3"},
        {
            "type": "market",
            "side": "buy",
            "order_class": "bracket",
            "take_profit": {"limit_price": round(price * 1.004, 2)},
            "stop_loss": {"stop_price": round(price * 0.996, 2)},
        },
    ]
    match draw.randrange(10):
        case 0 | 1 | 2 | 3:
            attempt(running, "POST", "/v2/orders", key, order | draw.choice(kinds))
        case 4 | 5:
            found = running("GET", "/v2/orders", key)
            if found:
                chosen = draw.choice(found)["id"]
                if draw.random() < 0.5:
                    attempt(running, "DELETE", f"/v2/orders/{chosen}", key)
                else:
                    attempt(running, "PATCH", f"/v2/orders/{chosen}", key, {"qty": draw.randint(1, 60)})
        case 6:
            attempt(running, "DELETE", f"/v2/positions/{symbol}", key)
        case _:
            running.move(advance_seconds=draw.choice([60, 600, 7_200, 86_400]))


def attempt(running, method, path, key, body=None):
    headers = {"APCA-API-KEY-ID": key, "APCA-API-SECRET-KEY": "secret"}
    assert requests.request(method, running.address + path, headers=headers, json=body, timeout=10).status_code < 500


def all_orders(running, key):
    """Every order of the account, from the ledger."""
    return {order["id"]: order for order in running("GET", "/sim/ledger", key_id=key)["orders"]}


@pytest.mark.parametrize("seed", [1, 2])
def test_the_stream_adds_up_to_what_rest_says(seed):
    draw = random.Random(seed)
    liquidity = {"participation": Decimal("0.0005"), "partial_probability": Decimal("0.3")}
    with exchange(symbols=(*SYMBOLS, "MSFT"), seed=seed, **liquidity) as running:
        running.move(advance_seconds=600)
        keys = ("one", "two")
        with running.updates("one") as one, running.updates("two") as two:
            for _ in range(STEPS):
                latest = running("GET", "/v2/stocks/trades/latest", symbols=",".join(SYMBOLS))["trades"]
                random_step(running, draw, draw.choice(keys), {s: t["p"] for s, t in latest.items()})
            for key, client in zip(keys, (one, two), strict=True):
                running.buy("MSFT", key, client_order_id="last", type="limit", limit_price=1)
                client.until(lambda _, c=client: any(e["order"]["client_order_id"] == "last" for e in c.events()))
                check(running, key, client.events())
            kinds = {event["event"] for event in one.events() + two.events()}
            assert kinds >= {"new", "fill", "partial_fill", "canceled", "replaced"}


def check(running, key, events):
    """The laws, for one account."""
    orders, told = all_orders(running, key), {}
    filled, held = defaultdict(Decimal), defaultdict(Decimal)
    for event in events:
        told[event["order"]["id"]] = event["order"]
        if event["event"] in {"fill", "partial_fill"}:
            sign = 1 if event["order"]["side"] == "buy" else -1
            filled[event["order"]["id"]] += Decimal(event["qty"])
            held[event["order"]["symbol"]] += sign * Decimal(event["qty"])
            assert held[event["order"]["symbol"]] == Decimal(event["position_qty"])
            assert filled[event["order"]["id"]] == Decimal(event["order"]["filled_qty"])
    assert set(told) <= set(orders)
    for order_id, order in orders.items():
        if order_id in told:
            assert [told[order_id][name] for name in TOLD_ALIKE] == [order[name] for name in TOLD_ALIKE]
        else:
            # Legs of a bracket whose entry never filled are not told of while they are held.
            assert order["status"] == "held"
        assert filled.get(order_id, 0) == Decimal(order["filled_qty"])
    positions = {p["symbol"]: Decimal(p["qty"]) for p in running("GET", "/v2/positions", key)}
    assert positions == {symbol: quantity for symbol, quantity in held.items() if quantity}
    ids = Counter(event["execution_id"] for event in events)
    assert not [one for one, count in ids.items() if count > 1]
    times = [event["timestamp"] for event in events]
    assert times == sorted(times)
