"""Laws of the account under random orders, cancels and time: nothing is created, lost or promised twice."""

import json
from datetime import timedelta
from decimal import Decimal as D

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.order import OrderType, Side
from app.engine.costs import FREE, CostModel
from app.simulator.account import Account
from app.simulator.errors import ApiError
from app.simulator.ledger import Ledger
from app.simulator.order_request import parse_json, parse_order

from .conftest import OPEN

SYMBOLS = ("ACME", "BCME")


@pytest.fixture
def market(bench):
    random = np.random.default_rng(5)

    def walk():
        close = np.round(100 * np.exp(np.cumsum(random.normal(0, 0.01, 390))), 2)
        opened = np.round(close * np.exp(random.normal(0, 0.004, 390)), 2)
        return [
            (float(o), float(max(o, c) + a), float(min(o, c) - b), float(c))
            for o, c, (a, b) in zip(opened, close, np.round(np.abs(random.normal(0, 0.4, (390, 2))), 2), strict=True)
        ]

    return bench({s: [(OPEN, walk()), (OPEN + timedelta(days=1), walk())] for s in SYMBOLS}).account.market


offset = st.integers(-400, 400).map(lambda n: D(n) / 100)
ops = st.lists(
    st.one_of(
        st.tuples(
            st.just("order"),
            st.sampled_from(SYMBOLS),
            st.sampled_from(["buy", "buy", "sell"]),
            st.sampled_from(OrderType),
            st.integers(1, 40),
            offset,
            offset,
            st.sampled_from(["day", "gtc"]),
            st.booleans(),
        ),
        st.tuples(st.just("cancel"), st.integers(0, 30)),
        st.tuples(st.just("close"), st.sampled_from(SYMBOLS)),
        st.tuples(st.just("move"), st.sampled_from([600, 60, 7, 7_000, 90_000])),
        st.tuples(st.just("move"), st.sampled_from([600, 60, 7, 7_000])),
    ),
    min_size=12,
    max_size=40,
)


def place(exchange, symbol, side, kind, quantity, up, down, force, bracket):
    base = exchange.price(symbol)
    fields = {"symbol": symbol, "side": side, "type": kind, "qty": quantity, "time_in_force": force}
    if kind in {"limit", "stop_limit"}:
        fields["limit_price"] = str(base + up)
    if kind in {"stop", "stop_limit"}:
        fields["stop_price"] = str(base + down)
    if bracket and side == "buy":
        gain, loss = {"limit_price": str(base + abs(up) + 5)}, {"stop_price": str(base - abs(down) - 5)}
        fields |= {"order_class": "bracket", "take_profit": gain, "stop_loss": loss}
    exchange.submit(parse_order(parse_json(json.dumps(fields).encode())))


def check(exchange, costs):
    ledger = exchange.ledger
    cash, shares = ledger.start_cash, dict.fromkeys(SYMBOLS, D(0))
    for fill in ledger.fills:
        cash -= fill.quantity * fill.price * fill.side.sign + fill.commission
        shares[fill.symbol] += fill.quantity * fill.side.sign
        order = ledger.orders[fill.venue_order_id]
        assert order.submitted_at < fill.filled_at <= exchange.now
        assert order.filled_quantity == order.quantity == fill.quantity
        if order.limit_price is not None:
            assert (order.limit_price - fill.price) * fill.side.sign >= 0
    assert cash == ledger.portfolio.cash
    for symbol, quantity in shares.items():
        assert quantity == ledger.position_quantity(symbol) >= ledger.held_quantity(symbol) >= 0
    if costs is FREE:
        assert ledger.portfolio.cash >= ledger.reserved_cash >= 0
        held = sum(p.quantity * exchange.price(s) for s, p in ledger.portfolio.positions.items())
        assert exchange.equity() == cash + held
        gains = sum(p.unrealized(exchange.price(s)) for s, p in ledger.portfolio.positions.items())
        assert abs(ledger.start_cash + ledger.portfolio.realized + gains - exchange.equity()) < D("1e-15")
    filled = [o.id for o in ledger.orders.values() if o.status == "filled"]
    assert sorted(filled) == sorted(f.venue_order_id for f in ledger.fills)
    assert len({f.execution_id for f in ledger.fills}) == len(ledger.fills)
    for order in ledger.orders.values():
        legs = ledger.legs(order.id)
        if legs:
            assert sum(leg.status == "filled" for leg in legs) <= 1
            if any(leg.status in {"filled", "new"} for leg in legs):
                assert order.status == "filled"
        if order.is_open and order.side is Side.SELL and order.parent_id is None:
            assert order.reserved_quantity == order.quantity


def run(market, script, costs):
    exchange = Account(market=market, ledger=Ledger(seed=3, cash=D(20_000)), costs=costs, now=OPEN)
    for name, *rest in script:
        try:
            if name == "order":
                place(exchange, *rest)
            elif name == "cancel":
                exchange.cancel(list(exchange.ledger.orders)[rest[0]] if rest[0] < len(exchange.ledger.orders) else "none")
            elif name == "close":
                exchange.close_position(rest[0])
            else:
                exchange.advance(exchange.now + timedelta(seconds=rest[0]))
        except ApiError as refusal:
            assert refusal.status in {403, 404, 422}
        check(exchange, costs)
    return exchange


def test_laws_hold_under_any_script(market):
    @given(script=ops, costs=st.sampled_from([FREE, CostModel(slippage_bps=D(20), commission_bps=D(5))]))
    @settings(max_examples=150, deadline=None)
    def law(script, costs):
        fills.append(len(run(market, script, costs).ledger.fills))

    fills = []
    law()
    assert sum(fills) > 100  # the scripts did trade


def test_the_same_script_gives_the_same_ids_and_fills(market):
    script = [
        ("order", "ACME", "buy", OrderType.MARKET, 20, D(1), D(-1), "gtc", True),
        ("move", 7_000),
        ("order", "BCME", "buy", OrderType.LIMIT, 30, D("0.5"), D(0), "day", False),
        ("move", 90_000),
        ("close", "BCME"),
        ("move", 600),
    ]
    one, two = (run(market, script, FREE).ledger for _ in range(2))
    assert one.fills == two.fills
    assert len(one.fills) >= 3
    assert one.orders == two.orders
