"""Laws of the account under random sequences of orders, replacements, cancels and time: nothing is created, lost or promised
twice. SEQUENCES=n in the environment asks for more of them than the suite runs."""

import json
import os
from datetime import timedelta
from decimal import Decimal as D

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule, run_state_machine_as_test

from app.engine.costs import FREE, UNLIMITED, CostModel, Liquidity
from app.simulator.accounts.account import Account
from app.simulator.accounts.configuration import Configuration
from app.simulator.accounts.ledger import Ledger
from app.simulator.accounts.order_request import parse_json, parse_order
from app.simulator.accounts.replacement import parse_replacement
from app.simulator.errors import ApiError

from .conftest import OPEN
from .laws import CLOSED, SYMBOLS, check, check_events, tape

PARTS = 4
SEQUENCES = int(os.environ.get("SEQUENCES", "160"))

whole = st.integers(1, 60).map(lambda n: {"qty": str(n)})
offsets = st.integers(-300, 300).map(lambda n: D(n) / 100)
sides = st.sampled_from(["buy", "sell"])
simple = st.one_of(
    st.tuples(
        st.sampled_from(["market", "limit", "limit", "stop", "stop_limit", "trailing_stop"]),
        st.sampled_from(["day", "gtc"]),
        st.just("simple"),
        whole,
    ),
    st.tuples(st.sampled_from(["market", "limit"]), st.sampled_from(["ioc", "fok", "opg", "cls"]), st.just("simple"), whole),
    st.tuples(
        st.sampled_from(["market", "limit", "stop", "stop_limit"]),
        st.just("day"),
        st.just("simple"),
        st.sampled_from(["0.5", "3.25", "10.123456789"]).map(lambda n: {"qty": n}),
    ),
    st.tuples(
        st.just("market"),
        st.just("day"),
        st.just("simple"),
        st.sampled_from(["1", "250.5", "4000"]).map(lambda n: {"notional": n}),
    ),
)
grouped = st.tuples(
    st.sampled_from(["market", "market", "limit", "stop", "stop_limit"]),
    st.sampled_from(["day", "gtc"]),
    st.sampled_from(["bracket", "bracket", "oto", "oco"]),
    whole,
)
anything = st.tuples(
    st.sampled_from(["market", "limit", "stop", "stop_limit", "trailing_stop"]),
    st.sampled_from(["day", "gtc", "ioc", "fok", "opg", "cls"]),
    st.sampled_from(["simple", "bracket", "oco", "oto"]),
    st.one_of(whole, st.sampled_from([{"qty": "0.5"}, {"notional": "1"}, {"qty": "0"}, {}])),
)
orders = st.integers(0, 30)
moves = st.sampled_from([60, 60, 120, 600, 600, 3_000, 7_000, 23_400, 60_000, 86_400, 86_460])
accounts = st.fixed_dictionaries(
    {
        "multiplier": st.sampled_from([1, 2, 4]),
        "cancel_seconds": st.sampled_from([0.0, 0.0, 150.0, 30_000.0]),
        "costs": st.sampled_from([FREE, FREE, CostModel(slippage_bps=D(20), commission_bps=D(5))]),
        "liquidity": st.sampled_from(
            [
                UNLIMITED,
                Liquidity(partial_probability=D("0.7"), seed=4),
                Liquidity(participation=D("0.005"), partial_probability=D("0.3"), seed=4),
            ]
        ),
    }
)


def fields_of(price, symbol, side, kind, force, order_class, amount, up, down):
    """The body of an order; the offsets are from the price of the moment."""
    fields = {"symbol": symbol, "side": side, "type": kind, "time_in_force": force, "order_class": order_class, **amount}
    away = abs(up) + abs(down) + D("0.1")
    sign = 1 if side == "buy" else -1
    if order_class == "oco":
        fields["type"], sign = "limit", -sign
    elif kind in {"limit", "stop_limit"}:
        fields["limit_price"] = str(price + up)
    if fields["type"] in {"stop", "stop_limit"}:
        fields["stop_price"] = str(price + down)
    if kind == "trailing_stop":
        fields |= {"trail_percent": "0.4"} if up > 0 else {"trail_price": str(abs(down) + D("0.05"))}
    gain, loss = {"limit_price": str(price + sign * away)}, {"stop_price": str(price - sign * away)}
    if order_class in {"bracket", "oco"}:
        fields |= {"take_profit": gain, "stop_loss": loss}
    elif order_class == "oto":
        fields |= {"take_profit": gain} if up > 0 else {"stop_loss": loss}
    return fields


class Desk:
    """Does one thing after the other to an account; what it was told to do can be done again on another one."""

    def __init__(self, market, terms, cash, now):
        self.account = Account(market=market, ledger=Ledger(seed=3, cash=cash), now=now, **terms)
        self.market = market
        self.market.halted.clear()

    def do(self, action, *arguments):
        """The refusal, if there was one."""
        try:
            getattr(self, action)(*arguments)
        except ApiError as refusal:
            assert refusal.status in {403, 404, 422}
            return refusal
        return None

    def submit(self, body):
        order = self.account.submit(parse_order(parse_json(body)))
        if order.intent.opens:
            assert self.account.power() >= 0

    def replace(self, order_id, body):
        order = self.account.replace(order_id, parse_replacement(parse_json(body)))
        if order.intent.opens:
            assert self.account.power() >= 0

    def cancel(self, order_id):
        self.account.cancel(order_id)

    def stick(self, order_id):
        self.account.cancel(order_id, stuck=True)

    def release(self):
        self.account.release_cancels()

    def cancel_all(self):
        self.account.cancel_all(list(self.account.ledger.open_orders()))

    def close(self, symbol, fraction):
        self.account.close_position(symbol, fraction=fraction)

    def doom(self, order_id):
        self.account.doom(order_id, "test")

    def halt(self, symbol):
        self.market.halted ^= {symbol}

    def configure(self, changes):
        self.account.configure(Configuration(**changes))

    def move(self, seconds):
        self.account.advance(self.account.now + timedelta(seconds=seconds))

    def pick(self, number):
        """An order, more often one that is open."""
        ledger = self.account.ledger
        ids = [order.id for order in ledger.open_orders()] if number % 4 else list(ledger.orders)
        return (ids or list(ledger.orders))[number % (len(ids) or len(ledger.orders))]


class Machine(RuleBasedStateMachine):
    """Anything a client, the clock or a fault may do."""

    market = None
    fills = refusals = 0

    @initialize(terms=accounts, cash=st.sampled_from([D(20_000), D(20_000), D(1_900)]), day=st.integers(0, 2))
    def begin(self, terms, cash, day):
        self.desk = Desk(self.market, terms, cash, OPEN + timedelta(days=day))
        self.again = Desk(self.market, terms, cash, OPEN + timedelta(days=day)), []
        self.seen, self.ended = {}, {}

    def act(self, action, *arguments):
        self.again[1].append((action, *arguments))
        account = self.desk.account
        before = dict(account.ledger.orders), account.ledger.portfolio, account.ledger.reserved_cash
        if self.desk.do(action, *arguments) is not None:
            Machine.refusals += 1
            assert before == (account.ledger.orders, account.ledger.portfolio, account.ledger.reserved_cash)

    @rule(
        symbol=st.sampled_from(SYMBOLS),
        side=sides,
        terms=st.one_of(simple, grouped, simple, grouped, anything),
        up=offsets,
        down=offsets,
    )
    def submit(self, symbol, side, terms, up, down):
        self.act("submit", self.body(symbol, side, terms, up, down))

    @rule(
        symbol=st.sampled_from(SYMBOLS), side=sides, terms=st.one_of(simple, grouped), up=offsets, down=offsets, seconds=moves
    )
    def trade(self, symbol, side, terms, up, down, seconds):
        self.act("submit", self.body(symbol, side, terms, up, down))
        self.move(seconds)

    @rule(symbol=st.sampled_from(SYMBOLS), count=st.integers(1, 40), side=sides)
    def enter(self, symbol, count, side):
        self.act("submit", self.body(symbol, side, ("market", "gtc", "simple", {"qty": count}), D(0), D(0)))
        self.move(180)

    @precondition(lambda self: self.desk.account.ledger.portfolio.positions)
    @rule(number=orders, terms=st.one_of(simple, grouped), up=offsets, down=offsets)
    def leave(self, number, terms, up, down):
        positions = sorted(self.desk.account.ledger.portfolio.positions.items())
        symbol, held = positions[number % len(positions)]
        kind, force, order_class, amount = terms
        order_class = "simple" if order_class == "simple" else "oco"
        side = "sell" if held.quantity > 0 else "buy"
        self.act("submit", self.body(symbol, side, (kind, force, order_class, amount), up, down))

    @precondition(lambda self: self.desk.account.ledger.portfolio.positions)
    @rule(number=orders, fraction=st.sampled_from([None, D("0.5"), D("0.333"), D(1)]))
    def close(self, number, fraction):
        positions = sorted(self.desk.account.ledger.portfolio.positions)
        self.act("close", positions[number % len(positions)], fraction)

    @precondition(lambda self: self.desk.account.ledger.orders)
    @rule(
        number=orders,
        up=st.none() | offsets,
        down=st.none() | offsets,
        count=st.none() | st.integers(1, 60),
        trail=st.sampled_from([None, None, "0.3", "1"]),
        force=st.sampled_from([None, None, "day", "gtc"]),
    )
    def replace(self, number, up, down, count, trail, force):
        order_id = self.desk.pick(number)
        old = self.desk.account.ledger.orders[order_id]
        body = {"qty": count, "trail": trail, "time_in_force": force}
        for name, offset in (("limit_price", up), ("stop_price", down)):
            base = getattr(old, name)
            if offset is not None and base is not None and base + offset > 1:
                body[name] = str(base + offset)
        self.act("replace", order_id, json.dumps({k: v for k, v in body.items() if v is not None}).encode())

    @precondition(lambda self: self.desk.account.ledger.orders)
    @rule(number=orders, action=st.sampled_from(["cancel", "cancel", "cancel", "stick", "doom", "release", "cancel_all"]))
    def stop(self, number, action):
        self.act(action, *([] if action in {"release", "cancel_all"} else [self.desk.pick(number)]))

    @rule(
        change=st.sampled_from(
            [
                ("configure", {}),
                ("configure", {"no_shorting": True}),
                ("configure", {"max_margin_multiplier": "1"}),
                ("configure", {"fractional_trading": False}),
                ("halt", "ACME"),
            ]
        )
    )
    def disturb(self, change):
        self.act(*change)

    @rule(seconds=moves)
    def move(self, seconds):
        if self.desk.account.now + timedelta(seconds=seconds) < OPEN + timedelta(days=3, hours=9):
            self.act("move", seconds)

    def body(self, symbol, side, terms, up, down):
        return json.dumps(fields_of(self.desk.account.price(symbol), symbol, side, *terms, up, down)).encode()

    @invariant()
    def laws(self):
        account = self.desk.account
        check(account)
        check_events(account, self.seen)
        for order_id, order in self.ended.items():
            assert account.ledger.orders[order_id] == order, "an order that has ended never changes"
        self.ended |= {o.id: o for o in account.ledger.orders.values() if o.status in CLOSED}

    def teardown(self):
        if not hasattr(self, "desk"):
            return
        other, script = self.again
        self.market.halted.clear()
        for step in script:
            other.do(*step)
        assert other.account.ledger.orders == self.desk.account.ledger.orders
        assert other.account.ledger.fills == self.desk.account.ledger.fills
        assert other.account.ledger.entries == self.desk.account.ledger.entries
        Machine.fills += len(other.account.ledger.fills)


@pytest.fixture(scope="module")
def market(tmp_path_factory):
    return tape(tmp_path_factory.mktemp("laws"))


@pytest.mark.parametrize("part", range(PARTS))
@pytest.mark.timeout(3600)
def test_laws_hold_under_any_sequence(market, part):
    Machine.market, Machine.fills, Machine.refusals = market, 0, 0
    run_state_machine_as_test(
        Machine,
        settings=settings(
            max_examples=max(1, SEQUENCES // PARTS),
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert Machine.fills > SEQUENCES // PARTS  # the sequences did trade
