"""Every refusal of an order: status, code, words, and nothing changed; and which type may have which time in force."""

from datetime import timedelta

import pytest

from app.domain.order import OrderType, TimeInForce
from app.simulator.accounts.configuration import Configuration
from app.simulator.errors import ApiError

from .conftest import OPEN

GAIN, LOSS = {"limit_price": "110"}, {"stop_price": "95"}
BRACKET = {"order_class": "bracket", "take_profit": GAIN, "stop_loss": LOSS}
OCO = {"order_class": "oco", "type": "limit", "side": "sell", "take_profit": GAIN, "stop_loss": LOSS}
LIMIT = {"type": "limit", "limit_price": "99"}
TRAIL = {"type": "trailing_stop", "trail_price": "2"}
INVALID, UNPROCESSABLE, FORBIDDEN = (422, 40010001), (422, 42210000), (403, 40310000)


@pytest.fixture
def flat(bench):
    """Nothing but cash, in a margin account, on a flat tape that yesterday has."""
    b = bench([100] * 390, multiplier=2)
    b.minutes(1)
    return b


def snapshot(b):
    return dict(b.ledger.orders), b.ledger.portfolio, b.ledger.reserved_cash, list(b.ledger.take_changes().events)


def refusal(b, act):
    before = snapshot(b)
    with pytest.raises(ApiError) as caught:
        act()
    assert snapshot(b) == (*before[:3], [])
    return caught.value


def assert_refused(b, kind, words, act):
    error = refusal(b, act)
    assert (error.status, error.body["code"]) == kind
    assert words in error.body["message"]
    return error.body


TERMS = [
    (INVALID, "side is required", {"side": None, "qty": 1}),
    (INVALID, "time_in_force is required", {"time_in_force": None, "qty": 1}),
    (INVALID, "invalid order_class: mleg", {"qty": 1, "order_class": "mleg"}),
    (INVALID, "qty must be > 0", {"qty": "0"}),
    (INVALID, "at most 9 decimal places", {"qty": "1.0000000001"}),
    (INVALID, "qty must be <= 1000000000", {"qty": "1000000001"}),
    (INVALID, "qty or notional is required", {}),
    (INVALID, "only one of qty or notional", {"qty": 1, "notional": 10}),
    (INVALID, "extended_hours must be true or false", {"qty": 1, "extended_hours": "yes"}),
    (INVALID, "stop limit orders require a limit price", {"qty": 1, "type": "stop_limit", "stop_price": "99"}),
    (INVALID, "trailing stop orders must not have a stop price", {"qty": 1, **TRAIL, "stop_price": "99"}),
    (INVALID, "no more than 128 characters", {"qty": 1, "client_order_id": "x" * 129}),
    (INVALID, "invalid position_intent", {"qty": 1, "position_intent": "hold"}),
    (UNPROCESSABLE, "sub-penny", {"qty": 1, "type": "limit", "limit_price": "100.005"}),
    (UNPROCESSABLE, "sub-penny", {"qty": 1, "type": "limit", "limit_price": "0.12345"}),
    (UNPROCESSABLE, "one of trail_percent or trail_price", {"qty": 1, **TRAIL, "trail_percent": "1"}),
    (UNPROCESSABLE, "one of trail_percent or trail_price", {"qty": 1, "type": "trailing_stop"}),
    (UNPROCESSABLE, "trail_percent must be < 100", {"qty": 1, "type": "trailing_stop", "trail_percent": "100"}),
    (UNPROCESSABLE, "only accepted with trailing stop", {"qty": 1, "trail_percent": "1"}),
    (UNPROCESSABLE, "fractional orders must be DAY orders", {"notional": 10, "time_in_force": "gtc"}),
    (UNPROCESSABLE, "fractional orders must be simple orders", {"qty": "0.5", **BRACKET}),
    (UNPROCESSABLE, "fractional orders must be market, limit, stop or stop limit", {"qty": "0.5", **TRAIL}),
    (UNPROCESSABLE, "notional orders must be market orders", {"notional": 10, **LIMIT}),
    (UNPROCESSABLE, "notional amount must be >= 1.00", {"notional": "0.99"}),
    (UNPROCESSABLE, "fractional orders cannot be sold short", {"qty": "0.5", "side": "sell"}),
    (UNPROCESSABLE, "fractional orders cannot be sold short", {"notional": 50, "side": "sell"}),
    (UNPROCESSABLE, "extended hours order must be DAY or GTC limit orders", {"qty": 1, "extended_hours": True}),
    (
        UNPROCESSABLE,
        "extended hours order must be DAY or GTC limit orders",
        {"qty": 1, **LIMIT, "extended_hours": True, "time_in_force": "ioc"},
    ),
    (UNPROCESSABLE, "bracket orders cannot be executed in extended hours", {"qty": 1, **BRACKET, "extended_hours": True}),
    (UNPROCESSABLE, "bracket orders must be DAY or GTC orders", {"qty": 1, **BRACKET, "time_in_force": "opg"}),
    (UNPROCESSABLE, "trailing stop orders must be simple orders", {"qty": 1, **BRACKET, **TRAIL}),
    (UNPROCESSABLE, "simple orders must not have take_profit", {"qty": 1, "take_profit": GAIN}),
    (UNPROCESSABLE, "bracket orders require take_profit.limit_price", {"qty": 1, **BRACKET, "take_profit": {}}),
    (UNPROCESSABLE, "oto orders require either take_profit or stop_loss", {"qty": 1, **BRACKET, "order_class": "oto"}),
    (UNPROCESSABLE, "oto orders require either take_profit or stop_loss", {"qty": 1, "order_class": "oto"}),
    (UNPROCESSABLE, "oco orders must be limit orders", {"qty": 1, **OCO, "type": "market"}),
    (UNPROCESSABLE, "oco orders must be exit orders", {"qty": 1, **OCO}),
    (UNPROCESSABLE, "oco orders require stop_loss", {"qty": 1, **OCO, "stop_loss": None}),
    (
        UNPROCESSABLE,
        "stop_loss.limit_price must be <= stop_loss.stop_price",
        {"qty": 1, **BRACKET, "stop_loss": {**LOSS, "limit_price": "96"}},
    ),
    (UNPROCESSABLE, "take_profit.limit_price must be < stop_loss.stop_price", {"qty": 1, **BRACKET, "side": "sell"}),
    (
        UNPROCESSABLE,
        "stop_loss.stop_price must be >= base_price + 0.01",
        {"qty": 1, "order_class": "oto", "side": "sell", "stop_loss": {"stop_price": "100"}},
    ),
    (
        UNPROCESSABLE,
        "position intent mismatch, inferred: buy_to_open, specified: buy_to_close",
        {"qty": 1, "position_intent": "buy_to_close"},
    ),
    (UNPROCESSABLE, 'asset "NONE" not found', {"qty": 1, "symbol": "none"}),
    (FORBIDDEN, "insufficient buying power", {"qty": 201, "type": "limit", "limit_price": "100"}),
    (FORBIDDEN, "insufficient buying power", {"notional": "20001"}),
    (FORBIDDEN, "insufficient buying power", {"qty": 195, "side": "sell"}),
    (FORBIDDEN, "opg orders are not accepted between 09:28 and 19:00 ET", {"qty": 1, "time_in_force": "opg"}),
]


@pytest.mark.parametrize(("kind", "words", "fields"), TERMS, ids=[f"{i}-{t[1][:40]}" for i, t in enumerate(TERMS)])
def test_refusals(flat, kind, words, fields):
    fields = {name: value for name, value in fields.items() if value is not None or name in {"side", "time_in_force"}}
    assert_refused(flat, kind, words, lambda: flat.send(**fields))


LASTING = {"day", "gtc"}
ACCEPTED = {
    "market": set(TimeInForce),
    "limit": set(TimeInForce),
    "stop": LASTING,
    "stop_limit": LASTING,
    "trailing_stop": LASTING,
}
PRICES = {
    "market": {},
    "limit": {"limit_price": "98"},
    "stop": {"stop_price": "102"},
    "stop_limit": {"stop_price": "102", "limit_price": "103"},
    "trailing_stop": {"trail_percent": "1.5"},
}


@pytest.mark.parametrize("force", TimeInForce)
@pytest.mark.parametrize("kind", OrderType)
def test_which_type_may_have_which_time_in_force(bench, kind, force):
    b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + timedelta(days=1), [100] * 390)]})
    b.world.move(OPEN + timedelta(hours=13))  # 22:30 in New York: the auction orders of tomorrow are taken
    fields = {"qty": 1, "type": kind, "time_in_force": force, **PRICES[kind]}
    if force not in ACCEPTED[kind]:
        assert_refused(b, UNPROCESSABLE, "orders must be DAY or GTC orders", lambda: b.send(**fields))
        return
    order = b.send(**fields)
    assert b.status(order) == "accepted"
    b.world.move(OPEN + timedelta(days=1))
    assert b.status(order) == "new"
    b.minutes(1)
    at_once = {"ioc", "fok", "opg"}
    fills = kind == "market" and force != "cls"
    assert b.status(order) == ("filled" if fills else "canceled" if force in at_once else "new")
    b.minutes(389)
    end = "filled" if fills or (kind, force) == ("market", "cls") else "canceled" if force in {"cls", *at_once} else "expired"
    assert b.status(order) == ("new" if force == "gtc" and not fills else end)


@pytest.mark.parametrize(
    ("force", "refused_at", "taken_at"),
    [
        ("opg", [(9, 28), (12, 0), (18, 59)], [(9, 27), (4, 0), (19, 0)]),
        ("cls", [(15, 50), (18, 59)], [(15, 49), (9, 30), (19, 0)]),
    ],
)
def test_the_windows_of_the_auction_orders(bench, force, refused_at, taken_at):
    for hour, minute in sorted(refused_at + taken_at):
        b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + timedelta(days=1), [100])]})
        midnight = OPEN + timedelta(days=1) - timedelta(hours=9, minutes=30)
        b.world.move(midnight + timedelta(hours=hour, minutes=minute))
        if (hour, minute) in taken_at:
            b.send(qty=1, time_in_force=force)
        else:
            assert_refused(b, FORBIDDEN, f"{force} orders are not accepted", lambda b=b: b.send(qty=1, time_in_force=force))


def test_settings_of_the_account_are_enforced(flat):
    flat.account.configure(Configuration(suspend_trade=True))
    assert_refused(flat, FORBIDDEN, "new orders are rejected by user request", lambda: flat.send(qty=1))
    flat.account.configure(Configuration(no_shorting=True))
    assert_refused(flat, FORBIDDEN, "account is not allowed to short", lambda: flat.send(qty=1, side="sell"))
    flat.account.configure(Configuration(fractional_trading=False))
    assert_refused(flat, FORBIDDEN, "fractional trading is disabled", lambda: flat.send(qty="0.5"))
    flat.account.configure(Configuration(max_margin_multiplier="1"))
    assert_refused(flat, FORBIDDEN, "insufficient buying power", lambda: flat.send(**LIMIT, qty=102))
    assert_refused(flat, FORBIDDEN, "account is not allowed to short", lambda: flat.send(qty=1, side="sell"))


# -- wash trades -----------------------------------------------------------------------------------------------------

MARKET = {"type": "market"}
STOP_BUY, STOP_SELL = {"type": "stop", "stop_price": "105"}, {"type": "stop", "stop_price": "95"}


def limit(price):
    return {"type": "limit", "limit_price": price}


def stop_limit(stop, price):
    return {"type": "stop_limit", "stop_price": stop, "limit_price": price}


WASH = [  # resting sell, new buy, refused
    (limit("110"), MARKET, "opposite side limit order exists"),
    (limit("110"), STOP_BUY, "opposite side limit order exists"),
    (limit("110"), limit("110"), "opposite side limit order exists"),
    (limit("110"), limit("109.99"), None),
    (limit("110"), stop_limit("105", "111"), "opposite side limit order exists"),
    (limit("110"), stop_limit("105", "106"), None),
    (STOP_SELL, limit("90"), "opposite side market/stop order exists"),
    (STOP_SELL, MARKET, "opposite side market/stop order exists"),
    (stop_limit("95", "94"), limit("93"), None),
    (stop_limit("95", "94"), limit("94"), "opposite side market/stop order exists"),
    ({"type": "trailing_stop", "trail_price": "3"}, MARKET, None),
    (limit("110"), {"type": "trailing_stop", "trail_price": "3"}, None),
    (limit("110"), {**MARKET, **BRACKET}, None),
]


@pytest.mark.parametrize(("resting", "new", "reason"), WASH)
def test_wash_trades(flat, resting, new, reason):
    flat.send(qty=10)
    flat.minutes(1)
    sell = flat.send(qty=10, side="sell", time_in_force="gtc", **resting)
    if reason is None:
        flat.send(qty=1, **new)
        return
    body = assert_refused(flat, FORBIDDEN, "potential wash trade detected. use complex orders", lambda: flat.send(qty=1, **new))
    assert body["existing_order_id"] == sell
    assert body["reject_reason"] == reason


def test_legs_of_brackets_do_not_refuse_the_other_side(flat):
    flat.send(qty=10, time_in_force="gtc", **BRACKET)
    flat.minutes(1)
    flat.send(qty=1)
    flat.minutes(1)
    assert flat.ledger.position_quantity("ACME") == 11


def test_a_position_is_opened_from_one_side_at_a_time(flat):
    flat.send(qty=1, type="limit", limit_price="90")
    words = "cannot open a short sell while a long buy order is open"
    assert_refused(flat, FORBIDDEN, words, lambda: flat.send(qty=1, side="sell", type="limit", limit_price="120"))
    flat.account.cancel_all(list(flat.ledger.open_orders()))
    flat.send(qty=1, side="sell", type="limit", limit_price="120")
    words = "cannot open a long buy while a short sell order is open"
    assert_refused(flat, FORBIDDEN, words, lambda: flat.send(qty=1, type="limit", limit_price="90"))
