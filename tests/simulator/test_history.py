"""Portfolio history and activities: what they say is the fold of the ledger over the tape, and nothing after the clock."""

from contextlib import suppress
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.costs import CostModel
from app.simulator.accounts.ledger import Entry
from app.simulator.accounts.order_request import parse_order
from app.simulator.api.history import HistoryRequest, history
from app.simulator.errors import ApiError
from app.simulator.server import SimulatorOptions, build_app
from app.simulator.world import World
from tests.simulator.conftest import OPEN, Bench, Local

SYMBOLS = ("ACME", "BOLT")
COSTS = CostModel(slippage_bps=Decimal(5), commission_bps=Decimal(1))


def traded(seed, steps, **options):
    """A world in which orders of `steps` (minutes to wait, symbol, side, quantity) were sent one after another."""
    bench = Bench(World(SimulatorOptions(symbols=SYMBOLS, seed=seed, costs=COSTS, **options)))
    worth = [(bench.account.second, bench.account.equity())]
    for minutes, symbol, side, quantity in steps:
        with suppress(ApiError):  # more than is held, a fraction short, a wash trade at night: refused, and all the same here
            bench.send(symbol=SYMBOLS[symbol], side=side, qty=str(quantity))
        bench.minutes(minutes)
        worth.append((bench.account.second, bench.account.equity()))
    return bench, worth


steps = st.lists(
    st.tuples(
        st.integers(1, 900),
        st.integers(0, 1),
        st.sampled_from(("buy", "sell")),
        st.integers(1, 40) | st.decimals("0.5", 40, places=1),
    ),
    min_size=1,
    max_size=8,
)


def asked(bench, **fields):
    now = bench.account.now
    return history(bench.account, HistoryRequest(**{"timeframe": "1Min", "start": OPEN, "end": now, **fields}))


@given(seed=st.integers(0, 20), steps=steps, extended=st.booleans())
@settings(max_examples=25, deadline=None)
def test_each_point_is_what_the_account_showed_then(seed, steps, extended):
    bench, worth = traded(seed, steps, extended_hours=extended)
    shown = asked(bench, reporting="continuous")
    by_end = dict(zip((min(t + 60, bench.account.second) for t in shown["timestamp"]), shown["equity"], strict=True))
    for second, equity in worth[1:]:
        assert by_end[second] == pytest.approx(float(equity), abs=0.011)
    assert max(shown["timestamp"]) <= bench.account.second


@given(seed=st.integers(0, 20), steps=steps)
@settings(max_examples=15, deadline=None)
def test_a_day_ends_where_its_close_was_recorded(seed, steps):
    bench, _ = traded(seed, [*steps, (1440, 0, "buy", Decimal(1))])
    closes = bench.ledger.closes
    daily = asked(bench, timeframe="1D")
    assert daily["equity"] == [round(float(equity), 2) for _, equity in closes]
    assert daily["profit_loss"][0] == 0
    for timeframe in ("1Min", "5Min", "15Min", "1H"):
        inside = asked(bench, timeframe=timeframe)
        last = {datetime.fromtimestamp(t, UTC).date(): e for t, e in zip(inside["timestamp"], inside["equity"], strict=True)}
        for day, equity in closes:
            assert last[day] == pytest.approx(float(equity), abs=0.011), timeframe


def test_gains_count_from_the_close_before():
    bench, _ = traded(3, [(60, 0, "buy", Decimal(100)), (1440, 1, "buy", Decimal(5)), (1440, 1, "buy", Decimal(5))])
    per_day, whole = (asked(bench, timeframe="15Min", per_day=per_day) for per_day in (True, False))
    assert per_day["equity"] == whole["equity"]
    closing = {day: round(float(equity), 2) for day, equity in bench.ledger.closes}
    second = int(datetime(2024, 1, 3, 14, 30, tzinfo=UTC).timestamp())
    row = per_day["timestamp"].index(second)
    assert per_day["profit_loss"][row] == round(per_day["equity"][row] - closing[date(2024, 1, 2)], 2)
    assert whole["profit_loss"][row] == round(whole["equity"][row] - 100_000, 2)
    later = asked(bench, timeframe="15Min", start=datetime(2024, 1, 3, 14, 30, tzinfo=UTC))
    assert (later["base_value"], later["base_value_asof"]) == (closing[date(2024, 1, 2)], "2024-01-02")
    assert later["profit_loss_pct"][0] == pytest.approx(later["profit_loss"][0] / later["base_value"], abs=1e-6)


DAY_POINTS = [("market_hours", 1, 390), ("market_hours", 5, 78), ("extended_hours", 15, 64), ("continuous", 60, 24)]


@pytest.mark.parametrize(("reporting", "minutes", "count"), DAY_POINTS)
def test_points_of_a_day(reporting, minutes, count):
    bench, _ = traded(1, [(60, 0, "buy", Decimal(1)), (4320, 0, "buy", Decimal(1))])
    day = datetime(2024, 1, 3, 5, tzinfo=UTC)
    timeframe = {60: "1H"}.get(minutes, f"{minutes}Min")
    shown = asked(bench, timeframe=timeframe, reporting=reporting, start=day, end=day + timedelta(hours=24, seconds=-1))
    assert len(shown["timestamp"]) == len(shown["equity"]) == len(shown["profit_loss_pct"]) == count
    assert all(b - a == minutes * 60 for a, b in zip(shown["timestamp"], shown["timestamp"][1:], strict=False))


def test_entries_move_the_history_and_are_activities():
    bench, _ = traded(1, [(60, 0, "buy", Decimal(10)), (30, 0, "buy", Decimal(1))])
    at = bench.account.now
    bench.ledger.entries.append(
        Entry(
            entry_id="11111111-1111-4111-8111-111111111111",
            activity_type="DIV",
            at=at,
            day=at.date(),
            net_amount=Decimal("5.50"),
            symbol="ACME",
            quantity=Decimal(11),
            per_share_amount=Decimal("0.5"),
        )
    )
    before = asked(bench, end=at - timedelta(minutes=2))["equity"][-1]
    after = asked(bench, cashflow=None)
    assert after["cashflow"]["DIV"][-1] == 5.5
    assert after["cashflow"]["DIV"][0] == 0
    assert after["equity"][-1] == pytest.approx(float(bench.account.equity()) + 5.5, abs=0.02)
    assert before != after["equity"][-1]


@pytest.fixture(scope="module")
def busy():
    """Straight into an exchange on which 60 orders were filled over three days, two dividends between them."""
    local = Local(build_app(SimulatorOptions(symbols=SYMBOLS, seed=5, cash=Decimal(1_000_000))))
    local("GET", "/v2/account")
    account = local.world.first
    for i in range(30):
        order = {"symbol": SYMBOLS[i % 2], "side": "buy", "type": "market", "time_in_force": "gtc", "qty": Decimal(1 + i)}
        account.submit(parse_order(order))
        account.submit(parse_order({**order, "qty": Decimal(100 + i)}))
        local.world.move(account.now + timedelta(minutes=97))
        if i in {10, 20}:
            entry = Entry(
                entry_id=account.ledger.name("entry", i),
                activity_type="DIV",
                at=account.now,
                day=account.now.date(),
                net_amount=Decimal(i),
                symbol="ACME",
                quantity=Decimal(1),
                per_share_amount=Decimal(i),
            )
            account.ledger.entries.append(entry)
    return local


def pages(local, path="/v2/account/activities", **query):
    rows, token = [], None
    while True:
        status, page = local("GET", path, params={**query, **({"page_token": token} if token else {})})
        assert status == 200, page
        if not page:
            return rows
        rows += page
        token = page[-1]["id"]


@pytest.mark.parametrize("size", [1, 7, 100])
@pytest.mark.parametrize("direction", ["asc", "desc"])
def test_pages_hold_every_activity_once(busy, size, direction):
    rows = pages(busy, page_size=size, direction=direction)
    ledger = busy.world.first.ledger
    names = [row["id"].split("::")[1] for row in rows]
    assert sorted(names) == sorted([f.execution_id for f in ledger.fills] + [e.entry_id for e in ledger.entries])
    stamps = [row["id"].split("::")[0] for row in rows]
    assert stamps == sorted(stamps, reverse=direction == "desc")


def test_activities_by_kind_time_and_order(busy):
    ledger = busy.world.first.ledger
    everything = pages(busy, direction="asc")
    fills = [row for row in everything if row["activity_type"] == "FILL"]
    dividends = [row for row in everything if row["activity_type"] == "DIV"]
    assert pages(busy, "/v2/account/activities/FILL", direction="asc") == fills
    assert pages(busy, "/v2/account/activities/div", direction="asc") == dividends
    assert pages(busy, activity_types="DIV,FEE", direction="asc") == dividends
    assert pages(busy, category="trade_activity", direction="asc") == fills
    assert pages(busy, category="non_trade_activity", direction="asc") == dividends
    assert pages(busy, activity_types="TRANS") == []
    middle = fills[20]["transaction_time"]
    times = [row.get("transaction_time") or row["created_at"] for row in everything]
    after = [row for row, at in zip(everything, times, strict=True) if at > middle]
    until = [row for row, at in zip(everything, times, strict=True) if at < middle]
    assert pages(busy, after=middle, direction="asc") == after
    assert pages(busy, until=middle, direction="asc") == until
    day = [row for row, at in zip(everything, times, strict=True) if at.startswith("2024-01-03")]
    assert day
    assert pages(busy, date="2024-01-03", direction="asc") == day
    order_id = ledger.fills[4].venue_order_id
    assert [row["order_id"] for row in pages(busy, order_id=order_id)] == [order_id]


@pytest.mark.parametrize(
    "query",
    [
        {"activity_types": "FILLS"},
        {"category": "trade_activity", "activity_types": "FILL"},
        {"category": "x"},
        {"page_token": "x"},
        {"page_token": "20240102143100000::none"},
        {"page_token": "99999999999999999::none"},
        {"page_size": "0"},
        {"date": "2024"},
    ],
)
def test_activities_that_cannot_be_asked_for(busy, query):
    status, body = busy("GET", "/v2/account/activities", params=query)
    assert status == 422
    assert body["message"]


@pytest.mark.parametrize(
    "query",
    [
        {"period": "1X"},
        {"period": "D"},
        {"period": "0D"},
        {"timeframe": "2Min"},
        {"timeframe": "1Min", "period": "2M"},
        {"period": "1D", "start": "2024-01-02", "end": "2024-01-03"},
        {"start": "2024-01-03", "end": "2024-01-02"},
        {"start": "2025-01-03"},
        {"intraday_reporting": "x"},
        {"pnl_reset": "x"},
        {"cashflow_types": "DIVIDENDS"},
        {"end": "x"},
    ],
)
def test_histories_that_cannot_be_asked_for(busy, query):
    status, body = busy("GET", "/v2/account/portfolio/history", params=query)
    assert status == 422, body
    assert body["message"]


@pytest.mark.parametrize(
    ("query", "timeframe", "first"),
    [
        ({}, "1D", "2024-01-02T21:00"),
        ({"period": "1D"}, "1Min", "2024-01-04T14:30"),
        ({"period": "2D", "timeframe": "5Min"}, "5Min", "2024-01-03T14:30"),
        ({"period": "1W"}, "15Min", "2024-01-02T14:30"),
        ({"period": "1D", "extended_hours": "true", "timeframe": "1H"}, "1H", "2024-01-04T09:00"),
        ({"period": "1A"}, "1D", "2024-01-02T21:00"),
        ({"period": "9999A"}, "1D", "2024-01-02T21:00"),
        ({"start": "2024-01-03T15:00:00Z", "timeframe": "15Min"}, "15Min", "2024-01-03T15:00"),
        ({"start": "2024-01-03", "period": "1D", "timeframe": "1H"}, "1H", "2024-01-03T14:30"),
        ({"date_end": "2024-01-03", "period": "1D", "timeframe": "1H"}, "1H", "2024-01-03T14:30"),
    ],
)
def test_the_period_that_is_meant(busy, query, timeframe, first):
    status, body = busy("GET", "/v2/account/portfolio/history", params=query)
    assert status == 200, body
    assert body["timeframe"] == timeframe
    assert datetime.fromtimestamp(body["timestamp"][0], UTC).isoformat().startswith(first)
    assert body["timestamp"][-1] <= busy.world.second


@pytest.mark.parametrize("end", ["0001-01-01T00:00:00Z", "1999-01-01", "2023-12-01"])
def test_nothing_is_shown_from_before_the_account(busy, end):
    for timeframe in ("1D", "1H"):
        status, body = busy("GET", "/v2/account/portfolio/history", params={"end": end, "timeframe": timeframe})
        assert (status, body["timestamp"], body["base_value"]) == (200, [], 1_000_000)


def test_an_order_filled_in_pieces_is_told_piece_by_piece():
    options = SimulatorOptions(symbols=SYMBOLS, seed=5, cash=Decimal(10**9), participation=Decimal("0.05"))
    local = Local(build_app(options))
    order = {"symbol": "ACME", "side": "buy", "type": "market", "time_in_force": "day", "qty": "5000"}
    sent = local("POST", "/v2/orders", body=order)[1]
    for _ in range(30):
        local.world.move(local.world.now + timedelta(minutes=1))
    rows = pages(local, order_id=sent["id"], direction="asc")
    shown = local("GET", f"/v2/orders/{sent['id']}")[1]
    assert len(rows) > 2
    got = Decimal(0)
    for row in rows:
        got += Decimal(row["qty"])
        left = Decimal(5000) - got
        assert (Decimal(row["cum_qty"]), Decimal(row["leaves_qty"])) == (got, left)
        assert (row["type"], row["order_status"]) == (("partial_fill", "partially_filled") if left else ("fill", "filled"))
    assert Decimal(shown["filled_qty"]) == got
