"""The matching rule, case by case."""

from decimal import Decimal as D

import numpy as np
import pytest

from app.domain.errors import InvalidInput
from app.domain.instrument import Instrument
from app.domain.order import OrderType, Side, TimeInForce
from app.engine.costs import FREE, UNLIMITED, CostModel, Liquidity
from app.engine.matching import FRESH, Progress, Terms, first_exit, first_fill, follow, trailing_stop
from app.engine.path import MinutePath

ACME = Instrument(symbol="ACME")
B, S = Side.BUY, Side.SELL
T, F = OrderType, TimeInForce


def bars(*rows):
    """Rows of (open, high, low[, close[, volume]]); the close is the open and the volume 100 unless given."""
    rows = [(*row, *(row[0], 100)[len(row) - 3 :]) for row in rows]
    return MinutePath(*(np.array(column, dtype=np.float64) for column in zip(*rows, strict=True)))


def fill(side, kind, tape, *, limit=None, stop=None, start=0, costs=FREE, progress=FRESH):
    terms = Terms(side=side, type=kind, limit_price=limit and D(limit), stop_price=stop and D(stop))
    found = first_fill(terms, D(7), tape, start, instrument=ACME, costs=costs, progress=progress)
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
    ("stop buy opened at its collar of 2.5 %", B, T.STOP, None, "100", [(102.5, 105, 102)], (0, 102.5)),
    ("stop buy opened beyond its collar, comes back", B, T.STOP, None, "100", [(104, 105, 102)], (0, 102.5)),
    ("stop buy beyond its collar rests there", B, T.STOP, None, "100", [(104, 105, 103), (101, 102, 100)], (1, 101.0)),
    ("stop buy below 50 has a collar of 4 %", B, T.STOP, None, "49.99", [(55, 56, 40)], (0, 51.98)),
    ("stop sell has no collar", S, T.STOP, None, "100", [(50, 60, 40)], (0, 50.0)),
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
    assert fill(B, T.STOP, bars((102.45, 103, 102)), stop="100", costs=costs) == (0, 102.5)


def test_a_triggered_stop_limit_is_a_limit_order():
    tape = bars((102, 103, 101), FLAT)
    terms = Terms(side=B, type=T.STOP_LIMIT, limit_price=D("100.6"), stop_price=D("100.5"))
    assert follow(terms, tape, 0, end=1) == Progress(triggered=True)
    assert fill(B, T.STOP_LIMIT, tape, stop="100.5", limit="100.6", start=1, progress=Progress(triggered=True)) == (1, 100.0)


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


TRAILS = [
    # what happens, side, trail in dollars, bars, mark at acceptance, expected fill, mark at the end
    ("never touched: the mark moves", S, "2", [(100, 101, 99, 101), (101, 103, 100.5, 102)], "100", None, "103"),
    ("touched inside a bar", S, "2", [(100, 101, 99, 101), (101, 101, 98.5, 100)], "100", (1, 99.0), "101"),
    ("opened beyond the stop", S, "2", [(100, 101, 99, 101), (97, 98, 96, 97)], "100", (1, 97.0), "101"),
    ("the mark before the bar counts first", S, "2", [(100, 110, 97.5, 110)], "100", (0, 98.0), "100"),
    ("closed below the stop of the new high", S, "2", [(100, 104, 99, 101)], "100", (0, 102.0), "104"),
    ("closed at the stop of the new high", S, "2", [(100, 104, 99, 102)], "100", (0, 102.0), "104"),
    ("closed above the stop of the new high", S, "2", [(100, 104, 99, 102.01)], "100", None, "104"),
    ("buy closed at the stop of the new low", B, "2", [(100, 101, 96, 98)], "100", (0, 98.0), "96"),
    ("buy opened beyond the stop, no collar", B, "2", [(110, 111, 109, 110)], "100", (0, 110.0), "100"),
    ("without a mark the first open is it", S, "2", [(np.nan,) * 4, (100, 101, 98, 100)], None, (1, 98.0), "100"),
    ("no price, no mark", S, "2", [(np.nan,) * 4], None, None, None),
    ("a trail longer than the price", S, "200", [(100, 101, 1, 2)], "100", None, "101"),
]


@pytest.mark.parametrize(
    ("side", "trailed", "rows", "mark", "expected", "then"), [t[1:] for t in TRAILS], ids=[t[0] for t in TRAILS]
)
def test_trailing_stops(side, trailed, rows, mark, expected, then):
    order = Terms(side=side, type=T.TRAILING_STOP, trail_price=D(trailed))
    tape, progress = bars(*rows), Progress(mark=mark and D(mark))
    found = first_fill(order, D(7), tape, 0, instrument=ACME, costs=FREE, progress=progress)
    assert (None if found is None else (found.bar_index, float(found.price))) == expected
    assert follow(order, tape, 0, progress=progress) == Progress(expected is not None, then and D(then))


def test_a_trail_in_percent():
    sell, buy = (Terms(side=side, type=T.TRAILING_STOP, trail_percent=D("1.5")) for side in (S, B))
    assert (trailing_stop(sell, D("101.37")), trailing_stop(buy, D("101.37"))) == (D("99.84945"), D("102.89055"))
    found = first_fill(sell, D(7), bars((101, 101.37, 100), (100, 100, 99.84)), 0, instrument=ACME, costs=FREE)
    assert (found.bar_index, found.price) == (1, D("99.85"))
    costs = CostModel(slippage_bps=D(10))
    assert first_fill(sell, D(7), bars((101, 101, 90)), 0, instrument=ACME, costs=costs).price == D(
        "99.38"
    )  # 99.485 to the tick, then 10 bps


TIFS = [
    # what happens, type, time in force, limit, start, bars, participation, expected (bar, price, quantity) of buying 30
    ("opg at the open", T.MARKET, F.OPG, None, 0, [FLAT, FLAT], None, (0, 100, 30)),
    ("opg within its limit", T.LIMIT, F.OPG, "100", 0, [FLAT], None, (0, 100, 30)),
    ("opg beyond its limit", T.LIMIT, F.OPG, "99.99", 0, [FLAT], None, None),
    ("opg after the open", T.MARKET, F.OPG, None, 1, [FLAT, FLAT], None, None),
    ("opg without a trade at the open", T.MARKET, F.OPG, None, 0, [(np.nan,) * 3, FLAT], None, None),
    ("opg takes its share", T.MARKET, F.OPG, None, 0, [FLAT], "0.1", (0, 100, 10)),
    ("cls at the close", T.MARKET, F.CLS, None, 0, [FLAT, (*FLAT, 100.5)], None, (1, 100.5, 30)),
    ("cls within its limit", T.LIMIT, F.CLS, "101", 0, [(*FLAT, 100.5)], None, (0, 100.5, 30)),
    ("cls beyond its limit", T.LIMIT, F.CLS, "100.4", 0, [(*FLAT, 100.5)], None, None),
    ("stops have no auction", T.STOP, F.CLS, None, 0, [FLAT], None, None),
    ("ioc in its first bar", T.MARKET, F.IOC, None, 1, [FLAT, FLAT], None, (1, 100, 30)),
    ("ioc in its first bar only", T.LIMIT, F.IOC, "98", 0, [FLAT, (98, 99, 97)], None, None),
    ("ioc takes its share", T.MARKET, F.IOC, None, 0, [FLAT], "0.1", (0, 100, 10)),
    ("fok whole", T.LIMIT, F.FOK, "99", 0, [FLAT], "0.3", (0, 99, 30)),
    ("fok or not at all", T.MARKET, F.FOK, None, 0, [FLAT, (*FLAT, 100, 1000)], "0.29", None),
    ("a share less than a share", T.MARKET, F.DAY, None, 0, [(*FLAT, 100, 9), (*FLAT, 100, 19)], "0.1", (1, 100, 1)),
    ("no volume, no fill", T.LIMIT, F.DAY, "99.5", 0, [(*FLAT, 100, 0), FLAT], "1", (1, 99.5, 30)),
    ("volume matters only to a cap", T.MARKET, F.DAY, None, 0, [(*FLAT, 100, 0)], None, (0, 100, 30)),
    ("a stop without volume is triggered", T.STOP, F.DAY, None, 0, [(*FLAT, 100, 0), FLAT], "1", (1, 100, 30)),
]


@pytest.mark.parametrize(
    ("kind", "tif", "limit", "start", "rows", "participation", "expected"), [t[1:] for t in TIFS], ids=[t[0] for t in TIFS]
)
def test_times_in_force_and_shares_of_the_volume(kind, tif, limit, start, rows, participation, expected):
    order = Terms(
        side=B, type=kind, time_in_force=tif, limit_price=limit and D(limit), stop_price=D("100.5") if kind is T.STOP else None
    )
    liquidity = Liquidity(participation=D(participation)) if participation else UNLIMITED
    found = first_fill(order, D(30), bars(*rows), start, instrument=ACME, costs=FREE, liquidity=liquidity)
    assert found == expected


def test_auctions_have_one_price_for_all():
    dear = CostModel(slippage_bps=D(50), half_spread_bps=D(5), impact_bps=D(100))
    for tif in (F.OPG, F.CLS):
        order = Terms(side=B, type=T.MARKET, time_in_force=tif)
        assert first_fill(order, D(7), bars(FLAT), 0, instrument=ACME, costs=dear).price == 100


def test_a_chosen_order_fills_in_pieces():
    always = Liquidity(partial_probability=D(1), seed=4)
    order = Terms(side=B, type=T.LIMIT, limit_price=D(101))
    terms = {"instrument": ACME, "costs": FREE, "liquidity": always}
    tape = bars(FLAT, FLAT, FLAT)
    first = first_fill(order, D(30), tape, 0, key="one", **terms)
    assert first.bar_index == 0
    assert 0 < first.quantity < 30
    assert first_fill(order, 30 - first.quantity, tape, 1, **terms) == (1, 100, 30 - first.quantity)
    assert first_fill(Terms(side=B, type=T.MARKET, time_in_force=F.FOK), D(30), tape, 0, key="one", **terms).quantity == 30


def test_legs_that_filled_in_part_go_on_with_the_rest():
    """The take-profit took its share at the open and the same bar fell to the stop: the rest is a market order."""
    gain = Terms(side=S, type=T.LIMIT, limit_price=D(105))
    loss = Terms(side=S, type=T.STOP, stop_price=D(95))
    tape, terms = (
        bars((106, 107, 94), FLAT),
        {"instrument": ACME, "costs": FREE, "liquidity": Liquidity(participation=D("0.1"))},
    )
    assert first_exit(gain, loss, D(15), tape, 0, **terms) == (0, 106, 10, False)
    progress = follow(loss, tape, 0, end=1)
    assert first_exit(gain, loss, D(5), tape, 1, progress=progress, **terms) == (1, 100, 5, True)
