"""Laws of a decision over random worlds: limits, order of symbols, refusals, ids, cancels, recordings."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from decimal import Decimal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.domain.order import OrderClass, OrderType, Purpose, Side, TimeInForce
from app.domain.reason import Reason
from app.domain.trading_state import TradingState
from app.engine.decide import decide
from app.engine.decision import Book, Decision
from app.engine.recording import Inputs, from_json, to_json
from tests.engine.worlds import (
    CAPITAL,
    LIMITS,
    POLICY,
    Quote,
    book_of,
    context_of,
    decided,
    held,
    open_order,
    reasons,
    record_of,
    risk_of,
    view_of,
)

SYMBOLS = [f"S{i:02}" for i in range(14)]
ABSURD = st.sampled_from([float("nan"), 0.0, -1.0, float("inf"), float("-inf"), 1e-300, 1e300])
PRICES = st.integers(100, 300_000).map(lambda c: c / 100)


@st.composite
def worlds(draw: st.DrawFn, absurd: bool = False) -> tuple[dict[str, Quote], Book]:
    """Up to 14 symbols, some held, some with open orders. absurd: any number may be nonsense."""

    def maybe(sound: st.SearchStrategy[float]) -> float:
        return draw(ABSURD | sound) if absurd else draw(sound)

    symbols = draw(st.permutations(SYMBOLS))[: draw(st.integers(1, 14))]
    quotes = {
        s: Quote(
            price=maybe(PRICES),
            expected=maybe(st.floats(-0.05, 0.08)),
            confidence=maybe(st.floats(0.5, 1.0)),
            volatility=maybe(st.floats(0.001, 0.08)),
            age=maybe(st.floats(0.0, 600.0)),
            tradable=maybe(st.just(1.0)),
        )
        for s in symbols
    }
    owned = draw(st.sets(st.sampled_from(symbols), max_size=8))
    positions = [
        held(s, draw(st.integers(1, 60)), round(abs(quotes[s].price) * draw(st.floats(0.9, 1.1)), 2) + 0.01)
        for s in sorted(owned)
        if math.isfinite(quotes[s].price) and 0.01 < quotes[s].price < 1e9
    ]
    pending = draw(st.sets(st.sampled_from(symbols), max_size=3)) - owned
    cash = draw(st.integers(0, 150_000))
    book = book_of(
        positions,
        quotes=quotes,
        cash=cash,
        buying_power=Decimal(draw(st.integers(0, 150_000))),
        open_orders=tuple(open_order(s, quantity=Decimal(draw(st.integers(1, 40)))) for s in sorted(pending)),
        entries_today={s: draw(st.integers(0, 3)) for s in sorted(owned)},
    )
    standing = risk_of(draw(st.sampled_from(TradingState))) if absurd else risk_of()
    fresh = replace(standing, baseline_equity=max(book.equity, Decimal(1)), high_water_equity=max(book.equity, Decimal(1)))
    if absurd and draw(st.booleans()):
        nonsense = Decimal(repr(draw(ABSURD)))
        book = replace(book, **{draw(st.sampled_from(["equity", "cash", "buying_power", "previous_close_equity"])): nonsense})
        book = replace(book, session=draw(st.sampled_from(["2024-03-05", "2024-03-06"])))
    return quotes, replace(book, risk=fresh)


def assert_limits_hold(quotes: dict[str, Quote], book: Book, decision: Decision) -> None:
    """Recomputed at the worst prices the orders may pay, in exact numbers, as if every entry filled and no exit did."""
    entries = [v.order for v in decision.orders if v.order.purpose is Purpose.ENTRY]
    equity = book.equity
    gross = sum((p.quantity * Decimal(repr(quotes[p.symbol].price)) for p in book.positions.values()), Decimal(0))
    gross += sum((o.quantity * o.price for o in book.open_orders if o.price and o.purpose is Purpose.ENTRY), Decimal(0))
    taken = set(book.positions) | {o.symbol for o in book.open_orders}
    spent = Decimal(0)
    for order in entries:
        assert order.limit_price is not None and order.stop_loss_price is not None and order.take_profit_price is not None
        price = Decimal(repr(quotes[order.symbol].price))
        value = order.quantity * order.limit_price
        gross, spent = gross + value, spent + value
        assert order.symbol not in taken
        taken.add(order.symbol)
        assert value <= equity * Decimal("0.10")
        assert gross <= equity * Decimal("0.80")
        assert len(taken) <= 7
        assert (order.limit_price - order.stop_loss_price) * order.quantity <= equity * Decimal("0.01")
        assert price < order.limit_price <= price * Decimal("1.005") or order.limit_price == price
        assert order.stop_loss_price < order.limit_price < order.take_profit_price
        assert (order.type, order.side, order.time_in_force) == (OrderType.LIMIT, Side.BUY, TimeInForce.GTC)
        assert order.order_class is OrderClass.BRACKET
        assert order.quantity == order.quantity.to_integral_value() > 0
    if entries:
        assert spent <= min(book.buying_power, book.cash)
        assert decision.risk.trading_state is TradingState.ACTIVE


def assert_shape(quotes: dict[str, Quote], book: Book, decision: Decision) -> None:
    assert [r.symbol for r in decision.records] == list(quotes)
    sent = [v.order for v in decision.orders]
    assert len({o.symbol for o in sent}) == len(sent)
    sides = [o.side for o in sent]
    assert sides == sorted(sides, key=lambda s: s is Side.BUY), "exits come first"
    for order in sent:
        record = record_of(decision, order.symbol)
        assert record.reason <= Reason.FLATTEN and (record.side, record.quantity) == (order.side, order.quantity)
        assert order.reason == record.reason.code
        if order.purpose is Purpose.EXIT:
            assert order.side is Side.SELL and order.quantity == book.positions[order.symbol].quantity
    assert {r.symbol for r in decision.records if r.reason <= Reason.FLATTEN} == {o.symbol for o in sent}


@pytest.mark.row("H08", "I07")
@settings(max_examples=150, deadline=None)
@given(worlds())
def test_limits_hold_for_every_universe(world: tuple[dict[str, Quote], Book]) -> None:
    quotes, book = world
    decision = decided(quotes, book)
    assert_limits_hold(quotes, book, decision)
    assert_shape(quotes, book, decision)


@pytest.mark.row("G03", "H05")
@settings(max_examples=200, deadline=None)
@given(worlds(absurd=True))
def test_nonsense_refuses_and_never_raises(world: tuple[dict[str, Quote], Book]) -> None:
    quotes, book = world
    decision = decided(quotes, book)
    assert_shape(quotes, book, decision)
    for validated in decision.orders:
        quote = quotes[validated.order.symbol]
        assert quote.tradable > 0
        if validated.order.purpose is Purpose.ENTRY:
            assert 0 < quote.price < math.inf and quote.age <= LIMITS.max_price_age_seconds
            assert 0 < quote.volatility < math.inf and 0.7 <= quote.confidence <= 1.0
            assert quote.expected is not None and 0.005 <= quote.expected + 1e-12 < math.inf


@settings(max_examples=100, deadline=None)
@given(worlds(), st.randoms(use_true_random=False))
def test_order_of_symbols_does_not_matter(world: tuple[dict[str, Quote], Book], random: object) -> None:
    quotes, book = world
    expected = [q.expected for q in quotes.values()]
    if len(set(expected)) < len(expected):  # ties are settled by the order of symbols, on purpose
        return
    shuffled = list(quotes.items())
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    one, other = decided(quotes, book), decided(dict(shuffled), book)
    assert reasons(one) == reasons(other)
    assert {v.order.client_order_id: v.order for v in one.orders} == {v.order.client_order_id: v.order for v in other.orders}
    assert set(one.cancels) == set(other.cancels)
    assert one.risk == other.risk


@settings(max_examples=60, deadline=None)
@given(worlds(absurd=True))
def test_recordings_round_trip_and_decide_the_same(world: tuple[dict[str, Quote], Book]) -> None:
    quotes, book = world
    inputs = Inputs(view=view_of(quotes), book=book, context=context_of(quotes), limits=LIMITS, policy=POLICY)
    text = json.dumps(to_json(inputs), allow_nan=False)
    again = from_json(json.loads(text))
    assert json.dumps(to_json(again), allow_nan=False) == text
    for name in ("price", "age_seconds", "volatility", "tradable"):
        np.testing.assert_array_equal(getattr(again.view, name), getattr(inputs.view, name))
    one = decide(inputs.view, inputs.book, inputs.context, inputs.limits, inputs.policy)
    other = decide(again.view, again.book, again.context, again.limits, again.policy)
    assert (one.orders, one.cancels, one.alerts, reasons(one)) == (other.orders, other.cancels, other.alerts, reasons(other))


def test_client_order_ids_are_pure_and_tell_cycles_apart() -> None:
    quotes = {"A": Quote(expected=0.03), "B": Quote(expected=0.04)}
    one, other = decided(quotes, book_of()), decided(quotes, book_of())
    ids = [v.order.client_order_id for v in one.orders]
    assert ids == [v.order.client_order_id for v in other.orders]
    later = decide(view_of(quotes), book_of(), context_of(quotes, "cycle-2"), LIMITS, POLICY)
    assert not set(ids) & {v.order.client_order_id for v in later.orders}
    assert len(set(ids)) == 2 and all(len(i) <= 48 for i in ids)


def test_an_exit_cancels_its_protective_legs_and_nothing_else() -> None:
    quotes = {"A": Quote(price=94.0), "B": Quote()}
    legs = tuple(
        open_order(s, purpose=Purpose.EXIT, client_order_id=f"{s}-{n}", protective=True)
        for s in "AB"
        for n in ("profit", "stop")
    )
    book = book_of([held("A", 10, 100), held("B", 10, 100)], quotes=quotes, cash=98_000, open_orders=legs)
    decision = decided(quotes, book)
    assert set(decision.cancels) == {"A-profit", "A-stop"}
    assert [v.order.symbol for v in decision.orders] == ["A"]


def test_left_over_entries_are_cancelled_but_never_those_of_a_person_or_of_unknown_fate() -> None:
    quotes = {s: Quote() for s in "ABC"}
    orders = (open_order("A"), open_order("B", external=True), open_order("C", at_venue=False))
    decision = decided(quotes, book_of(open_orders=orders))
    assert decision.cancels == ("A-entry",)
    person = open_order("A", purpose=Purpose.EXIT, external=True, protective=True)
    leaving = {"A": Quote(price=90.0)}
    decision = decided(leaving, book_of([held("A", 10, 100)], quotes=leaving, cash=99_000, open_orders=(person,)))
    assert decision.cancels == ()


@pytest.mark.parametrize("state", list(TradingState))
def test_an_entry_of_the_present_slot_rests_unless_entries_are_forbidden(state: TradingState) -> None:
    quotes = {"A": Quote()}
    book = book_of(open_orders=(open_order("A", stale=False),), risk=risk_of(state))
    assert decided(quotes, book).cancels == (() if state is TradingState.ACTIVE else ("A-entry",))


@pytest.mark.parametrize("state", [TradingState.REDUCING, TradingState.HALTED, TradingState.FLATTENING])
def test_entries_need_the_active_state(state: TradingState) -> None:
    quotes = {"A": Quote(price=94.0), "B": Quote(expected=0.05)}
    book = book_of([held("A", 10, 100)], quotes=quotes, cash=99_000, risk=risk_of(state))
    sides = {v.order.side for v in decided(quotes, book).orders}
    assert sides == (set() if state is TradingState.HALTED else {Side.SELL})


def test_books_that_differ_from_the_venue_stop_entries() -> None:
    decision = decided({"A": Quote(expected=0.05)}, book_of(reconciled=False))
    assert not decision.orders
    assert decision.risk.trading_state is TradingState.REDUCING


@pytest.mark.row("F07", "I03")
def test_the_baseline_is_taken_once_a_session_and_the_epoch_grows_with_change() -> None:
    quotes = {"A": Quote()}
    same = decided(quotes, book_of())
    assert same.risk == book_of().risk
    rolled = decided(quotes, book_of(session="2024-03-06", previous_close_equity=Decimal(99_500)))
    assert (rolled.risk.baseline_session, rolled.risk.baseline_equity, rolled.risk.epoch) == ("2024-03-06", 99_500, 1)
    bad = decided(quotes, book_of(session="2024-03-06", previous_close_equity=Decimal("NaN")))
    assert bad.risk.baseline_equity == CAPITAL
