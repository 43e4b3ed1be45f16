"""Whatever is sent, the answer is JSON with a reason and never a fault of ours; and the control routes keep their word."""

import json
import re
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.simulator.server import SimulatorOptions, build_app
from app.simulator.world import World
from tests.simulator.conftest import KEYS

junk = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=20)
    | st.sampled_from(["1", "-1", "1e999", "AAPL", "buy"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
GOOD = {"symbol": "AAPL", "side": "buy", "type": "limit", "limit_price": "1", "qty": "1", "time_in_force": "day"}
FIELDS = [*GOOD, "stop_price", "notional", "order_class", "take_profit", "stop_loss", "client_order_id", "extended_hours"]


def sound(answer):
    status, content = answer
    assert status < 500, content
    if status >= 400:
        assert isinstance(content["code"], int)
        assert content["message"]
    return answer


@given(changes=st.dictionaries(st.sampled_from(FIELDS), junk, max_size=3))
@settings(max_examples=100, deadline=None)
def test_orders_of_any_shape(generated, changes):
    sound(generated("POST", "/v2/orders", body={**GOOD, **changes}))


@given(body=st.one_of(st.binary(max_size=40), junk.map(lambda x: json.dumps(x).encode())))
@settings(max_examples=60, deadline=None)
def test_bodies_of_any_bytes(generated, body):
    for path in ("/v2/orders", "/sim/clock"):
        status, _ = sound(generated("POST", path, body=body))
        assert status >= 400


_TRADING = "status after until direction nested symbols side limit client_order_id qty percentage cancel_orders before_order_id"
_ACCOUNT = "date activity_types category order_id page_size page_token period intraday_reporting pnl_reset extended_hours"
_DATA = "timeframe start end sort adjustment asof feed currency tape include_content exclude_contentless"
_OTHERS = "cashflow_types date_end date_type asset_class exchange attributes markets time timezone after_order_id key_id wait"
QUERY = [name for names in (_TRADING, _ACCOUNT, _DATA, _OTHERS) for name in names.split()]
NAMES = [
    "AAPL",
    "x y",
    "%00",
    "\x00",
    "..",
    "0" * 300,
    "ünï",
    "1",
    "trade",
    "DIV",
    "NYSE",
    "00000000-0000-0000-0000-000000000000",
]
values = st.text(max_size=12) | st.sampled_from(
    [
        *("1Day", "0Min", "99Hour", "12Month", "2024-01-02", "9999-99-99", "0001-01-01", "9999-12-31", "-1", "99999999999999"),
        *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00", "20240102T000000", "2024-01-02T10:00:00", "NaN", "1e400"),
        *("true", "AAPL,,MSFT", "desc", "all", "1D", "9999A", "ALL", "continuous", "1Min", "1H", "settlement", "split"),
    ]
)


def every_route(app):
    """(method, path with {names}) of every HTTP route."""
    return sorted(
        (method, re.sub(r":\w+}", "}", route.path))
        for route in app.routes
        for method in getattr(route, "methods", None) or ()
        if method != "HEAD"
    )


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_every_route_with_any_query_and_body(generated, data):
    # What the simulation itself is told is tested where it belongs: a barrier set at random would hold the next request.
    routes = [(method, path) for method, path in every_route(generated.app) if method == "GET" or not path.startswith("/sim")]
    method, path = data.draw(st.sampled_from(routes))
    path = re.sub(
        r"{\w+}", lambda _: data.draw(st.sampled_from(NAMES) | st.text(min_size=1, max_size=8)).replace("/", "|"), path
    )
    params = data.draw(st.dictionaries(st.sampled_from(QUERY), values, max_size=4))
    if data.draw(st.booleans()):
        params = {"symbols": "AAPL", **params}
    body = data.draw(junk) if method in {"POST", "PATCH", "PUT"} else None
    sound(generated(method, path, params=params, body=body))


def test_every_route_of_alpacas_wants_a_key(generated):
    for method, path in every_route(generated.app):
        if not path.startswith("/sim"):
            generated("GET", "/v2/clock")  # the key's own secret is the first one seen with it
            for headers in ({}, {"APCA-API-KEY-ID": "key"}, {**KEYS, "APCA-API-SECRET-KEY": "another"}):
                status, body = generated(method, path, headers=headers)
                assert (status, body["code"]) == (401, 40110000), (method, path, headers)


def test_wrong_methods_and_unknown_routes(generated):
    known = set(every_route(generated.app))
    for path in {path for _, path in known}:
        for method in {"POST", "PUT", "PATCH", "DELETE"} - {method for method, other in known if other == path}:
            status, _ = sound(generated(method, path.replace("{", "").replace("}", ""), body={}))
            assert status in {404, 405}, (method, path)
    for path in ("/", "/v2", "/v2/", "/v1/account", "/v2/account/", "/v2/orders/1/2", "/v2/stocks", "/v9/stocks/bars"):
        assert sound(generated("GET", path))[0] == 404, path


SETTINGS = [
    {"no_shorting": "yes"},
    {"no_shorting": 1},
    {"max_margin_multiplier": "3"},
    {"max_margin_multiplier": 2},
    {"trade_confirm_email": "some"},
    {"max_options_trading_level": True},
    {"max_options_trading_level": 4},
    {"max_options_trading_level": [1]},
    {"dtbp_check": {}},
    {"suspend_trade": True, "fractional_trading": "x"},
]


@pytest.mark.parametrize("body", SETTINGS)
def test_wrong_settings_change_nothing(generated, body):
    before = generated("GET", "/v2/account/configurations")
    status, error = sound(generated("PATCH", "/v2/account/configurations", body=body))
    assert (status, error["code"]) == (422, 40010001)
    assert generated("GET", "/v2/account/configurations") == before


@pytest.mark.parametrize(
    ("path", "params", "status"),
    [
        ("/v2/calendar", {"start": "soon"}, 400),
        ("/v2/calendar", {"date_type": "x"}, 422),
        ("/v2/assets", {"status": "x"}, 422),
        ("/v2/assets/NO.1", {}, 404),
        ("/v3/calendar/LSE", {}, 400),
        ("/v3/calendar/NYSE", {"timezone": "KST"}, 422),
        ("/v3/clock", {"markets": "NYSE,X"}, 400),
        ("/v3/clock", {"time": "later"}, 422),
        ("/v3/clock", {"time": "9999-12-31T23:00:00Z"}, 400),
        ("/v2/orders/none", {}, 404),
        ("/v2/orders:by_client_order_id", {"client_order_id": "none"}, 404),
        ("/v2/orders", {"status": "x"}, 422),
        ("/v2/orders", {"limit": "0"}, 422),
        ("/v2/orders", {"after": "x"}, 422),
        ("/v2/positions/AAPL", {}, 404),
        ("/v2/stocks/bars", {}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Year"}, 400),
        ("/v2/stocks/bars", {"symbols": "AAPL", "timeframe": "1Min", "page_token": "x"}, 400),
        ("/v2/stocks/snapshots", {}, 400),
        ("/v2/account/activities/FILLS", {}, 422),
    ],
)
def test_queries_that_are_refused(generated, path, params, status):
    assert sound(generated("GET", path, params=params))[0] == status


MOVES = [
    {},
    {"to": "soon"},
    {"to": "2024-05-01T00:00:00"},
    {"to": 5},
    {"to": "9999-12-31T23:59:59-23:00"},
    {"to": "2999-01-01T00:00:00Z"},
    {"to": "2024-05-01T00:00:00Z", "speed": 1},
    {"speed": -1},
    {"speed": "fast"},
    {"advance_seconds": -5},
    {"advance_seconds": 1e300},
    {"next_open": False},
]


@pytest.mark.parametrize("body", MOVES)
def test_wrong_moves_are_refused_and_move_nothing(generated, body):
    before = generated("GET", "/sim/state")[1]
    status, _ = sound(generated("POST", "/sim/clock", body=body))
    assert status == 422
    assert generated("GET", "/sim/state")[1] == before


def test_moves_and_reset(generated):
    generated("POST", "/sim/reset", body={"cash": "5000", "seed": 12})
    state = generated("GET", "/sim/state")[1]
    assert (state["clock"], state["seed"], state["label"], state["derived"]) == ("2024-01-02T14:30:00Z", 12, "SIMULATED", True)
    assert generated("POST", "/sim/clock", body={"next_open": True})[1]["clock"] == "2024-01-03T14:30:00Z"
    status, error = generated("POST", "/sim/clock", body={"to": "2024-01-03T14:29:59Z"})
    assert (status, error["code"]) == (409, 40910000)
    assert generated("POST", "/sim/clock", body={"to": "2024-01-03T14:30:00Z"})[0] == 200
    moved = generated("POST", "/sim/reset", body={"start": "2024-03-01"})[1]
    assert moved["clock"] == "2024-03-01T14:30:00Z"
    for bad in ({"start": "x"}, {"cash": -1}, {"cash": "NaN"}, {"seed": "x"}, {"start": "1950-01-01"}):
        assert sound(generated("POST", "/sim/reset", body=bad))[0] == 422
    assert generated("GET", "/sim/ledger")[1]["cash"] == "5000"
    generated("POST", "/sim/reset", body={"seed": 11, "cash": "100000", "start": "2024-01-02"})


def test_a_running_clock_skips_the_night():
    world = World(SimulatorOptions(symbols=("ACME",)))
    world.elapse(6.5 * 3600 + 600)
    assert world.first.now.isoformat() == "2024-01-03T14:40:00+00:00"
    awake = World(SimulatorOptions(symbols=("ACME",), skip_closed=False))
    awake.elapse(6.5 * 3600 + 600)
    assert awake.first.now.isoformat() == "2024-01-02T21:10:00+00:00"


def test_unusable_data_is_told(tmp_path):
    path = tmp_path / "bars.csv"
    path.write_text("symbol,timestamp,open,high,low,close,volume\nACME,2024-01-02,1,1,1,1,1\n")
    with pytest.raises(InvalidInput, match="outside it"):
        build_app(SimulatorOptions(data=path, start=date(2025, 1, 2)))
    with pytest.raises(InvalidInput, match="no file"):
        build_app(SimulatorOptions(data=tmp_path / "none.csv"))
