"""What becomes of orders on hand-written minutes."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import pytest

from app.engine.costs import CostModel
from app.simulator.errors import ApiError

OPEN = datetime(2024, 1, 2, 14, 30, tzinfo=UTC)
BRACKET = {"order_class": "bracket", "take_profit": {"limit_price": "110"}, "stop_loss": {"stop_price": "95"}}


def refused(status, code, words, act):
    with pytest.raises(ApiError) as caught:
        act()
    assert (caught.value.status, caught.value.body["code"]) == (status, code)
    assert words in caught.value.body["message"]


def test_nothing_fills_at_acceptance_and_a_market_order_takes_the_next_open(bench):
    b = bench([100, 101, 102, 103])
    b.minutes(1)
    order = b.send(qty=10)
    assert b.status(order) == "new"
    b.account.advance(b.account.now + timedelta(seconds=59))
    assert b.status(order) == "new"
    b.minutes(1)
    assert b.price(order) == 101
    assert b.ledger.orders[order].filled_at == OPEN + timedelta(minutes=2)
    assert b.ledger.portfolio.cash == D(10_000) - 1010


def test_an_order_sent_inside_a_minute_waits_for_the_next_one(bench):
    b = bench([100, 101, 102, 103])
    b.account.advance(OPEN + timedelta(seconds=30))
    order = b.send(qty=1)
    b.minutes(3)
    assert b.price(order) == 101


def test_slippage_is_charged_on_market_orders(bench):
    b = bench([100, 100], costs=CostModel(slippage_bps=D(10)))
    order = b.send(qty=1)
    b.minutes(1)
    assert b.price(order) == 100.1


def test_a_limit_order_waits_for_its_price(bench):
    b = bench([100, (100, 100, 98, 99), 99])
    order = b.send(qty=10, type="limit", limit_price="98.50")
    assert b.ledger.buying_power == D(10_000) - 985
    b.minutes(1)
    assert b.status(order) == "new"
    b.minutes(1)
    assert b.price(order) == 98.5
    assert b.ledger.buying_power == D(10_000) - 985


def test_a_stop_limit_remembers_its_trigger_between_steps(bench):
    b = bench([100, (105, 105, 104, 104), 104, (104, 104, 100, 101)])
    order = b.send(qty=1, type="stop_limit", stop_price=102, limit_price=103)
    for _ in range(3):
        b.minutes(1)
    assert b.status(order) == "new"
    b.minutes(1)
    assert b.price(order) == 103


@pytest.mark.parametrize(
    ("later", "winner", "price"),
    [([(100, 111, 100, 111)], 0, 110), ([(100, 100, 94, 94)], 1, 95), ([(100, 112, 94, 100)], 1, 95), ([90], 1, 90)],
)
def test_a_bracket_ends_with_one_leg(bench, later, winner, price):
    b = bench([100, 100, *later, 100])
    entry = b.send(qty=10, **BRACKET)
    legs = b.legs(entry)
    assert [b.status(x) for x in legs] == ["held", "held"]
    b.minutes(2)
    assert [b.status(x) for x in legs] == ["new", "held"]
    assert b.ledger.held_quantity("ACME") == 10
    b.minutes(2)
    assert [b.status(x) for x in legs] == (["filled", "canceled"] if winner == 0 else ["canceled", "filled"])
    assert b.price(legs[winner]) == price
    assert b.ledger.position_quantity("ACME") == 0
    assert b.ledger.portfolio.cash == D(10_000) + 10 * (D(price) - 100)


def test_one_long_step_equals_many_short_ones(bench):
    tape = [100, (100, 101, 99, 100), (100, 106, 100, 105), (105, 111, 104, 110), 100, 94, 93]
    ends = []
    for step in (1, 7):
        b = bench(tape)
        entry = b.send(qty=10, client_order_id="a", **BRACKET)
        b.send(qty=5, type="limit", limit_price="99", client_order_id="b")
        for _ in range(7 // step):
            b.minutes(step)
        ends.append(([(f.execution_id, f.price, f.filled_at) for f in b.ledger.fills], b.status(entry)))
    assert ends[0] == ends[1]
    assert len(ends[0][0]) == 3


def test_cancelling_one_leg_cancels_the_other_and_frees_the_shares(bench):
    b = bench([100] * 5)
    entry = b.send(qty=10, **BRACKET)
    b.minutes(1)
    b.account.cancel(b.legs(entry)[1])
    assert {b.status(x) for x in b.legs(entry)} == {"canceled"}
    assert b.status(entry) == "filled"
    assert b.ledger.held_quantity("ACME") == 0
    refused(422, 42210000, "canceled", lambda: b.account.cancel(b.legs(entry)[0]))


def test_cancelling_an_entry_cancels_its_legs(bench):
    b = bench([100] * 3)
    entry = b.send(qty=10, type="limit", limit_price="96", **BRACKET)
    b.account.cancel(entry)
    assert {b.status(x) for x in (entry, *b.legs(entry))} == {"canceled"}
    assert b.ledger.buying_power == 10_000
    refused(404, 40410000, "not found", lambda: b.account.cancel("nothing"))


def test_day_orders_expire_and_gtc_orders_stay(bench):
    b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + timedelta(days=1), [100, (100, 100, 90, 90), 90])]})
    day = b.send(qty=1, type="limit", limit_price="91")
    gtc = b.send(qty=1, type="limit", limit_price="91", time_in_force="gtc")
    b.minutes(390)
    assert b.status(day) == "expired"
    assert b.ledger.orders[day].expired_at == OPEN + timedelta(minutes=390)
    assert b.ledger.closes == [(OPEN.date(), D(10_000))]
    late = b.send(qty=1, type="limit", limit_price="91")
    assert b.status(late) == "accepted"
    b.world.move(OPEN + timedelta(days=1, minutes=2))
    assert b.status(gtc) == b.status(late) == "filled"


def test_equity_at_the_close_is_kept(bench):
    b = bench([100] * 389 + [120])
    b.send(qty=10)
    b.minutes(390)
    assert b.ledger.previous_close_equity == D(10_200)


def test_an_order_the_account_can_no_longer_pay_is_rejected(bench):
    b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + timedelta(days=1), [150, 150])]})
    b.minutes(390)
    order = b.send(qty=95)
    b.world.move(OPEN + timedelta(days=1, minutes=1))
    assert b.status(order) == "rejected"
    assert b.ledger.portfolio.cash == 10_000


def test_money_and_shares_are_reserved(bench):
    b = bench([100] * 10)
    b.send(qty=60, type="limit", limit_price="100")
    refused(403, 40310000, "insufficient buying power", lambda: b.send(qty=50, type="limit", limit_price="100"))
    refused(403, 40310000, "not allowed to short", lambda: b.send(qty=1, side="sell"))
    b.minutes(1)
    b.send(qty=50, side="sell", type="limit", limit_price="120")
    refused(403, 40310000, "(requested: 11, available: 10)", lambda: b.send(qty=11, side="sell"))
    b.send(qty=10, side="sell")
    b.minutes(1)
    assert b.ledger.position_quantity("ACME") == 50


def test_notional_and_fractional_orders(bench):
    b = bench([100, 64, 64])
    whole = b.send(notional="500")
    part = b.send(qty="0.5")
    b.minutes(1)
    assert b.ledger.orders[whole].filled_quantity == 5
    assert b.ledger.position_quantity("ACME") == D("5.5")
    assert b.status(part) == "filled"
    order = b.account.close_position("ACME", fraction=D("0.5"))
    assert order.quantity == D("2.75")


def test_an_order_id_is_used_once_for_ever(bench):
    b = bench([100] * 3)
    first = b.send(qty=1, client_order_id="mine", type="limit", limit_price="50")
    b.account.cancel(first)
    refused(422, 40010001, "client_order_id must be unique", lambda: b.send(qty=1, client_order_id="mine"))
    refused(422, 40010001, "128", lambda: b.send(qty=1, client_order_id="x" * 129))
    b.send(qty=1, client_order_id="x" * 128)
    assert b.ledger.by_client_id["mine"] == first


REFUSALS = [
    ("qty zero", {"qty": 0}, 422, "qty must be > 0"),
    ("qty negative", {"qty": "-1"}, 422, "qty must be > 0"),
    ("qty text", {"qty": "many"}, 422, "qty is not a number"),
    ("qty NaN", {"qty": "NaN"}, 422, "qty is not a number"),
    ("qty huge", {"qty": "1e400"}, 422, "qty"),
    ("no qty", {}, 422, "qty or notional is required"),
    ("both", {"qty": 1, "notional": 5}, 422, "only one of"),
    ("limit without price", {"qty": 1, "type": "limit"}, 422, "limit orders require a limit price"),
    ("stop without price", {"qty": 1, "type": "stop"}, 422, "stop orders require a stop price"),
    ("market with price", {"qty": 1, "limit_price": 5}, 422, "market orders must not have a limit price"),
    ("sub-penny", {"qty": 1, "type": "limit", "limit_price": "99.999"}, 422, "sub-penny"),
    ("price zero", {"qty": 1, "type": "limit", "limit_price": 0}, 422, "limit_price must be > 0"),
    ("side", {"qty": 1, "side": "hold"}, 422, "invalid side"),
    ("type", {"qty": 1, "type": "iceberg"}, 422, "invalid type"),
    ("tif", {"qty": 1, "time_in_force": "gtd"}, 422, "invalid time_in_force"),
    ("tif list", {"qty": 1, "time_in_force": [1]}, 422, "invalid time_in_force"),
    ("unknown symbol", {"qty": 1, "symbol": "ZZZZ"}, 422, 'asset "ZZZZ" not found'),
    ("symbol number", {"qty": 1, "symbol": 5}, 422, "symbol is required"),
    ("extended", {"qty": 1, "extended_hours": True}, 422, "extended hours order must be DAY or GTC limit orders"),
    ("fraction gtc", {"qty": "0.5", "time_in_force": "gtc"}, 422, "fractional orders must be DAY orders"),
    ("fraction bracket", {"qty": "0.5", **BRACKET}, 422, "fractional orders must be simple orders"),
    ("bracket without stop", {"qty": 1, **BRACKET, "stop_loss": None}, 422, "bracket orders require stop_loss"),
    ("bracket stop above", {"qty": 1, **BRACKET, "stop_loss": {"stop_price": 100}}, 422, "stop_loss.stop_price must be <="),
    (
        "bracket gain below",
        {"qty": 1, **BRACKET, "take_profit": {"limit_price": 100}},
        422,
        "take_profit.limit_price must be >=",
    ),
    ("bracket crossed", {"qty": 1, **BRACKET, "take_profit": {"limit_price": 90}}, 422, "must be > stop_loss"),
    ("bracket sell", {"qty": 1, "side": "sell", **BRACKET}, 403, "not allowed to short"),
    ("id number", {"qty": 1, "client_order_id": 7}, 422, "client_order_id must be a string"),
]


@pytest.fixture
def standing(bench):
    b = bench([100] * 3)
    b.minutes(1)
    return b


@pytest.mark.parametrize(("fields", "status", "words"), [r[1:] for r in REFUSALS], ids=[r[0] for r in REFUSALS])
def test_refusals_change_nothing(standing, fields, status, words):
    with pytest.raises(ApiError) as caught:
        standing.send(**fields)
    assert caught.value.status == status
    assert words in caught.value.body["message"]
    assert not standing.ledger.orders
