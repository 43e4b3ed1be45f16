"""Lists of bars, trades and quotes: labels of every timeframe, pages, and what is refused."""

from datetime import date, datetime

import pytest

from app.simulator.server import SimulatorOptions, build_app
from app.simulator.tape.ticks import trades_between

from .conftest import OPEN, Local
from .tapes import bars, day_rows, to, world


def test_labels_of_weeks_and_months(tmp_path):
    call = world(tmp_path, {"days.csv": day_rows(date(2023, 11, 1), range(100, 190))}, start=date(2024, 1, 2))
    to(call, "2024-03-06T20:00:00Z")  # a Wednesday, in session
    assert [b["t"] for b in bars(call, "1Month")] == [
        "2023-11-01T04:00:00Z",  # summer time until the 5th
        "2023-12-01T05:00:00Z",
        "2024-01-01T05:00:00Z",
        "2024-02-01T05:00:00Z",
        "2024-03-01T05:00:00Z",
    ]
    assert [b["t"] for b in bars(call, "3M")] == ["2023-10-01T04:00:00Z", "2024-01-01T05:00:00Z"]
    assert [b["t"] for b in bars(call, "12Month")] == ["2023-01-01T05:00:00Z", "2024-01-01T05:00:00Z"]
    weeks = bars(call, "1Week")
    assert weeks[0]["t"] == "2023-10-30T04:00:00Z"
    assert {datetime.fromisoformat(b["t"]).weekday() for b in weeks} == {0}
    days = bars(call, "1Day")
    assert sum(b["v"] for b in weeks) == sum(b["v"] for b in bars(call, "2Month")) == sum(b["v"] for b in days)
    running = days[-3:]  # Monday, Tuesday, and Wednesday so far
    week = weeks[-1]
    assert (week["o"], week["c"]) == (running[0]["o"], running[-1]["c"])
    assert (week["h"], week["l"]) == (max(b["h"] for b in running), min(b["l"] for b in running))


@pytest.mark.parametrize("hours", [False, True])
@pytest.mark.parametrize("frame", ["7Min", "59Min", "1H", "4Hour", "5Hour", "11Hour", "17Hour", "23Hour"])
def test_longer_bars_hold_every_minute_once(generated, hours, frame):
    call = generated if not hours else Local(build_app(SimulatorOptions(symbols=("AAPL",), seed=11, extended_hours=True)))
    generated("POST", "/sim/reset", body={})
    to(call, "2024-01-11T03:00:00Z")
    span = {"start": "2024-01-03T00:00:00Z", "limit": 5000}
    seconds = int("".join(c for c in frame if c.isdigit())) * (60 if "Min" in frame else 3600)
    expected = {}
    minutes, token = [], None
    while True:
        page = call(
            "GET", "/v2/stocks/AAPL/bars", params={**span, "timeframe": "1Min", **({"page_token": token} if token else {})}
        )[1]
        minutes, token = minutes + page["bars"], page["next_page_token"]
        if token is None:
            break
    for bar in minutes:
        at = int(datetime.fromisoformat(bar["t"]).timestamp())
        expected.setdefault(at - at % seconds, []).append(bar)
    begin = datetime.fromisoformat(span["start"]).timestamp()
    found = bars(call, frame, "AAPL", start="2024-01-02")
    labels = [int(datetime.fromisoformat(b["t"]).timestamp()) for b in found]
    assert labels == sorted(set(labels))
    whole = [(at, bar) for at, bar in zip(labels, found, strict=True) if at >= begin]
    assert whole
    for at, bar in whole:
        parts = expected.pop(at)
        assert (bar["o"], bar["c"], bar["v"]) == (parts[0]["o"], parts[-1]["c"], sum(b["v"] for b in parts))
        assert (bar["h"], bar["l"]) == (max(b["h"] for b in parts), min(b["l"] for b in parts))
    assert all(at < begin or at + seconds > datetime.fromisoformat("2024-01-11T03:00:00Z").timestamp() for at in expected)
    descending = bars(call, frame, "AAPL", start="2024-01-02", sort="desc")
    assert descending == found[::-1]


@pytest.mark.parametrize(
    ("path", "query", "says"),
    [
        ("bars", {}, "timeframe is required"),
        *(
            ("bars", {"timeframe": t}, "invalid timeframe")
            for t in ("0Min", "60Min", "24Hour", "2Day", "5Month", "minute", "1")
        ),
        ("bars", {"timeframe": "1Day", "feed": "otc"}, "invalid feed"),
        ("trades", {"feed": "delayed_sip"}, "invalid feed"),
        ("bars/latest", {"feed": "moon"}, "invalid feed"),
        ("bars", {"timeframe": "1Day", "currency": "EUR"}, "invalid currency"),
        ("bars", {"timeframe": "1Day", "asof": "today"}, "invalid asof"),
        ("bars", {"timeframe": "1Day", "adjustment": "half"}, "invalid adjustment"),
        ("bars", {"timeframe": "1Day", "start": "2024-01-05", "end": "2024-01-02"}, "end should not be before start"),
        ("quotes", {"start": "soon"}, "invalid start"),
        ("trades", {"page_token": "?"}, "invalid page_token"),
        ("trades", {"page_token": "QUFQTHx4"}, "invalid page_token"),  # "AAPL|x"
        ("trades", {"limit": "0"}, "invalid limit"),
        ("bars", {"timeframe": "1Day", "sort": "up"}, "invalid sort"),
        ("snapshots", {"symbols": ""}, "symbols is required"),
    ],
)
def test_wrong_questions_are_refused(generated, path, query, says):
    status, answer = generated("GET", f"/v2/stocks/{path}", params={"symbols": "AAPL", **query})
    assert (status, says in answer["message"]) == (400, True), answer


def test_codes_and_single_symbols(generated):
    assert generated("GET", "/v2/stocks/meta/exchanges")[1]["V"] == "IEX"
    for tick in ("trade", "quote"):
        assert generated("GET", f"/v2/stocks/meta/conditions/{tick}", params={"tape": "C"})[0] == 200
        assert generated("GET", f"/v2/stocks/meta/conditions/{tick}")[0] == 400
    assert generated("GET", "/v2/stocks/meta/conditions/bar", params={"tape": "A"})[0] == 404
    assert generated("GET", "/v2/stocks/NONE/trades/latest")[0] == 404
    assert generated("GET", "/v2/stocks/NONE/bars", params={"timeframe": "1Day"})[1]["bars"] == []


def test_trades_make_the_bars(generated):
    generated("POST", "/sim/reset", body={})
    to(generated, "2024-01-02T16:00:30Z")
    query = {"symbols": "AAPL,MSFT", "start": "2024-01-02", "limit": 10_000}
    trades = generated("GET", "/v2/stocks/trades", params=query)[1]["trades"]
    latest = generated("GET", "/v2/stocks/trades/latest", params=query | {"limit": 1})[1]["trades"]
    for symbol, rows in trades.items():
        minutes = bars(generated, "1Min", symbol, start="2024-01-02")
        assert len(minutes) == 90
        for bar in minutes:
            inside = [row for row in rows if row["t"][:16] == bar["t"][:16]]
            prices = [row["p"] for row in inside]
            assert (prices[0], prices[-1], max(prices), min(prices)) == (bar["o"], bar["c"], bar["h"], bar["l"])
            assert sum(row["s"] for row in inside) == bar["v"]
        assert len({row["i"] for row in rows}) == len(rows)
        assert rows[-1] == latest[symbol]
        known = trades_between(generated.world.market, symbol, int(OPEN.timestamp()) - 1, generated.world.second)
        assert [trade.price for trade in known] == [row["p"] for row in rows]


@pytest.mark.parametrize("kind", ["trades", "quotes"])
@pytest.mark.parametrize("sort", ["asc", "desc"])
def test_ticks_by_page_are_the_ticks_at_once(generated, kind, sort):
    generated("POST", "/sim/reset", body={})
    to(generated, "2024-01-03T15:00:00Z")
    query = {"symbols": "SPY,AAPL", "start": "2024-01-02T20:50:00Z", "end": "2024-01-03T14:40:00Z", "sort": sort}
    whole = generated("GET", f"/v2/stocks/{kind}", params={**query, "limit": 10_000})[1][kind]
    paged, token = {}, None
    while True:
        page = generated(
            "GET", f"/v2/stocks/{kind}", params={**query, "limit": 17, **({"page_token": token} if token else {})}
        )[1]
        for symbol, rows in page[kind].items():
            paged.setdefault(symbol, []).extend(rows)
        token = page["next_page_token"]
        if token is None:
            break
    assert paged == whole
    times = [row["t"] for row in whole["AAPL"]]
    assert times == sorted(times, reverse=sort == "desc")
