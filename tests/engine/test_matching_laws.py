"""The matching rule against a plain loop over bars, for every type and time in force, and laws no fill may break."""

from dataclasses import replace
from datetime import UTC, datetime
from decimal import ROUND_FLOOR
from decimal import Decimal as D
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from app.domain.instrument import Instrument
from app.domain.order import Fill, OrderType, Side, TimeInForce
from app.domain.portfolio import Portfolio, apply_fill
from app.engine.costs import FREE, UNLIMITED, CostModel, Liquidity
from app.engine.matching import FRESH, Progress, Terms, first_exit, first_fill, follow, trailing_stop
from app.engine.path import MinutePath

ACME = Instrument(symbol="ACME", quantity_step=D("0.000000001"))
B, S = Side.BUY, Side.SELL
T, F = OrderType, TimeInForce
RESTING = (F.DAY, F.GTC, F.OPG, F.CLS)  # what may be matched in pieces of the session
STOPS = (T.STOP, T.STOP_LIMIT)


@st.composite
def prices(draw, base):
    return base + draw(st.integers(-20, 20)) / 4


@st.composite
def tapes(draw, base=100):
    """Up to 10 bars on a coarse grid, so that prices often meet exactly; some without a trade, some without volume."""
    rows = []
    for _ in range(draw(st.sampled_from([1, 3, 5, 8]))):
        o, a, b, c = (draw(prices(base)) for _ in range(4))
        volume = draw(st.sampled_from([0, 0, 5, 40, 1000]))
        missing = draw(st.integers(0, 7)) == 0
        rows.append((*[np.nan] * 4, 0) if missing else (o, max(o, a, b, c), min(o, a, b, c), c, volume))
    return MinutePath(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))


@st.composite
def orders(draw, base=100, kinds=tuple(OrderType), tifs=tuple(TimeInForce)):
    kind = draw(st.sampled_from(kinds))
    price = prices(base).map(lambda x: D(str(x)))
    trails = {
        "trail_price": st.sampled_from([D("0.25"), D(1), D("2.5")]),
        "trail_percent": st.sampled_from([D("0.5"), D("1.3")]),
    }
    trail = draw(st.sampled_from(sorted(trails)))
    return Terms(
        side=draw(st.sampled_from(Side)),
        type=kind,
        time_in_force=draw(st.sampled_from(tifs)),
        limit_price=draw(price) if kind in {T.LIMIT, T.STOP_LIMIT} else None,
        stop_price=draw(price) if kind in STOPS else None,
        **({trail: draw(trails[trail])} if kind is T.TRAILING_STOP else {}),
    )


def windows(tape):
    """Where the session is cut: nowhere, anywhere, or after every minute."""
    length = len(tape.open)
    return st.one_of(st.lists(st.integers(0, length), max_size=3), st.just(range(length)))


quantities = st.one_of(st.integers(1, 60).map(D), st.sampled_from([D("0.4"), D("2.5"), D("30.75")]))
liquidities = st.one_of(
    st.just(UNLIMITED),
    st.builds(
        Liquidity,
        participation=st.sampled_from([None, D("0.05"), D("0.3")]),
        partial_probability=st.sampled_from([D(0), D("0.5"), D(1)]),
        seed=st.integers(0, 3),
    ),
)


class Resting:
    """An order as the plain loop carries it from bar to bar."""

    def __init__(self, order):
        self.order, self.kind, self.limit, self.mark = order, order.type, order.limit_price, None
        self.buy = order.side is B
        self.better, self.worse = (min, max) if self.buy else (max, min)

    def beyond(self, price, level):
        """Whether a price has gone as far as a stop."""
        return price >= level if self.buy else price <= level

    def trigger(self):
        if self.order.type is T.STOP and self.buy:
            stop = self.order.stop_price
            self.limit = ACME.price_down(stop * (D("1.04") if stop < 50 else D("1.025")))
        self.kind = T.MARKET if self.limit is None else T.LIMIT

    def touch(self, o, h, low, c):
        """The price at which a bar would fill the order, None when it does not; triggers and marks are remembered."""
        if self.kind is T.MARKET:
            return o
        if self.kind is T.LIMIT:
            reached = low <= self.limit if self.buy else h >= self.limit
            return self.better(o, self.limit) if reached else None
        if self.kind is T.TRAILING_STOP:
            return self.trail(o, h, low, c)
        stop = self.order.stop_price
        if not self.beyond(h if self.buy else low, stop):
            return None
        self.trigger()
        if self.kind is T.MARKET:
            return self.worse(o, stop)
        if self.beyond(o, stop):
            return self.touch(o, h, low, c)
        return stop if self.better(stop, self.limit) == stop else None

    def trail(self, o, h, low, c):
        self.mark = o if self.mark is None else self.mark
        stop = trailing_stop(self.order, self.mark)
        if self.beyond(h if self.buy else low, stop):
            self.trigger()
            return ACME.price_nearest(self.worse(o, stop))
        self.mark = self.better(self.mark, low if self.buy else h)
        stop = trailing_stop(self.order, self.mark)
        if self.beyond(c, stop):
            self.trigger()
            return ACME.price_nearest(stop)
        return None


def bar(tape, i):
    return [D(repr(float(array[i]))) for array in tape]


def share(quantity, volume, liquidity):
    """What a bar gives of a quantity."""
    if liquidity.participation is None:
        return quantity
    step = D(1) if quantity == int(quantity) else ACME.quantity_step
    return min(quantity, (volume * liquidity.participation / step).to_integral_value(ROUND_FLOOR) * step)


def auction(order, tape, i):
    opening = order.time_in_force is F.OPG
    if order.type not in {T.MARKET, T.LIMIT} or i != (0 if opening else len(tape.open) - 1):
        return None
    o, _, _, c, _ = bar(tape, i)
    price = o if opening else c
    within = order.limit_price is None or (order.limit_price - price) * order.side.sign >= 0
    return price if within else None


def slow_run(order, quantity, tape, start, liquidity, key):
    """Every fill of an order in a session, one bar after the other, free of cost."""
    resting, left, fills = Resting(order), quantity, []
    for i in range(start, len(tape.open)):
        if i > start and order.time_in_force in {F.IOC, F.FOK}:
            break
        if np.isnan(tape.open[i]):
            continue
        o, h, low, c, volume = bar(tape, i)
        price = auction(order, tape, i) if order.time_in_force in {F.OPG, F.CLS} else resting.touch(o, h, low, c)
        part = share(left, volume, liquidity)
        if order.time_in_force is F.FOK:
            part = part if part == left else 0
        elif not fills:
            part = min(part, liquidity.first_part(quantity, key))
        if price is not None and part:
            fills.append((i, price, part))
            left -= part
        if not left:
            break
    return fills


def fast_run(order, quantity, tape, start, liquidity, key, cuts=()):
    """The same by `first_fill` and `follow`, the session given in windows that end at `cuts`."""
    left, fills, progress = quantity, [], FRESH
    for end in [*sorted(cuts), len(tape.open)]:
        while start < end and left:
            name = "" if fills else key
            terms = {"instrument": ACME, "costs": FREE, "liquidity": liquidity, "progress": progress, "key": name}
            found = first_fill(order, left, tape, start, end=end, **terms)
            stop = end if found is None else found.bar_index + 1
            progress, start = follow(order, tape, start, end=stop, progress=progress), stop
            if found is not None:
                fills.append(tuple(found))
                left -= found.quantity
            if order.time_in_force in {F.IOC, F.FOK}:
                return fills
    return fills


@pytest.mark.parametrize("tifs", [(F.GTC,), tuple(TimeInForce)], ids=["resting", "any"])
@pytest.mark.parametrize("kind", OrderType)
@given(data=st.data(), base=st.sampled_from([40, 100]), quantity=quantities, liquidity=liquidities)
@settings(max_examples=100, deadline=None)
def test_arrays_agree_with_the_plain_loop_however_the_session_is_cut(kind, tifs, data, base, quantity, liquidity):
    order, tape = data.draw(orders(base, kinds=(kind,), tifs=tifs)), data.draw(tapes(base))
    start = data.draw(st.integers(0, len(tape.open)))
    cuts = data.draw(windows(tape)) if order.time_in_force in RESTING else []
    expected = slow_run(order, quantity, tape, start, liquidity, "key")
    assert fast_run(order, quantity, tape, start, liquidity, "key", cuts) == expected


@given(data=st.data(), base=st.sampled_from([40, 100]), quantity=quantities, liquidity=liquidities)
@settings(max_examples=150, deadline=None)
def test_no_fill_breaks_a_law(data, base, quantity, liquidity):
    order, tape = data.draw(orders(base)), data.draw(tapes(base))
    costs = CostModel(slippage_bps=data.draw(st.sampled_from([D(0), D(25)])))
    found = first_fill(order, quantity, tape, 0, instrument=ACME, costs=costs, liquidity=liquidity, key="key")
    assume(found is not None)
    low, high = D(repr(float(tape.low[found.bar_index]))), D(repr(float(tape.high[found.bar_index])))
    slip = high * costs.slippage_bps / 10_000 + D("0.005")
    best, worst = (low, high + slip) if order.side is B else (high, low - slip)
    sign = order.side.sign
    assert best * sign <= found.price * sign <= worst * sign
    assert found.price == ACME.price_nearest(found.price)
    assert 0 < found.quantity <= quantity
    if liquidity.participation is not None:
        assert found.quantity <= D(repr(float(tape.volume[found.bar_index]))) * liquidity.participation
    if order.limit_price is not None:
        assert (order.limit_price - found.price) * sign >= 0
    if order.type is T.STOP and order.side is B:
        assert found.price <= order.stop_price * D("1.04")


@given(data=st.data(), quantity=quantities, liquidity=liquidities)
@settings(max_examples=150, deadline=None)
def test_bars_that_are_not_over_change_nothing(data, quantity, liquidity):
    """Other bars from a cut on, and none at all: every fill and memory before the cut stays the same."""
    order, tape, other = data.draw(orders()), data.draw(tapes()), data.draw(tapes())
    cut = data.draw(st.integers(0, len(tape.open)))
    length = len(tape.open)
    changed = MinutePath(*(np.concatenate([a[:cut], np.resize(b, length)[cut:]]) for a, b in zip(tape, other, strict=True)))
    terms = {"instrument": ACME, "costs": CostModel(), "liquidity": liquidity, "key": "key"}
    found, again = (first_fill(order, quantity, t, 0, **terms) for t in (tape, changed))
    if found is not None and found.bar_index < cut:
        assert again == found
    assert first_fill(order, quantity, tape, 0, end=cut, **terms) == first_fill(order, quantity, changed, 0, end=cut, **terms)
    assert follow(order, tape, 0, end=cut) == follow(order, changed, 0, end=cut)
    if order.time_in_force is not F.CLS:  # the closing auction has to know which bar is the last
        prefix = MinutePath(*(array[:cut] for array in tape))
        assert first_fill(order, quantity, prefix, 0, **terms) == first_fill(order, quantity, tape, 0, end=cut, **terms)


@given(order=orders(kinds=(T.TRAILING_STOP,), tifs=(F.GTC,)), tape=tapes(), start=st.sampled_from([None, D(99), D(101)]))
@settings(max_examples=100, deadline=None)
def test_a_trailing_stop_never_goes_back(order, tape, start):
    sign, marks = order.side.sign, [start]
    for i in range(len(tape.open)):
        progress = follow(order, tape, 0, end=i + 1, progress=Progress(mark=start))
        marks.append(progress.mark)
        if progress.triggered:
            break
    known = [mark for mark in marks if mark is not None]
    assert all((later - earlier) * sign <= 0 for earlier, later in pairwise(known))
    stops = [trailing_stop(order, mark) for mark in known]
    assert all((later - earlier) * sign <= 0 for earlier, later in pairwise(stops))


@given(data=st.data(), quantity=quantities, liquidity=liquidities)
@settings(max_examples=100, deadline=None)
def test_pieces_add_up_and_move_cash_and_shares_only(data, quantity, liquidity):
    order, tape = data.draw(orders(tifs=(F.DAY,))), data.draw(tapes())
    fills = fast_run(order, quantity, tape, 0, liquidity, "key")
    filled = sum(part for _, _, part in fills)
    assert filled <= quantity
    if fills and liquidity is UNLIMITED:
        assert [part for _, _, part in fills] == [quantity]
    indices = [i for i, _, _ in fills]
    assert indices == sorted(set(indices))  # one piece a bar
    book = Portfolio(cash=D(1_000_000))
    for number, (_, price, part) in enumerate(fills):
        before = book
        fill = Fill(
            execution_id=f"{number}",
            venue_order_id="1",
            symbol="ACME",
            side=order.side,
            quantity=part,
            price=price,
            filled_at=datetime(2024, 1, 2, 15, tzinfo=UTC),
            commission=FREE.commission(part, price),
        )
        book = apply_fill(book, fill)
        assert book.mark({"ACME": price}) == before.mark({"ACME": price})
        half = replace(fill, quantity=part / 2)
        assert apply_fill(apply_fill(before, half), half).cash == book.cash
    held = book.positions.get("ACME")
    assert (held.quantity if held else 0) == filled * order.side.sign


@st.composite
def legs(draw):
    """A take-profit and a stop-loss of one side, take-profit on the better one."""
    side = draw(st.sampled_from(Side))
    near, far = sorted(D(str(draw(prices(100)))) for _ in range(2))
    gain, loss = (near, far + 1) if side is B else (far + 1, near)
    kind = draw(st.sampled_from(STOPS))
    limit = loss + side.sign * draw(st.integers(-2, 4)) / D(4) if kind is T.STOP_LIMIT else None
    return (
        Terms(side=side, type=T.LIMIT, time_in_force=F.GTC, limit_price=gain),
        Terms(side=side, type=kind, time_in_force=F.GTC, stop_price=loss, limit_price=limit),
    )


def slow_exits(gain, loss, quantity, tape, liquidity, key):
    """Every fill of a pair of legs, one bar after the other: a bar fills one of them at most."""
    first, second, left, fills = Resting(gain), Resting(loss), quantity, []
    for i in range(len(tape.open)):
        if np.isnan(tape.open[i]) or not left:
            continue
        o, h, low, c, volume = bar(tape, i)
        profit, stopped = first.touch(o, h, low, c), second.touch(o, h, low, c)
        opened = (gain.limit_price - o) * gain.side.sign >= 0
        price, is_stop = (profit, False) if stopped is None or (profit is not None and opened) else (stopped, True)
        part = share(left, volume, liquidity)
        part = part if fills else min(part, liquidity.first_part(quantity, key))
        if price is not None and part:
            fills.append((i, price, part, is_stop))
            left -= part
    return fills


@given(pair=legs(), tape=tapes(), quantity=quantities, liquidity=liquidities, data=st.data())
@settings(max_examples=150, deadline=None)
def test_exits_agree_with_the_plain_loop_and_never_sell_twice(pair, tape, quantity, liquidity, data):
    (gain, loss), left, fills, progress, start = pair, quantity, [], FRESH, 0
    for end in [*sorted(data.draw(windows(tape))), len(tape.open)]:
        while start < end and left:
            key = "" if fills else "key"
            terms = {"instrument": ACME, "costs": FREE, "liquidity": liquidity, "progress": progress, "key": key}
            found = first_exit(gain, loss, left, tape, start, end=end, **terms)
            stop = end if found is None else found.bar_index + 1
            progress, start = follow(loss, tape, start, end=stop, progress=progress), stop
            if found is not None:
                fills.append(tuple(found))
                left -= found.quantity
    assert fills == slow_exits(gain, loss, quantity, tape, liquidity, "key")
    assert sum(part for _, _, part, _ in fills) == quantity - left <= quantity
    assert len({i for i, *_ in fills}) == len(fills)
