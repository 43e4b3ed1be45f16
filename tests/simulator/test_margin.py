"""Short sales, money lent, and what positions and buying power come to."""

from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.simulator.accounts.margin import margin_of
from app.simulator.api import wire_orders

from .conftest import OPEN
from .test_order_terms import FORBIDDEN, assert_refused


@pytest.fixture
def lender(bench):
    b = bench([100, 100, 100, 110, 90, 90], multiplier=2)
    b.minutes(1)
    return b


def test_money_is_lent(lender):
    assert lender.account.margin().buying_power == 20_000
    lender.send(qty=150, type="limit", limit_price="100")
    lender.minutes(1)
    margin = lender.account.margin()
    assert (margin.cash, margin.long_value, margin.equity) == (-5_000, 15_000, 10_000)
    assert (margin.buying_power, margin.regt_buying_power, margin.non_marginable_buying_power) == (5_000, 5_000, 2_500)
    assert (margin.initial_margin, margin.maintenance_margin) == (7_500, 4_500)
    assert_refused(lender, FORBIDDEN, "insufficient buying power", lambda: lender.send(qty=51, type="limit", limit_price="100"))
    lender.send(qty=50, type="limit", limit_price="100")
    assert lender.account.margin().buying_power == 0


def test_a_short_position_is_opened_marked_and_closed(lender):
    order = lender.send(qty=10, side="sell")
    assert lender.ledger.orders[order].intent == "sell_to_open"
    assert lender.ledger.reserved_cash == D("1030.11")  # ask of 100.01 and three per cent
    lender.minutes(1)
    shown = wire_orders.position(lender.account, lender.ledger.portfolio.positions["ACME"])
    assert (shown["qty"], shown["side"], shown["market_value"], shown["cost_basis"]) == ("-10", "short", "-1000.00", "-1000.00")
    assert shown["qty_available"] == "-10"
    lender.minutes(2)
    margin = lender.account.margin()
    assert (margin.cash, margin.short_value, margin.equity) == (11_000, -1_100, 9_900)
    shown = wire_orders.position(lender.account, lender.ledger.portfolio.positions["ACME"])
    assert (shown["unrealized_pl"], shown["unrealized_plpc"], shown["current_price"]) == ("-100.00", "-0.1", "110")
    words = "insufficient qty available for order (requested: 11, available: 10)"
    assert_refused(lender, FORBIDDEN, words, lambda: lender.send(qty=11))
    half = lender.account.close_position("ACME", fraction=D("0.5"))
    assert (half.side, half.quantity, half.intent, half.reserved_cash) == ("buy", 5, "buy_to_close", 0)
    shown = wire_orders.position(lender.account, lender.ledger.portfolio.positions["ACME"])
    assert shown["qty_available"] == "-5"
    lender.account.close_position("ACME", quantity=D(5))
    lender.minutes(1)
    assert not lender.ledger.portfolio.positions
    assert lender.ledger.portfolio.cash == 10_000 + 10 * (100 - 90)


def test_a_sell_never_crosses_zero(lender):
    lender.send(qty=10)
    lender.minutes(1)
    words = "insufficient qty available for order (requested: 11, available: 10)"
    body = assert_refused(lender, FORBIDDEN, words, lambda: lender.send(qty=11, side="sell"))
    assert (body["existing_qty"], body["held_for_orders"], body["related_orders"]) == ("10", "0", [])
    rest = lender.send(qty=4, side="sell", type="limit", limit_price="120")
    body = assert_refused(lender, FORBIDDEN, "available: 6", lambda: lender.send(qty=7, side="sell"))
    assert (body["held_for_orders"], body["related_orders"], body["symbol"]) == ("4", [rest], "ACME")


def test_a_small_account_borrows_nothing(bench):
    b = bench([100] * 5, multiplier=4, cash=D(1_999))
    assert (b.account.margin().multiplier, b.account.margin().buying_power) == (1, 1_999)
    assert_refused(b, FORBIDDEN, "account is not allowed to short", lambda: b.send(qty=1, side="sell"))
    b = bench([100] * 5, multiplier=4, cash=D(2_000))
    b.account.configure(b.account.configuration.__class__(max_margin_multiplier="4"))
    assert b.account.margin().buying_power == 8_000
    b.send(qty=1, side="sell")


def test_a_bracket_protects_a_short_position(bench):
    b = bench([100, 100, (100, 106, 100, 106), 106], multiplier=2)
    protection = {"order_class": "bracket", "take_profit": {"limit_price": "90"}, "stop_loss": {"stop_price": "105"}}
    entry = b.send(qty=10, side="sell", **protection)
    b.minutes(1)
    gain, loss = b.legs(entry)
    assert (b.status(gain), b.status(loss), b.ledger.held_quantity("ACME")) == ("new", "held", 10)
    b.minutes(2)
    assert (b.status(gain), b.price(loss), b.ledger.portfolio.positions) == ("canceled", 105, {})


def test_an_order_that_the_account_can_no_longer_carry_is_rejected(bench):
    b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + timedelta(days=1), [150, 150])]}, multiplier=2)
    b.minutes(390)
    order = b.send(qty=190)
    b.world.move(OPEN + timedelta(days=1, minutes=1))
    assert b.status(order) == "rejected"


MAINTENANCE = [(1, "100", "30"), (1, "2", "2"), (-1, "100", "30"), (-1, "10", "5"), (-1, "4", "4"), (-1, "1", "2.5")]


@pytest.mark.parametrize(("quantity", "price", "margin"), MAINTENANCE)
def test_maintenance_margin(quantity, price, margin):
    found = margin_of(cash=D(10_000), holdings=[(D(quantity), D(price))], reserved=D(0), multiplier=2)
    assert found.maintenance_margin == D(margin)


cents = st.integers(-(10**7), 10**7).map(lambda n: D(n) / 100)


@given(
    cash=cents,
    holdings=st.lists(st.tuples(st.integers(-50, 50).filter(bool).map(D), st.integers(1, 10**5).map(lambda n: D(n) / 100))),
)
def test_margin_adds_up(cash, holdings):
    margin = margin_of(cash=cash, holdings=holdings, reserved=D(0), multiplier=2)
    assert margin.equity == cash + sum(q * p for q, p in holdings)
    gross = margin.long_value - margin.short_value
    assert margin.buying_power == max(D(0), margin.multiplier * margin.equity - gross)
    one = margin_of(cash=cash, holdings=[h for h in holdings if h[0] > 0], reserved=D(0), multiplier=1)
    assert one.buying_power == max(D(0), cash)
