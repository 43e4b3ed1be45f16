"""Every answer of every supported route, as Alpaca's OpenAPI files document it."""

import pytest
import requests

from app.simulator.api import activities
from tests.simulator.conformance import openapi

pytestmark = openapi.needed

ORDER = {"symbol": "AAPL", "side": "buy", "type": "market", "time_in_force": "day", "qty": "3"}
DATA = {"symbols": "AAPL,MSFT", "start": "2024-01-02T14:30:00Z"}
NOT_SERVED = {
    "/v2/positions/{symbol_or_contract_id}/exercise",
    "/v2/positions/{symbol_or_contract_id}/do-not-exercise",
    "/v2/stocks/auctions",
    "/v2/stocks/{symbol}/auctions",
}
PREFIXES = ("/v2/account", "/v2/assets", "/v2/calendar", "/v2/clock", "/v2/orders", "/v2/positions", "/v3/", "/v2/stocks/")
PREFIXES += ("/v1beta1/news",)


def promised():
    """(method, path, status) of everything that is documented for the supported routes."""
    return {
        (*operation, int(status))
        for operation, (_, _, responses) in openapi.operations().items()
        for status in responses
        if operation[1].startswith(PREFIXES) and operation[1] not in NOT_SERVED
    }


def on_demand(operation):
    """Whether a documented status comes as a fault alone: an overloaded service, and a data plan that does not include what
    is asked, for every plan here includes everything. Market data's 400 is met by `test_bad_input`, and by a fault here."""
    _, path, status = operation
    return status in {429, 500} or (path.startswith(("/v2/stocks", "/v1beta1")) and status in {400, 403})


def test_a_trading_life(exchange):
    call = exchange.call
    prices = call("GET", "/v2/stocks/trades/latest", params={"symbols": "AAPL"})["trades"]
    price = prices["AAPL"]["p"]
    bought = call("POST", "/v2/orders", json=ORDER)
    resting = call("POST", "/v2/orders", json={**ORDER, "type": "limit", "limit_price": f"{price * 0.8:.2f}", "symbol": "AAPL"})
    call("POST", "/v2/orders", json={**ORDER, "qty": "1000000"}, status=403)
    call("POST", "/v2/orders", json={**ORDER, "qty": "-1"}, status=422)
    bracket = {
        "type": "limit",
        "limit_price": f"{price * 1.05:.2f}",
        "order_class": "bracket",
        "take_profit": {"limit_price": f"{price * 1.5:.2f}"},
        "stop_loss": {"stop_price": f"{price * 0.5:.2f}"},
    }
    call("POST", "/v2/orders", json={**ORDER, **bracket})
    exchange.sim("clock", advance_seconds=120)
    call("PATCH", f"/v2/orders/{resting['id']}", json={"qty": "2"})
    for nested in ("true", "false"):
        call("GET", "/v2/orders", params={"status": "all", "nested": nested})
    call("GET", f"/v2/orders/{bought['id']}")
    call("GET", "/v2/orders:by_client_order_id", params={"client_order_id": bought["client_order_id"]})
    call("GET", "/v2/positions")
    call("GET", "/v2/positions/AAPL")
    call("GET", "/v2/account")
    call("GET", "/v2/account/activities")
    call("GET", "/v2/account/activities/FILL")
    one = call("POST", "/v2/orders", json={**ORDER, "symbol": "MSFT", "qty": "1"})
    call("DELETE", f"/v2/orders/{one['id']}", status=204)
    call("DELETE", f"/v2/orders/{one['id']}", status=422)
    call("DELETE", "/v2/orders", status=207)
    call("DELETE", "/v2/positions/AAPL", params={"qty": "1"})
    call("DELETE", "/v2/positions", params={"cancel_orders": "true"}, status=207)
    exchange.sim("clock", next_open=True)
    for query in ({}, {"timeframe": "5Min", "period": "1D"}, {"timeframe": "1H", "period": "1W", "cashflow_types": "ALL"}):
        call("GET", "/v2/account/portfolio/history", params=query)


def test_settings_and_reference(exchange):
    call = exchange.call
    before = call("GET", "/v2/account/configurations")
    assert call("PATCH", "/v2/account/configurations", json={"no_shorting": True})["no_shorting"]
    call("PATCH", "/v2/account/configurations", json=before)
    call("GET", "/v2/assets")
    call("GET", "/v2/assets/AAPL")
    call("GET", "/v2/assets/NO.SUCH.1", status=404)
    call("GET", "/v2/clock")
    call("GET", "/v2/calendar", params={"start": "2024-11-20", "end": "2024-12-01"})
    call("GET", "/v3/clock", params={"markets": "NYSE,NASDAQ"})
    call("GET", "/v3/calendar/NYSE", params={"start": "2024-11-20", "end": "2024-12-01"})
    for path in ("/v2/calendar", "/v3/calendar/NYSE"):
        call("GET", path, params={"start": "soon"}, status=400)
    call("GET", "/v3/clock", params={"markets": "MOON"}, status=400)


PAGED = ("bars", "trades", "quotes")


@pytest.mark.parametrize("kind", PAGED)
def test_history_of_prices(exchange, kind):
    exchange.sim("clock", advance_seconds=600)
    exchange.call("GET", f"/v2/stocks/{kind}", params={**DATA, "limit": 5, "timeframe": "1Min"})
    exchange.call("GET", f"/v2/stocks/AAPL/{kind}", params={"start": DATA["start"], "limit": 5, "timeframe": "1Min"})


def test_latest_prices(exchange):
    exchange.sim("clock", advance_seconds=600)
    for kind in PAGED:
        exchange.call("GET", f"/v2/stocks/{kind}/latest", params={"symbols": "AAPL,MSFT"})
        exchange.call("GET", f"/v2/stocks/AAPL/{kind}/latest")
    exchange.call("GET", "/v2/stocks/snapshots", params={"symbols": "AAPL,MSFT"})
    exchange.call("GET", "/v2/stocks/AAPL/snapshot")


def test_codes_of_the_tape(exchange):
    exchange.call("GET", "/v2/stocks/meta/exchanges")
    for tick in ("trade", "quote"):
        exchange.call("GET", f"/v2/stocks/meta/conditions/{tick}", params={"tape": "A"})


def test_news(exchange):
    for _ in range(5):
        exchange.sim("clock", next_open=True)
    exchange.call("GET", "/v1beta1/news", params={"limit": 10})


def test_every_route_wants_a_key(exchange):
    for (method, path), (_, _, responses) in openapi.operations().items():
        if path.startswith(PREFIXES) and path not in NOT_SERVED and "401" in responses:
            concrete = path.replace("{symbol}", "AAPL").replace("{ticktype}", "trade")
            assert requests.request(method, exchange.url + concrete, timeout=10).status_code == 401, path


def test_every_documented_status_can_be_had(exchange):
    for part in (test_a_trading_life, test_settings_and_reference, test_latest_prices, test_codes_of_the_tape, test_news):
        exchange.sim("reset")
        part(exchange)
    for kind in PAGED:
        exchange.sim("reset")
        test_history_of_prices(exchange, kind)
    test_every_route_wants_a_key(exchange)
    unseen = promised() - exchange.judge.seen
    assert {operation for operation in unseen if not on_demand(operation)} == set()
    for method, path, status in sorted(unseen):
        concrete = path.replace("{symbol}", "AAPL").replace("{ticktype}", "trade")
        requests.post(
            exchange.url + "/sim/faults",
            timeout=10,
            json={"what": "status", "status": status, "method": method, "path": concrete},
        )
        exchange.call(method, concrete, params={"symbols": "AAPL"}, status=status)
    assert promised() <= exchange.judge.seen


def test_every_activity_type_is_known():
    documented = openapi.document("trading")["components"]["schemas"]["ActivityType"]["enum"]
    assert activities.kinds(documented, "") == activities.kinds((), "") - {"TRANS", "MISC"}
    for kind in documented:
        assert activities.kinds((kind,), "")
