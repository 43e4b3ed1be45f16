"""The routes of orders and positions: listing, replacing, closing."""

from datetime import timedelta

import pytest

from app.simulator.server import SimulatorOptions, build_app

from .conftest import Local


@pytest.fixture
def call():
    local = Local(build_app(SimulatorOptions(symbols=("ACME", "BCME"), seed=5)))
    local("GET", "/v2/account")
    local.world.move(local.world.now + timedelta(minutes=5))
    return local


def post(call, **fields):
    body = {"symbol": "ACME", "side": "buy", "type": "market", "time_in_force": "day", **fields}
    status, answer = call("POST", "/v2/orders", body=body)
    assert status == 200, answer
    return answer


def listed(call, **params):
    status, rows = call("GET", "/v2/orders", params=params)
    assert status == 200
    return [row["client_order_id"] for row in rows]


def price(call, symbol="ACME"):
    return call.world.first.price(symbol)


def bracket(call, **fields):
    p = price(call)
    protection = {"take_profit": {"limit_price": str(p + 50)}, "stop_loss": {"stop_price": str(p - 20)}}
    return post(call, order_class="bracket", qty=2, **protection, **fields)


def test_listing(call):
    for number in range(5):
        post(call, qty=1, type="limit", limit_price="1", client_order_id=f"o{number}", symbol="BCME" if number == 3 else "ACME")
        call.world.move(call.world.now + timedelta(seconds=10))
    ids = {name: call("GET", "/v2/orders:by_client_order_id", params={"client_order_id": name})[1] for name in ("o1", "o3")}
    call("DELETE", f"/v2/orders/{ids['o1']['id']}")
    assert listed(call) == ["o4", "o3", "o2", "o0"]
    assert listed(call, status="closed") == ["o1"]
    assert listed(call, status="all", direction="asc", limit=2) == ["o0", "o1"]
    assert listed(call, symbols="BCME,NONE") == ["o3"]
    assert listed(call, side="sell") == []
    assert listed(call, status="all", after=ids["o1"]["submitted_at"], until=ids["o3"]["submitted_at"]) == ["o2"]
    assert listed(call, after=ids["o1"]["submitted_at"]) == ["o4", "o3", "o2"]
    assert listed(call, status="all", before_order_id=ids["o1"]["id"]) == ["o0"]
    assert listed(call, after_order_id=ids["o3"]["id"]) == ["o4"]
    assert listed(call, asset_class="crypto") == []
    assert listed(call, asset_class="us_equity,crypto") == ["o4", "o3", "o2", "o0"]
    assert call("GET", "/v2/orders", params={"after_order_id": "no"})[0] == 422
    both = {"after_order_id": ids["o1"]["id"], "before_order_id": ids["o3"]["id"]}
    assert call("GET", "/v2/orders", params=both)[0] == 422


def test_a_group_is_rolled_up_when_asked_for(call):
    top = bracket(call, client_order_id="top")
    assert [leg["group_id"] for leg in top["legs"]] == [top["id"]] * 2
    call.world.move(call.world.now + timedelta(minutes=1))
    gain = call("GET", f"/v2/orders/{top['id']}", params={"nested": "True"})[1]["legs"][0]
    status, new = call("PATCH", f"/v2/orders/{gain['id']}", body={"limit_price": str(price(call) + 60)})
    assert (status, new["replaces"], new["group_role"]) == (200, gain["id"], "take_profit")
    (row,) = call("GET", "/v2/orders", params={"nested": "true"})[1]
    assert [leg["status"] for leg in row["legs"]] == ["new", "held"]
    assert row["legs"][0]["id"] == new["id"]
    assert len(listed(call)) == 2
    assert call("GET", f"/v2/orders/{gain['id']}")[1]["replaced_by"] == new["id"]


def test_replacing_over_http(call):
    order = post(call, qty=5, type="limit", limit_price="1")
    status, new = call("PATCH", f"/v2/orders/{order['id']}", body={"qty": "7", "limit_price": "2", "client_order_id": "n"})
    assert (status, new["qty"], new["limit_price"], new["replaces"]) == (200, "7", "2", order["id"])
    assert call("PATCH", f"/v2/orders/{order['id']}", body={"qty": "8"})[0] == 422
    assert call("PATCH", "/v2/orders/none", body={"qty": "8"})[0] == 404
    assert call("PATCH", f"/v2/orders/{new['id']}", body=b"[]")[0] == 400


def test_closing_everything(call):
    bracket(call)
    post(call, qty=3, side="sell", symbol="BCME")
    call.world.move(call.world.now + timedelta(minutes=1))
    status, rows = call("DELETE", "/v2/positions")
    assert [row["status"] for row in rows] == [403, 200]
    assert (status, rows[0]["body"]["code"]) == (207, 40310000)
    assert rows[1]["body"]["side"] == "buy"
    status, rows = call("DELETE", "/v2/positions", params={"cancel_orders": "True"})
    assert (status, [row["status"] for row in rows]) == (207, [200, 200])
    call.world.move(call.world.now + timedelta(minutes=1))
    assert call("GET", "/v2/positions")[1] == []
    assert call("DELETE", "/v2/positions") == (207, [])
    assert call("DELETE", "/v2/orders") == (207, [])


def test_cancelling_everything(call):
    orders = [post(call, qty=1, type="limit", limit_price="1")["id"] for _ in range(3)]
    status, rows = call("DELETE", "/v2/orders")
    assert (status, rows) == (207, [{"id": order, "status": 200} for order in orders])
