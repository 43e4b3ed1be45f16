"""Trailing stops, OCO and OTO, orders filled in pieces, auctions, lifetimes, halts and extended hours."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal as D

import numpy as np
import pytest

from app.engine.path import MinutePath
from app.simulator.accounts.account import Account
from app.simulator.accounts.ledger import Ledger
from app.simulator.api import wire_orders
from app.simulator.tape.market import Market

from .conftest import OPEN, Bench
from .test_replace_cancel import OCO

DAY = timedelta(days=1)
GAIN, LOSS = {"limit_price": "110"}, {"stop_price": "95"}
BRACKET = {"order_class": "bracket", "take_profit": GAIN, "stop_loss": LOSS}


def test_a_trailing_stop_follows_the_best_price(bench):
    b = bench([100, (100, 104, 100, 104), 104, (104, 104, 101, 101), 101])
    b.send(qty=5)
    b.minutes(1)
    order = b.send(qty=5, side="sell", type="trailing_stop", trail_percent="2.5", time_in_force="gtc")
    shown = wire_orders.order(b.ledger.orders[order])
    assert (shown["hwm"], shown["stop_price"], shown["trail_percent"], shown["trail_price"]) == ("100", "97.5", "2.5", None)
    b.minutes(1)
    shown = wire_orders.order(b.ledger.orders[order])
    assert (shown["hwm"], shown["stop_price"]) == ("104", "101.4")
    b.minutes(2)
    assert b.price(order) == 101.4


@pytest.mark.parametrize(
    ("later", "ends", "price"),
    [([(100, 111, 100, 111)], ("filled", "canceled"), 110), ([(100, 100, 94, 94)], ("canceled", "filled"), 95)],
)
def test_an_oco_ends_with_one_of_its_two(bench, later, ends, price):
    b = bench([100, 100, *later, 100])
    b.send(qty=10)
    b.minutes(1)
    top = b.send(qty=10, **OCO)
    (stop,) = b.legs(top)
    assert (b.status(top), b.status(stop), b.ledger.held_quantity("ACME")) == ("new", "held", 10)
    shown = [wire_orders.order(b.ledger.orders[i]) for i in (top, stop)]
    assert [(o["group_id"], o["group_role"]) for o in shown] == [(top, "take_profit"), (top, "stop_loss")]
    b.minutes(3)
    assert (b.status(top), b.status(stop)) == ends
    assert b.price(top if ends[0] == "filled" else stop) == price
    assert b.ledger.held_quantity("ACME") == 0


@pytest.mark.parametrize(("part", "price"), [({"take_profit": GAIN}, 110), ({"stop_loss": LOSS}, 95)])
def test_an_oto_has_one_leg(bench, part, price):
    b = bench([100, 100, (100, 111, 94, 100), 100])
    entry = b.send(qty=10, order_class="oto", **part)
    (leg,) = b.legs(entry)
    assert b.status(leg) == "held"
    b.minutes(1)
    events = [(e.event, e.order.id) for e in b.ledger.take_changes().events]
    assert (b.status(leg), b.ledger.held_quantity("ACME")) == ("new", 10)
    b.minutes(2)
    assert (b.status(leg), b.price(leg)) == ("filled", price)
    assert not events  # the world has told them already


def test_an_order_fills_in_pieces(bench):
    b = bench([100, 100, 101, 102, 103], participation=D("0.004"))
    events = []
    b.world.listeners.append(Listener(events))
    order = b.send(qty=10, client_order_id="a")
    b.minutes(1)
    assert (b.status(order), b.price(order)) == ("partially_filled", 100)
    assert b.ledger.reserved_cash == D("606.00")  # six more shares at 100, and a little more
    b.minutes(2)
    done = b.ledger.orders[order]
    assert (done.status, done.filled_average_price) == ("filled", D("100.2"))
    assert [f.quantity for f in b.ledger.fills] == [4, 4, 2]
    assert len({f.execution_id for f in b.ledger.fills}) == 3
    assert [(e.event, e.position_quantity) for e in events] == [
        ("new", None),
        ("partial_fill", 4),
        ("partial_fill", 8),
        ("fill", 10),
    ]


class Listener:
    def __init__(self, events):
        self.events = events

    def on_orders(self, account, events):
        self.events += events

    def on_clock(self, before, now):
        pass


def test_a_notional_sell_takes_no_more_shares_than_it_held(bench):
    b = bench([100, 100, 50, 25, 12], participation=D("0.004"))
    b.send(qty="4")
    b.minutes(1)
    b.send(qty=1, side="sell", type="limit", limit_price="200")
    order = b.send(notional="300", side="sell")
    assert b.ledger.held_quantity("ACME") == 4
    b.minutes(4)
    assert (b.status(order), b.ledger.orders[order].filled_quantity, b.ledger.position_quantity("ACME")) == ("filled", 3, 1)


def test_legs_wait_for_the_whole_entry(bench):
    b = bench([100] * 10, participation=D("0.004"))
    entry = b.send(qty=10, **BRACKET)
    b.minutes(2)
    assert [b.status(i) for i in (entry, *b.legs(entry))] == ["partially_filled", "held", "held"]
    b.account.cancel(entry)
    assert [b.status(i) for i in (entry, *b.legs(entry))] == ["canceled"] * 3
    assert (b.ledger.position_quantity("ACME"), b.ledger.held_quantity("ACME")) == (8, 0)


def test_when_one_exit_fills_in_part_the_other_is_for_the_rest(bench):
    b = bench([100] * 3 + [(100, 110, 100, 100), (100, 100, 94, 94), 94, 94, 94], participation=D("0.004"))
    entry = b.send(qty=10, **BRACKET)
    b.minutes(4)
    gain, loss = (b.ledger.orders[i] for i in b.legs(entry))
    assert (gain.status, gain.filled_quantity, loss.status, loss.quantity) == ("partially_filled", 4, "held", 6)
    assert b.ledger.held_quantity("ACME") == 6
    b.minutes(2)
    gain, loss = (b.ledger.orders[i] for i in b.legs(entry))
    assert (gain.status, gain.filled_quantity) == ("canceled", 4)
    assert (loss.status, loss.filled_quantity) == ("filled", 6)
    assert b.ledger.position_quantity("ACME") == 0


def test_shares_sold_before_the_legs_are_released_are_not_promised_again(bench):
    b = bench([100] * 10, participation=D("0.004"))
    entry = b.send(qty=10, **BRACKET)
    b.minutes(2)
    b.send(qty=3, side="sell")
    b.minutes(1)
    assert b.status(entry) == "filled"
    assert [b.ledger.orders[i].quantity for i in b.legs(entry)] == [7, 7]
    assert b.ledger.held_quantity("ACME") == b.ledger.position_quantity("ACME") == 7


def test_immediate_orders_do_not_wait(bench):
    b = bench([100, 100, 100, 90], participation=D("0.004"))
    part = b.send(qty=10, time_in_force="ioc")
    whole = b.send(qty=10, time_in_force="fok", client_order_id="b")
    none = b.send(qty=1, time_in_force="ioc", type="limit", limit_price="95")
    b.minutes(4)
    assert (b.status(part), b.ledger.orders[part].filled_quantity) == ("canceled", 4)
    assert (b.status(whole), b.status(none)) == ("canceled", "canceled")
    assert b.ledger.orders[none].canceled_at == OPEN + timedelta(minutes=1)


def test_auction_orders_fill_at_the_open_or_the_close(bench):
    days = [(OPEN, [100] * 390), (OPEN + DAY, [(102, 103, 100, 101)] + [105] * 388 + [(105, 106, 104, 104)])]
    b = bench({"ACME": days})
    b.world.move(OPEN + timedelta(hours=12))
    opening, closing = b.send(qty=1, time_in_force="opg"), b.send(qty=1, time_in_force="cls")
    dear = b.send(qty=1, time_in_force="opg", type="limit", limit_price="101.50")
    cheap = b.send(qty=1, time_in_force="cls", type="limit", limit_price="104")
    b.world.move(OPEN + DAY + timedelta(minutes=390))
    assert [b.price(i) for i in (opening, closing, dear, cheap)] == [102, 104, None, 104]
    assert b.status(dear) == "canceled"
    assert b.ledger.orders[dear].canceled_at == OPEN + DAY + timedelta(minutes=1)


def test_a_gtc_order_ends_after_ninety_days(bench):
    late = OPEN + timedelta(days=100)
    b = bench({"ACME": [(OPEN, [100] * 390), (late, [100])]})
    order = b.send(qty=1, type="limit", limit_price="50", time_in_force="gtc")
    ends = datetime(2024, 4, 1, 20, 15, tzinfo=UTC)  # 16:15 in New York, in summer time by then
    assert b.ledger.orders[order].expires_at == ends
    assert wire_orders.order(b.ledger.orders[order])["expires_at"] == "2024-04-01T20:15:00Z"
    b.world.move(ends - timedelta(seconds=1))
    assert b.status(order) == "new"
    b.world.move(ends + timedelta(days=2))
    assert (b.status(order), b.ledger.orders[order].canceled_at) == ("canceled", ends)


def test_a_halted_symbol_does_not_trade(bench):
    b = bench([100] * 20)
    b.world.market.halted.add("ACME")
    waits, gone = b.send(qty=1), b.send(qty=1, time_in_force="ioc", client_order_id="b")
    b.minutes(5)
    assert (b.status(waits), b.status(gone)) == ("new", "canceled")
    b.world.market.halted.clear()
    b.minutes(1)
    assert b.ledger.orders[waits].filled_at == OPEN + timedelta(minutes=6)


# -- extended hours --------------------------------------------------------------------------------------------------


class Extended(Market):
    """A market whose price before and after each session is 90."""

    extended = True

    def window_path(self, symbol, number, kind):
        session = self.sessions[number]
        closes = session.opens_at if kind == "pre" else session.closes_at + timedelta(hours=4)
        opens = session.opens_at - timedelta(hours=5, minutes=30) if kind == "pre" else session.closes_at
        minutes = int((closes - opens).total_seconds()) // 60
        return MinutePath(*(np.full(minutes, 90.0) for _ in range(4)), np.full(minutes, 1000.0))


@pytest.fixture
def long_day(bench):
    b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + DAY, [100] * 390)]})
    made = b.world.market
    market = Extended(made.source, made.calendar, made.sessions, made.seed)
    market.extended = True
    desk = Bench(b.world)
    desk.account = Account(market=market, ledger=Ledger(seed=1, cash=D(10_000)), costs=b.account.costs, now=OPEN)
    desk.ledger = desk.account.ledger
    return desk


EXTENDED = {"type": "limit", "limit_price": "95", "extended_hours": True}


def test_extended_orders_fill_before_and_after_the_session(long_day):
    b = long_day
    b.account.advance(OPEN + timedelta(minutes=388))
    plain = b.send(qty=1, type="limit", limit_price="95", time_in_force="gtc")
    after = b.send(qty=1, **EXTENDED)
    b.account.advance(OPEN + timedelta(minutes=391))
    assert (b.status(plain), b.status(after), b.price(after)) == ("new", "filled", 90)
    b.account.advance(OPEN + timedelta(hours=12))
    before = b.send(qty=1, **EXTENDED, time_in_force="day")
    assert b.status(before) == "accepted"
    b.account.advance(OPEN + DAY - timedelta(hours=5, minutes=30))
    assert (b.status(before), b.status(plain)) == ("new", "new")
    b.account.advance(b.account.now + timedelta(minutes=1))
    assert b.price(before) == 90
    b.account.advance(OPEN + DAY + timedelta(minutes=10))
    assert b.status(plain) == "new"


def test_extended_day_orders_end_at_eight_in_the_evening(long_day):
    b = long_day
    order = b.send(qty=1, **{**EXTENDED, "limit_price": "80"})
    b.account.advance(OPEN + timedelta(minutes=390))
    assert b.status(order) == "new"
    b.account.advance(OPEN + timedelta(hours=10, minutes=30))
    assert (b.status(order), b.ledger.orders[order].expired_at) == ("expired", OPEN + timedelta(hours=10, minutes=30))


def test_without_prices_in_extended_hours_they_wait_for_the_session(bench):
    b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + DAY, [94] * 390)]})
    b.world.move(OPEN + timedelta(minutes=400))
    order = b.send(qty=1, **EXTENDED)
    assert b.status(order) == "accepted"
    b.world.move(OPEN + DAY + timedelta(minutes=1))
    assert b.price(order) == 94
