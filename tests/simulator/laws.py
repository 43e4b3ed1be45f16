"""What must hold of an account whatever was done to it, and a tape to do it on."""

from collections import defaultdict
from datetime import timedelta
from decimal import Decimal as D

import numpy as np

from app.domain.order import OrderClass
from app.engine.costs import FREE
from app.runtime.calendar import new_york_calendar
from app.simulator.accounts.ledger import Leg
from app.simulator.options import SimulatorOptions
from app.simulator.tape.actions import CorporateAction
from app.simulator.tape.market import Market
from app.simulator.tape.source import open_market

from .conftest import BEFORE, HEAD, OPEN, minute_rows

SYMBOLS = ("ACME", "BCME")
CLOSED = frozenset(["filled", "canceled", "expired", "rejected", "replaced"])
_DAY = timedelta(days=1)
# The third session splits ACME two for one and pays a dividend on BCME; the fourth joins two BCME into one.
ACTIONS = {
    2: [("ACME", "split", D(2)), ("BCME", "dividend", D("0.35"))],
    3: [("BCME", "split", D("0.5"))],
}
_FACTOR = {"ACME": (1, 1, 0.5, 0.5), "BCME": (1, 1, 1, 2)}


class Tape(Market):
    """A market with corporate actions."""

    def actions(self, number):
        day = self.sessions[number].day
        return [CorporateAction(symbol=s, ex_date=day, kind=k, value=v) for s, k, v in ACTIONS.get(number - self.first, ())]


def tape(directory):
    """Four sessions of two symbols in minutes, with holes, jumps and corporate actions."""
    random, lines = np.random.default_rng(5), []
    for symbol in SYMBOLS:
        lines += minute_rows(symbol, [100], BEFORE)
        for day, factor in enumerate(_FACTOR[symbol]):
            close = 100 * factor * np.exp(np.cumsum(random.normal(0, 0.004, 390)))
            opened = close * np.exp(random.normal(0, 0.002, 390))
            above, below = np.abs(random.normal(0, 0.2, (2, 390)))
            rows = [
                None if hole else tuple(round(float(x), 2) for x in (o, max(o, c) + a, min(o, c) - b, c))
                for o, c, a, b, hole in zip(opened, close, above, below, random.random(390) < 0.05, strict=True)
            ]
            lines += minute_rows(symbol, rows, OPEN + day * _DAY)
    path = directory / "laws.csv"
    path.write_text(HEAD + "".join(lines))
    opened, first = open_market(SimulatorOptions(data=path), new_york_calendar(), start=OPEN.date(), seed=1)
    made = Tape(opened.source, opened.calendar, opened.sessions, opened.seed)
    made.first = next(i for i, session in enumerate(made.sessions) if session.day == first)
    return made


def check(account):
    """Every law that one moment can break."""
    check_books(account)
    check_holds(account)
    check_orders(account)
    check_groups(account)


def check_books(account):
    """Cash and shares are the fold of executions and activities, and nothing else is worth anything."""
    ledger = account.ledger
    cash, shares = ledger.start_cash, defaultdict(D)
    rows = [(f.filled_at, 0, f) for f in ledger.fills] + [(e.at, 1, e) for e in ledger.entries]
    for _, kind, row in sorted(rows, key=lambda r: r[:2]):
        if kind == 0:
            cash -= row.quantity * row.price * row.side.sign + row.commission
            shares[row.symbol] += row.quantity * row.side.sign
        else:
            cash += row.net_amount
            shares[row.symbol] += row.quantity if row.activity_type == "SPLIT" else 0
    positions = ledger.portfolio.positions
    assert cash == ledger.portfolio.cash
    assert {s: q for s, q in shares.items() if q} == {s: p.quantity for s, p in positions.items()}
    if account.multiplier == 1:
        assert all(p.quantity > 0 for p in positions.values())
        if account.costs is FREE:
            assert cash >= ledger.reserved_cash
    value = sum((p.quantity * account.price(s) for s, p in positions.items()), D(0))
    gains = sum((p.unrealized(account.price(s)) for s, p in positions.items()), D(0))
    paid = sum((e.net_amount for e in ledger.entries), D(0))
    assert account.equity() == account.margin().equity == cash + value
    assert abs(ledger.start_cash + ledger.portfolio.realized + gains + paid - cash - value) < D("1e-12")


def check_holds(account):
    """What orders hold, kept up step by step, is what a count of all orders gives."""
    ledger = account.ledger
    orders = list(ledger.orders.values())
    assert list(ledger.open_orders()) == [o for o in orders if o.status not in CLOSED]
    assert ledger.reserved_cash == sum((o.reserved_cash for o in orders), D(0))
    for symbol in SYMBOLS:
        held = sum((o.reserved_quantity for o in orders if o.symbol == symbol), D(0))
        assert ledger.held_quantity(symbol) == held
        assert 0 <= held <= abs(ledger.position_quantity(symbol))


def check_orders(account):
    """Each order is what its executions made it."""
    ledger, parts = account.ledger, defaultdict(list)
    assert [o.sequence for o in ledger.orders.values()] == list(range(len(ledger.orders)))
    assert len({f.execution_id for f in ledger.fills}) == len(ledger.fills)
    assert [f.filled_at for f in ledger.fills] == sorted(f.filled_at for f in ledger.fills)
    for fill in ledger.fills:
        parts[fill.venue_order_id].append(fill)
    for order in ledger.orders.values():
        fills = parts[order.id]
        assert order.executions == len(fills)
        assert order.filled_quantity == sum(f.quantity for f in fills)
        for fill in fills:
            assert fill.quantity > 0
            assert order.submitted_at < fill.filled_at <= account.now
            if order.limit_price is not None and fill.filled_at >= order.updated_at:
                assert (order.limit_price - fill.price) * fill.side.sign >= 0
        if order.quantity is not None and order.status != "replaced":
            assert (order.filled_quantity == order.quantity) == (order.status == "filled")
            assert order.filled_quantity <= order.quantity
        assert order.is_open == (order.status not in CLOSED)
        assert not order.is_open or order.expires_at is None or order.expires_at > account.now


def check_groups(account):
    """One of two exits at most fills, both for the same shares, and none works before its entry filled."""
    ledger = account.ledger
    for top in ledger.orders.values():
        if top.group_id is None or top.leg is not None or top.status == "replaced":
            continue
        legs = ledger.legs(top.id)
        exits = [top, *legs] if top.order_class is OrderClass.OCO else legs
        assert sum(o.status == "filled" for o in exits) <= 1
        if top.intent.opens:
            assert all(leg.waiting == (top.status != "filled") for leg in legs if leg.is_open)
            assert sum(leg.filled_quantity for leg in legs) <= ledger.entered(top) * 2  # a split may come between
        working = [o for o in exits if o.is_open and not o.waiting]
        if top.order_class is not OrderClass.OTO and working:
            assert len(working) == 2
            assert working[0].left == working[1].left
            assert [o.leg is Leg.STOP_LOSS for o in working] == [False, True]


def check_events(account, seen):
    """The last thing told of each order is the state it is in. seen: the newest event by order id, kept by the caller."""
    ledger = account.ledger
    for event in ledger.take_changes().events:
        before = seen.get(event.order.id)
        assert before is None or before.order.status not in CLOSED, "nothing is told after the end"
        assert before is None or before.at <= event.at <= account.now
        seen[event.order.id] = event
    words = {"filled": "fill", "partially_filled": "partial_fill"}
    for order in ledger.orders.values():
        told = seen.get(order.id)
        if told is None:
            assert order.status == "held"
        else:
            assert told.order.status == order.status
            late = order.status == "pending_cancel" and told.event == "partial_fill"  # a fill while the cancel was on its way
            assert late or told.event == words.get(order.status, order.status)
