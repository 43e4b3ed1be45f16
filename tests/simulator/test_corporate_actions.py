"""Splits and dividends at the open of their day: positions, open orders, cash and activities."""

from datetime import date, timedelta
from decimal import Decimal as D

import pytest

from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import Ledger
from app.simulator.tape.actions import CorporateAction
from app.simulator.tape.market import Market

from .conftest import OPEN, Bench
from .test_order_terms import BRACKET

DAY = timedelta(days=1)


class Acting(Market):
    """A market on whose second day something happens to ACME."""

    action = ()

    def actions(self, number):
        day = self.sessions[number].day
        return [
            CorporateAction(symbol="ACME", ex_date=day, kind=k, value=D(v)) for k, v in self.action if day == date(2024, 1, 3)
        ]


@pytest.fixture
def acting(bench):
    """acting(actions, price of the second day, multiplier)."""

    def make(actions, after, multiplier=2):
        b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + DAY, [after] * 390)]})
        made = b.world.market
        market = Acting(made.source, made.calendar, made.sessions, made.seed)
        market.action = actions
        desk = Bench(b.world)
        desk.account = Account(
            market=market, ledger=Ledger(seed=1, cash=D(10_000)), costs=b.account.costs, now=OPEN, multiplier=multiplier
        )
        desk.ledger = desk.account.ledger
        return desk

    return make


def night(b):
    b.account.advance(OPEN + DAY - timedelta(hours=1))


def morning(b, minutes=0):
    b.account.advance(OPEN + DAY + timedelta(minutes=minutes))


def test_a_split_multiplies_shares_and_divides_prices(acting):
    b = acting([("split", "4")], 25)
    b.send(qty=10)
    b.account.advance(OPEN + timedelta(minutes=1))
    stop = b.send(qty=10, side="sell", type="stop", stop_price="90", time_in_force="gtc")
    night(b)
    assert (b.ledger.position_quantity("ACME"), b.account.equity()) == (10, 10_000)
    morning(b)
    held = b.ledger.portfolio.positions["ACME"]
    assert (held.quantity, held.average_entry_price) == (40, 25)
    assert b.account.price("ACME") == 25  # the close of yesterday, in today's shares
    assert b.account.equity() == 10_000
    order = b.ledger.orders[stop]
    assert (order.quantity, order.stop_price, b.ledger.held_quantity("ACME")) == (40, D("22.50"), 40)
    (entry,) = b.ledger.entries
    assert (entry.activity_type, entry.quantity, entry.net_amount, entry.day) == ("SPLIT", 30, 0, date(2024, 1, 3))
    morning(b, 5)
    assert b.account.equity() == 10_000


def test_a_split_keeps_parts_of_shares_and_rounds_orders_down(acting):
    b = acting([("split", "1.5")], "66.67")
    b.send(qty=5)
    b.account.advance(OPEN + timedelta(minutes=1))
    sell = b.send(qty=5, side="sell", type="limit", limit_price="110", time_in_force="gtc")
    trail = b.send(qty=1, type="trailing_stop", trail_price="30", time_in_force="gtc")
    morning(b)
    assert b.ledger.position_quantity("ACME") == D("7.5")
    assert (b.ledger.orders[sell].quantity, b.ledger.orders[sell].limit_price) == (7, D("73.34"))
    assert (b.ledger.orders[trail].trail_price, b.ledger.orders[trail].hwm) == (20, D("66.67"))


def test_a_split_reaches_brackets_that_wait(acting):
    b = acting([("split", "2")], 50)
    entry = b.send(qty=10, type="limit", limit_price="97", time_in_force="gtc", **BRACKET)
    morning(b, 1)
    assert (b.status(entry), b.ledger.position_quantity("ACME")) == ("new", 0)
    terms = [(o.quantity, o.limit_price, o.stop_price) for o in (b.ledger.orders[entry], *b.ledger.legs(entry))]
    assert terms == [(20, D("48.50"), None), (20, 55, None), (20, None, D("47.50"))]
    assert b.ledger.reserved_cash == 970


def test_a_reverse_split_cancels_open_orders(acting):
    b = acting([("split", "0.1")], 1000)
    b.send(qty=25)
    b.account.advance(OPEN + timedelta(minutes=1))
    b.send(qty=25, side="sell", type="limit", limit_price="110", time_in_force="gtc")
    morning(b)
    held = b.ledger.portfolio.positions["ACME"]
    assert (held.quantity, held.average_entry_price) == (D("2.5"), 1000)
    assert not list(b.ledger.open_orders())
    assert b.account.equity() == 10_000


def test_less_than_the_smallest_part_of_a_share_is_paid_out(acting):
    b = acting([("split", "0.1")], 1000)
    b.send(qty="0.000000001")
    morning(b)
    assert not b.ledger.portfolio.positions
    assert (b.account.equity(), b.ledger.entries[0].net_amount) == (10_000, D("0.0000001"))


def test_dividends_are_paid_to_holders_and_by_short_sellers(acting):
    for side, amount in (("buy", 5), ("sell", -5)):
        b = acting([("dividend", "0.5")], 100)
        b.send(qty=10, side=side)
        night(b)
        late = b.send(qty=10, side=side)  # fills on the day itself: too late
        morning(b, 1)
        assert b.status(late) == "filled"
        (entry,) = b.ledger.entries
        assert (entry.activity_type, entry.net_amount, entry.per_share_amount) == ("DIV", amount, D("0.5"))
        assert b.account.equity() == 10_000 + amount


def test_nothing_happens_to_those_who_hold_nothing(acting):
    b = acting([("split", "2"), ("dividend", "1")], 50)
    morning(b, 1)
    assert not b.ledger.entries


def test_executions_and_activities_are_restored_in_the_order_in_which_they_happened(acting):
    b = acting([("split", "4"), ("dividend", "0.1")], 25)
    b.send(qty=10)
    night(b)
    b.send(qty=3, client_order_id="b")
    morning(b, 3)
    b.send(qty=7, side="sell", client_order_id="c")
    morning(b, 6)
    again = Ledger(seed=1, cash=D(10_000))
    again.restore(b.ledger.fills, b.ledger.entries)
    assert again.portfolio == b.ledger.portfolio
