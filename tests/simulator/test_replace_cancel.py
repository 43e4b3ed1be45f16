"""Replacing and cancelling: what takes an order's place, and what wins when a cancel is on its way."""

from datetime import timedelta
from decimal import Decimal as D

import pytest

from app.simulator.accounts.replacement import parse_replacement
from app.simulator.errors import ApiError

from .conftest import OPEN
from .test_order_terms import BRACKET, FORBIDDEN, INVALID, UNPROCESSABLE, assert_refused

DAY = timedelta(days=1)
OCO = {"order_class": "oco", "type": "limit", "side": "sell", **{k: v for k, v in BRACKET.items() if k != "order_class"}}


def change(b, order_id, **fields):
    return b.account.replace(order_id, parse_replacement(fields)).id


def told(b):
    return [(event.event, event.order.id) for event in b.ledger.take_changes().events]


@pytest.fixture
def flat(bench):
    b = bench([100] * 390)
    b.minutes(1)
    return b


def test_a_new_order_takes_the_place_of_the_old_one(flat):
    old = flat.send(qty=10, type="limit", limit_price="95", client_order_id="a")
    told(flat)
    new = change(flat, old, qty=D(20), limit_price=D(96), client_order_id="b", time_in_force="gtc")
    was, now = flat.ledger.orders[old], flat.ledger.orders[new]
    assert (was.status, was.replaced_by, was.replaced_at) == ("replaced", new, flat.account.now)
    assert (now.status, now.replaces, now.client_order_id) == ("new", old, "b")
    assert (now.quantity, now.limit_price, now.time_in_force) == (20, 96, "gtc")
    assert flat.ledger.reserved_cash == 1920
    assert told(flat) == [("replaced", old), ("new", new)]
    assert_refused(flat, UNPROCESSABLE, "order is not open: it is replaced", lambda: change(flat, old, qty=D(5)))
    assert_refused(flat, UNPROCESSABLE, 'already in "replaced" state', lambda: flat.account.cancel(old))
    last = change(flat, new, limit_price=D(97))
    assert flat.ledger.orders[last].replaces == new
    assert [o.id for o in flat.ledger.open_orders()] == [last]


REFUSED = [
    (UNPROCESSABLE, "order parameters are not changed", {"qty": D(10), "limit_price": D(95)}),
    (UNPROCESSABLE, "order parameters are not changed", {}),
    (UNPROCESSABLE, "trail is only accepted with trailing stop orders", {"trail": D(1)}),
    (UNPROCESSABLE, "qty of fractional orders cannot be changed", {"qty": D("10.5")}),
    (UNPROCESSABLE, "sub-penny", {"limit_price": D("95.001")}),
    (UNPROCESSABLE, "notional is only accepted for IPO orders", {"notional": D(10)}),
    (INVALID, "qty must be > 0", {"qty": D(0)}),
    (INVALID, "limit orders must not have a stop price", {"stop_price": D(90)}),
    (INVALID, "client_order_id must be unique", {"client_order_id": "a"}),
    (INVALID, "invalid time_in_force", {"time_in_force": "soon"}),
    (FORBIDDEN, "opg orders are not accepted", {"time_in_force": "opg"}),
    (FORBIDDEN, "insufficient buying power", {"qty": D(106)}),
]


@pytest.mark.parametrize(("kind", "words", "fields"), REFUSED)
def test_refused_replacements_change_nothing(flat, kind, words, fields):
    order = flat.send(qty=10, type="limit", limit_price="95", client_order_id="a")
    flat.ledger.take_changes()
    assert_refused(flat, kind, words, lambda: change(flat, order, **fields))


def test_what_cannot_be_replaced(bench):
    b = bench({"ACME": [(OPEN, [100] * 390), (OPEN + DAY, [100] * 390)]}, cancel_seconds=60.0)
    b.minutes(1)
    fraction, money = b.send(qty="0.5", type="limit", limit_price="90"), b.send(notional="50")
    pending = b.send(qty=1, type="limit", limit_price="90")
    b.account.cancel(pending)
    b.ledger.take_changes()
    words = "unable to replace order in pending_cancel status"
    assert_refused(b, UNPROCESSABLE, words, lambda: change(b, pending, limit_price=D(91)))
    assert_refused(b, UNPROCESSABLE, "notional orders cannot be replaced", lambda: change(b, money, limit_price=D(91)))
    assert_refused(b, UNPROCESSABLE, "qty of fractional orders", lambda: change(b, fraction, qty=D(1)))
    assert b.ledger.orders[change(b, fraction, limit_price=D(91))].quantity == D("0.5")
    b.minutes(390)
    night = b.send(qty=1, type="limit", limit_price="90")
    b.ledger.take_changes()
    assert_refused(b, UNPROCESSABLE, "order isn't sent to exchange yet", lambda: change(b, night, limit_price=D(91)))


def test_what_has_filled_of_a_replaced_order_counts(bench):
    b = bench([100] + [(100, 100, 99, 100)] * 389, participation=D("0.004"))
    b.minutes(1)
    order = b.send(qty=10, type="limit", limit_price="99")
    b.minutes(1)
    assert (b.status(order), b.ledger.orders[order].filled_quantity) == ("partially_filled", 4)
    words = "qty must be > filled_qty 4"
    b.ledger.take_changes()
    assert_refused(b, UNPROCESSABLE, words, lambda: change(b, order, qty=D(4)))
    rest = change(b, order, qty=D(6))
    assert (b.status(order), b.ledger.orders[rest].quantity) == ("replaced", 2)
    b.minutes(2)
    assert b.status(rest) == "filled"
    assert b.ledger.position_quantity("ACME") == 6


def test_a_trailing_stop_gets_a_new_trail_and_keeps_its_mark(bench):
    b = bench([100, (100, 106, 100, 106), 106, (106, 106, 103, 103), 103])
    b.send(qty=5)
    b.minutes(1)
    order = b.send(qty=5, side="sell", type="trailing_stop", trail_price="10")
    b.minutes(1)
    assert (b.ledger.orders[order].hwm, b.ledger.orders[order].working_stop) == (106, 96)
    tight = change(b, order, trail=D(2))
    assert b.ledger.orders[tight].working_stop == 104
    b.minutes(2)
    assert b.price(tight) == 104


def test_a_replaced_entry_keeps_its_legs(flat):
    entry = flat.send(qty=10, type="limit", limit_price="97", **BRACKET)
    new = change(flat, entry, qty=D(12), limit_price=D(100))
    gain, loss = flat.ledger.legs(new)
    assert not flat.ledger.legs(entry)
    assert (gain.quantity, loss.quantity, gain.group_id) == (12, 12, entry)
    flat.minutes(1)
    assert (flat.status(new), flat.status(gain.id), flat.ledger.held_quantity("ACME")) == ("filled", "new", 12)
    words = "stop_loss.stop_price must be <= base_price - 0.01"
    other = flat.send(qty=1, type="limit", limit_price="97", **BRACKET)
    flat.ledger.take_changes()
    assert_refused(flat, UNPROCESSABLE, words, lambda: change(flat, other, limit_price=D("95")))


def test_replaced_legs_stay_a_pair(bench):
    b = bench([100, 100, 100, (100, 100, 97, 97), 97])
    entry = b.send(qty=10, **BRACKET)
    b.minutes(1)
    gain, loss = b.legs(entry)
    b.ledger.take_changes()
    assert_refused(b, UNPROCESSABLE, "qty of a leg follows", lambda: change(b, loss, qty=D(5)))
    assert_refused(b, UNPROCESSABLE, "time_in_force of bracket orders", lambda: change(b, loss, time_in_force="gtc"))
    assert_refused(b, UNPROCESSABLE, "take_profit.limit_price must be >", lambda: change(b, loss, stop_price=D(110)))
    tight = change(b, loss, stop_price=D(98))
    wide = change(b, gain, limit_price=D(120))
    assert (b.status(tight), b.status(wide)) == ("held", "new")
    assert b.legs(entry) == [wide, tight]
    assert b.ledger.held_quantity("ACME") == 10
    b.minutes(3)
    assert (b.status(tight), b.price(tight), b.status(wide)) == ("filled", 98, "canceled")


def test_the_stop_of_an_oco_follows_its_quantity(flat):
    flat.send(qty=10)
    flat.minutes(1)
    oco = flat.send(qty=10, **OCO)
    new = change(flat, oco, qty=D(6))
    (stop,) = flat.ledger.legs(new)
    assert (stop.quantity, stop.status) == (6, "held")
    assert flat.ledger.held_quantity("ACME") == 6


# -- cancels ---------------------------------------------------------------------------------------------------------


def test_a_cancel_takes_its_time_and_holds_what_the_order_held(bench):
    b = bench([100] * 390, cancel_seconds=90.0)
    b.minutes(1)
    order = b.send(qty=10, type="limit", limit_price="95")
    told(b)
    b.account.cancel(order)
    assert (b.status(order), b.ledger.reserved_cash) == ("pending_cancel", 950)
    assert told(b) == [("pending_cancel", order)]
    with pytest.raises(ApiError, match='already in "pending_cancel" state'):
        b.account.cancel(order)
    b.minutes(1)
    assert b.status(order) == "pending_cancel"
    b.world.move(b.account.now + timedelta(seconds=30))
    assert (b.status(order), b.ledger.reserved_cash) == ("canceled", 0)
    assert b.ledger.orders[order].canceled_at == b.account.now
    assert b.account.cancel_all([b.ledger.orders[order]]) == []


def test_a_fill_may_win_the_race_against_a_cancel(bench):
    b = bench([100, 100, (100, 100, 94, 94), 100], cancel_seconds=90.0)
    b.minutes(1)
    early = b.send(qty=1, type="limit", limit_price="95", client_order_id="a")
    b.minutes(1)
    late = b.send(qty=1, type="limit", limit_price="95", client_order_id="b")
    b.account.cancel(early)
    b.account.cancel(late)
    b.minutes(2)
    assert b.status(early) == b.status(late) == "filled"


def test_an_entry_that_fills_before_its_cancel_keeps_its_protection(bench):
    b = bench([100, 100, 100, 100], cancel_seconds=90.0)
    entry = b.send(qty=5, **BRACKET)
    b.account.cancel(entry)
    b.minutes(3)
    assert [b.status(i) for i in (entry, *b.legs(entry))] == ["filled", "new", "held"]


def test_a_cancel_of_one_leg_takes_the_other_with_it_when_it_takes_effect(bench):
    b = bench([100] * 10, cancel_seconds=90.0)
    entry = b.send(qty=5, **BRACKET)
    b.minutes(1)
    gain, loss = b.legs(entry)
    b.account.cancel(loss)
    assert (b.status(gain), b.status(loss)) == ("new", "pending_cancel")
    b.minutes(2)
    assert b.status(gain) == b.status(loss) == "canceled"
    assert b.ledger.held_quantity("ACME") == 0


def test_a_stuck_cancel_waits_to_be_released(flat):
    order = flat.send(qty=1, type="limit", limit_price="90", time_in_force="gtc")
    flat.account.cancel(order, stuck=True)
    flat.minutes(20)
    assert flat.status(order) == "pending_cancel"
    flat.account.release_cancels()
    assert flat.status(order) == "canceled"


def test_a_doomed_order_is_rejected_when_the_clock_moves(flat):
    order = flat.send(qty=1, **BRACKET)
    flat.account.doom(order, "credit")
    assert flat.status(order) == "new"
    told(flat)
    flat.minutes(1)
    assert [flat.status(i) for i in (order, *flat.legs(order))] == ["rejected", "canceled", "canceled"]
