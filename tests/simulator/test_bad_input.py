"""Whatever is sent, the answer is JSON with a reason and never a fault of ours; and the control routes keep their word."""

import json
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.simulator.server import SimulatorOptions, build_app
from app.simulator.world import World

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


QUERY = ["symbols", "timeframe", "start", "end", "limit", "page_token", "sort", "status", "after", "until", "direction"]
QUERY += ["page_size", "nested", "client_order_id", "qty", "percentage", "date", "activity_types", "side"]
PATHS = [
    "/v2/orders",
    "/v2/stocks/bars",
    "/v2/stocks/AAPL/bars",
    "/v2/stocks/snapshots",
    "/v2/account/activities",
    "/v2/calendar",
]
PATHS += [
    "/v2/stocks/x y/snapshot",
    "/v2/assets/%00",
    "/v2/positions/AAPL",
    "/v2/orders/1",
    "/v2/orders:by_client_order_id",
    "/v2/clock",
]
values = st.text(max_size=12) | st.sampled_from(
    ["1Day", "0Min", "99Hour", "2024-01-02", "9999-99-99", "0001-01-01", "-1", "99999999999999"]
)


@given(path=st.sampled_from(PATHS), params=st.dictionaries(st.sampled_from(QUERY), values, max_size=4))
@settings(max_examples=150, deadline=None)
def test_queries_of_any_shape(generated, path, params):
    sound(generated("GET", path, params={"symbols": "AAPL", **params}))
    if path.startswith("/v2/positions"):
        sound(generated("DELETE", path, params=params))


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
