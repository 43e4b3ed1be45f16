"""The matching rule: a table of cases, a plain loop it must agree with, and laws no fill may break."""

from dataclasses import replace
from decimal import Decimal as D

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import OrderType, Side
from app.engine.costs import FREE, CostModel
from app.engine.matching import Progress, Terms, first_exit, first_fill, follow
from app.engine.path import MinutePath

ACME = Instrument(symbol="ACME")
B, S = Side.BUY, Side.SELL
T = OrderType


def bars(*rows):
    """Rows of (open, high, low)."""
    o, h, lo = (np.array(column, dtype=np.float64) for column in zip(*rows, strict=True))
    return MinutePath(o, h, lo, o, np.ones_like(o))


def fill(side, kind, tape, *, limit=None, stop=None, start=0, costs=FREE, triggered=False):
    terms = Terms(side=side, type=kind, limit_price=limit and D(limit), stop_price=stop and D(stop))
    found = first_fill(terms, D(7), tape, start, instrument=ACME, costs=costs, progress=Progress(triggered))
    return None if found is None else (found.bar_index, float(found.price))


FLAT = (100, 101, 99)
TABLE = [
    # what happens, side, type, limit, stop, bars, expected
    ("market: next open", B, T.MARKET, None, None, [FLAT], (0, 100.0)),
    ("limit untouched", B, T.LIMIT, "98.99", None, [FLAT], None),
    ("limit at the touch", B, T.LIMIT, "99", None, [FLAT], (0, 99.0)),
    ("limit better than asked at a gap", B, T.LIMIT, "102", None, [FLAT], (0, 100.0)),
    ("limit in a later bar", B, T.LIMIT, "97", None, [FLAT, (98, 99, 96)], (1, 97.0)),
    ("sell limit at the touch", S, T.LIMIT, "101", None, [FLAT], (0, 101.0)),
    ("sell limit through a gap up", S, T.LIMIT, "101", None, [(100, 100.5, 99), (103, 104, 102)], (1, 103.0)),
    ("stop sell inside a bar", S, T.STOP, None, "99.5", [FLAT], (0, 99.5)),
    ("stop sell through a gap", S, T.STOP, None, "99.5", [(100, 101, 99.6), (95, 96, 94)], (1, 95.0)),
    ("stop buy inside a bar", B, T.STOP, None, "100.5", [FLAT], (0, 100.5)),
    ("stop buy through a gap", B, T.STOP, None, "100.5", [(100, 100.4, 99), (102, 105, 101)], (1, 102.0)),
    ("stop-limit inside a bar", B, T.STOP_LIMIT, "100.6", "100.5", [FLAT], (0, 100.5)),
    ("stop-limit opened beyond, comes back", B, T.STOP_LIMIT, "100.6", "100.5", [(102, 103, 100.2)], (0, 100.6)),
    ("stop-limit gapped away, never back", B, T.STOP_LIMIT, "100.6", "100.5", [(102, 103, 101)], None),
    ("stop-limit gapped away, back later", B, T.STOP_LIMIT, "100.6", "100.5", [(102, 103, 101), FLAT], (1, 100.0)),
    ("limit beyond stop waits for the next bar", S, T.STOP_LIMIT, "100.8", "99.5", [FLAT, FLAT], (1, 100.8)),
    ("a bar without prices is passed over", B, T.MARKET, None, None, [(np.nan,) * 3, FLAT], (1, 100.0)),
    ("nothing touches a bar without prices", S, T.STOP, None, "500", [(np.nan,) * 3], None),
]


@pytest.mark.parametrize(
    ("side", "kind", "limit", "stop", "rows", "expected"), [r[1:] for r in TABLE], ids=[r[0] for r in TABLE]
)
def test_matching_table(side, kind, limit, stop, rows, expected):
    assert fill(side, kind, bars(*rows), limit=limit, stop=stop) == expected


def test_slippage_worsens_market_and_stop_only():
    costs = CostModel(slippage_bps=D(10))
    assert fill(B, T.MARKET, bars(FLAT), costs=costs) == (0, 100.1)
    assert fill(S, T.MARKET, bars(FLAT), costs=costs) == (0, 99.9)
    assert fill(S, T.STOP, bars(FLAT), stop="99.5", costs=costs) == (0, 99.4)
    assert fill(B, T.LIMIT, bars(FLAT), limit="99.5", costs=costs) == (0, 99.5)
    assert fill(B, T.STOP_LIMIT, bars(FLAT), stop="100.5", limit="100.55", costs=costs) == (0, 100.55)


def test_a_triggered_stop_limit_is_a_limit_order():
    tape = bars((102, 103, 101), FLAT)
    terms = Terms(side=B, type=T.STOP_LIMIT, limit_price=D("100.6"), stop_price=D("100.5"))
    assert follow(terms, tape, 0, end=1) == Progress(triggered=True)
    assert fill(B, T.STOP_LIMIT, tape, stop="100.5", limit="100.6", start=1, triggered=True) == (1, 100.0)


EXITS = [
    ("neither", [FLAT], None),
    ("take-profit", [(100, 106, 99)], (0, 105.0, False)),
    ("stop", [(100, 101, 94)], (0, 95.0, True)),
    ("both in one bar: the stop counts", [(100, 106, 94)], (0, 95.0, True)),
    ("opens beyond the take-profit: that came first", [(106, 107, 94)], (0, 106.0, False)),
    ("opens below the stop", [(93, 106, 92)], (0, 93.0, True)),
    ("take-profit in an earlier bar", [(100, 105, 99), (100, 101, 90)], (0, 105.0, False)),
    ("stop in an earlier bar", [(100, 101, 95), (110, 111, 109)], (0, 95.0, True)),
]


@pytest.mark.parametrize(("rows", "expected"), [e[1:] for e in EXITS], ids=[e[0] for e in EXITS])
def test_bracket_exits(rows, expected):
    gain = Terms(side=S, type=T.LIMIT, limit_price=D(105))
    loss = Terms(side=S, type=T.STOP, stop_price=D(95))
    found = first_exit(gain, loss, D(7), bars(*rows), 0, instrument=ACME, costs=FREE)
    assert (None if found is None else (found.bar_index, float(found.price), found.is_stop)) == expected


def test_a_missing_price_is_an_error():
    with pytest.raises(InvalidInput):
        fill(B, T.LIMIT, bars(FLAT))


cents = st.integers(9_000, 11_000).map(lambda n: n / 100)


@st.composite
def tapes(draw):
    rows = []
    for _ in range(draw(st.integers(1, 12))):
        o, a, b = (draw(cents) for _ in range(3))
        rows.append((o, max(o, a, b), min(o, a, b)))
    return bars(*rows)


@st.composite
def orders(draw):
    price = cents.map(lambda x: D(str(x)))
    kind = draw(st.sampled_from([T.MARKET, T.LIMIT, T.STOP, T.STOP_LIMIT]))
    return Terms(
        side=draw(st.sampled_from(Side)),
        type=kind,
        limit_price=draw(price) if kind in {T.LIMIT, T.STOP_LIMIT} else None,
        stop_price=draw(price) if kind in {T.STOP, T.STOP_LIMIT} else None,
    )


def slow_fill(order, tape, start):
    """The rule again, one bar after the other, with free trading."""
    buy, stopped = order.side is B, order.type not in {T.STOP, T.STOP_LIMIT}
    better, worse = (min, max) if buy else (max, min)
    for i in range(start, len(tape.open)):
        opened = D(str(float(tape.open[i])))
        top, bottom = D(str(float(tape.high[i]))), D(str(float(tape.low[i])))
        at_open = stopped
        if not stopped:
            reached = top >= order.stop_price if buy else bottom <= order.stop_price
            if not reached:
                continue
            stopped = True
            at_open = opened >= order.stop_price if buy else opened <= order.stop_price
            if order.type is T.STOP and order.side is S:
                return i, worse(opened, order.stop_price)
            if order.type is T.STOP:
                order = replace(order, limit_price=ACME.price_down(order.stop_price * D("1.025")))
                if opened <= order.limit_price:
                    return i, worse(opened, order.stop_price)
            if not at_open:
                if order.limit_price == better(order.limit_price, order.stop_price) != order.stop_price:
                    continue
                return i, order.stop_price
        if order.type is T.MARKET:
            return i, opened
        if (bottom <= order.limit_price) if buy else (top >= order.limit_price):
            return i, better(opened, order.limit_price)
    return None


@given(order=orders(), tape=tapes(), data=st.data())
@settings(max_examples=200, deadline=None)
def test_arrays_agree_with_the_plain_loop(order, tape, data):
    start = data.draw(st.integers(0, len(tape.open)))
    found = first_fill(order, D(7), tape, start, instrument=ACME, costs=FREE)
    assert (None if found is None else (found.bar_index, found.price)) == slow_fill(order, tape, start)


@given(order=orders(), tape=tapes(), bps=st.integers(0, 50))
@settings(max_examples=200, deadline=None)
def test_no_fill_breaks_a_law(order, tape, bps):
    found = first_fill(order, D(7), tape, 0, instrument=ACME, costs=CostModel(slippage_bps=D(bps)))
    assume(found is not None)
    index, price, _ = found
    slip = price * D(bps) / 9_000 + D("0.005")
    assert D(str(float(tape.low[index]))) - slip <= price <= D(str(float(tape.high[index]))) + slip
    assert price == ACME.price_nearest(price)
    if order.limit_price is not None:
        assert (order.limit_price - price) * order.side.sign >= 0


@given(order=orders(), tape=tapes(), data=st.data())
@settings(max_examples=120, deadline=None)
def test_a_later_start_never_fills_earlier_and_windows_join(order, tape, data):
    n = len(tape.open)
    first, second = sorted(data.draw(st.tuples(st.integers(0, n), st.integers(0, n))))
    early, late = (first_fill(order, D(7), tape, s, instrument=ACME, costs=FREE) for s in (first, second))
    if late is not None:
        assert early is not None
        assert early.bar_index <= late.bar_index
    # Matching [0, cut) and then [cut, n), carrying the trigger, equals matching [0, n).
    cut, whole = first, first_fill(order, D(7), tape, 0, instrument=ACME, costs=FREE)
    part = first_fill(order, D(7), tape, 0, end=cut, instrument=ACME, costs=FREE)
    if part is None:
        progress = follow(order, tape, 0, end=cut)
        part = first_fill(order, D(7), tape, cut, instrument=ACME, costs=FREE, progress=progress)
    assert part == whole


def test_commission():
    model = CostModel(commission_bps=D(10), commission_per_share=D("0.01"), minimum_commission=D(1))
    assert model.commission(D(10), D(100)) == D("1.1")
    assert model.commission(D(1), D(10)) == D(1)
    assert FREE.commission(D(10), D(100)) == 0
    with pytest.raises(InvalidInput):
        CostModel(slippage_bps=D(-1))
    assert CostModel(slippage_bps=D(9999)).fill_price(D("0.0001"), S, ACME) == D("0.0001")
