"""What a tape is made of: corporate actions, several files, any symbol, hours before and after sessions, news."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import numpy as np
import pytest

from app.domain.errors import InvalidInput
from app.runtime.calendar import new_york_calendar
from app.simulator.server import SimulatorOptions, build_app
from app.simulator.tape.actions import load_actions
from app.simulator.tape.news import load_news
from app.simulator.tape.overnight import overnight_path
from app.simulator.tape.paths import session_windows
from tests.real_data import DIRECTORY, needs

from .conftest import OPEN, Local, minute_rows
from .tapes import bars, day_rows, following, to, world

RAW_DAILY = DIRECTORY / "equities_daily" / "lean_raw_daily.parquet"


# -- corporate actions ---------------------------------------------------------------------------------------------------


def split_world(tmp_path, **options):
    rows = day_rows(date(2023, 12, 26), [200, 202, 204, 206, 104, 105, 106, 107])  # 2:1 on 2024-01-02
    (tmp_path / "actions.csv").write_text(
        "symbol,ex_date,kind,value\nACME,2024-01-02,split,2\nacme,2024-01-04,dividend,1.05\nACME,2024-01-05,split,0.1\n"
    )
    return world(tmp_path, {"days.csv": rows}, start=date(2023, 12, 27), actions=tmp_path / "actions.csv", **options)


def test_adjustment_knows_no_later_action(tmp_path):
    call = split_world(tmp_path)
    assert [bar["c"] for bar in bars(call, "1Day", adjustment="all")] == [200.0]
    to(call, "2024-01-02T14:00:00Z")  # before the open of the split's day
    assert [bar["c"] for bar in bars(call, "1Day", adjustment="split")] == [100.0, 101.0, 102.0, 103.0]
    assert [bar["v"] for bar in bars(call, "1Day", adjustment="split")] == [2000] * 4
    assert [bar["c"] for bar in bars(call, "1Day", adjustment="dividend")] == [200.0, 202.0, 204.0, 206.0]
    to(call, "2024-01-04T02:00:00Z")  # the evening before the dividend's day in New York
    assert [bar["c"] for bar in bars(call, "1Day", adjustment="all")] == [100.0, 101.0, 102.0, 103.0, 104.0, 105.0]
    to(call, "2024-01-04T14:00:00Z")
    assert [bar["c"] for bar in bars(call, "1Day", adjustment="all")] == [99.0, 99.99, 100.98, 101.97, 102.96, 103.95]
    assert [bar["c"] for bar in bars(call, "1Day")] == [200.0, 202.0, 204.0, 206.0, 104.0, 105.0]
    assert {bar["c"] for bar in bars(call, "1Min", start="2023-12-29", end="2023-12-29", adjustment="split")} <= {
        round(bar["c"] / 2, 4) for bar in bars(call, "1Min", start="2023-12-29", end="2023-12-29")
    }


def test_actions_take_effect_at_an_open(tmp_path):
    market = split_world(tmp_path).world.market
    days = {market.sessions[n].day: market.actions(n) for n in range(12) if market.actions(n)}
    assert [(d, [(a.kind, a.value) for a in found]) for d, found in days.items()] == [
        (date(2024, 1, 2), [("split", Decimal(2))]),
        (date(2024, 1, 4), [("dividend", Decimal("1.05"))]),
        (date(2024, 1, 5), [("split", Decimal("0.1"))]),
    ]


def test_adjusted_files_are_not_split_again(tmp_path):
    call = split_world(tmp_path, prices="split")
    assert [a.kind for n in range(12) for a in call.world.market.actions(n)] == ["dividend"]
    to(call, "2024-01-03T14:00:00Z")
    assert bars(call, "1Day", adjustment="split") == bars(call, "1Day")


@pytest.mark.data
@needs(RAW_DAILY)
def test_apple_split_seven_and_four_for_one(tmp_path):
    (tmp_path / "actions.csv").write_text("symbol,ex_date,kind,value\nAAPL,2014-06-09,split,7\nAAPL,2020-08-31,split,4\n")
    options = SimulatorOptions(data=RAW_DAILY, symbols=("AAPL",), actions=tmp_path / "actions.csv", start=date(2014, 6, 5))
    call = Local(build_app(options))
    order = {"symbol": "AAPL", "qty": "10", "side": "buy", "type": "market", "time_in_force": "gtc"}
    assert call("POST", "/v2/orders", body=order)[0] == 200
    to(call, "2014-06-06T20:30:00Z")
    before = bars(call, "1Day", "AAPL", start="2014-05-01", adjustment="all")
    assert before[-1]["c"] == pytest.approx(645.5, abs=1)
    to(call, "2014-06-09T20:30:00Z")
    after = bars(call, "1Day", "AAPL", start="2014-05-01", adjustment="split")
    assert [b["c"] for b in after[:-1]] == pytest.approx([b["c"] / 7 for b in before], abs=1e-4)
    closes = np.array([b["c"] for b in after])
    assert np.abs(np.diff(np.log(closes))).max() < 0.03
    (position,) = call("GET", "/v2/positions")[1]
    assert position["qty"] == "70"
    to(call, "2020-09-01T20:30:00Z")
    assert call("GET", "/v2/positions")[1][0]["qty"] == "280"
    closes = [b["c"] for b in bars(call, "1Month", "AAPL", start="2014-01-01", adjustment="split")]
    assert np.abs(np.diff(np.log(closes))).max() < 0.25
    assert closes[0] == pytest.approx(500.6 / 28, rel=0.01)


# -- files ---------------------------------------------------------------------------------------------------------------


def test_the_finer_file_wins_where_it_has_bars(tmp_path):
    five = [f"ACME,{(OPEN + timedelta(days=1, minutes=5 * i)).isoformat()},50,51,49,50,100\n" for i in range(78)]
    five += [f"ACME,{(OPEN + timedelta(minutes=5 * i)).isoformat()},70,71,69,70,100\n" for i in range(78)]
    files = {
        "days.csv": [*day_rows(date(2023, 12, 1), [90] * 30), *day_rows(date(2023, 12, 1), [20] * 30, "DAYS")],
        "minutes.csv": minute_rows("ACME", [10 + i % 5 for i in range(390)]),
        "five.csv": five,
    }
    call = world(tmp_path, files)
    assert call.world.started_at == OPEN
    assert call("GET", "/sim/state")[1]["derived"] is True
    to(call, "2024-01-04T21:00:00Z")
    days = bars(call, "1Day", start="2023-12-29")
    assert [(b["t"][:10], b["o"], b["h"], b["c"]) for b in days] == [
        ("2023-12-29", 90, 91, 90),
        ("2024-01-02", 10, 14, 14),  # minutes
        ("2024-01-03", 50, 51, 50),  # five minutes
        ("2024-01-04", 90, 91, 90),  # days
    ]
    for day in days[1:]:
        minutes = bars(call, "1Min", start=day["t"][:10], end=day["t"][:10])
        assert len(minutes) == 390
        assert (minutes[0]["o"], minutes[-1]["c"], sum(b["v"] for b in minutes)) == (day["o"], day["c"], day["v"])
    assert len(bars(call, "1Day", "DAYS")) == 23
    without = Local(build_app(SimulatorOptions(data=tuple(tmp_path / name for name in files))))
    assert without.world.started_at == OPEN  # where the minutes begin


@pytest.mark.parametrize(
    ("read", "text", "says"),
    [
        (load_actions, "symbol,kind,value\nA,split,2\n", "lacks ex_date"),
        (load_actions, "symbol,ex_date,kind,value\nA,soon,split,2\n", "line 2"),
        (load_actions, "symbol,ex_date,kind,value\nA,2024-01-02,merger,2\n", "kind of split or dividend"),
        (load_actions, "symbol,ex_date,kind,value\nA,2024-01-02,split,0\n", "above zero"),
        (load_actions, "symbol,ex_date,kind,value\nA,2024-01-02\n", "line 2"),
        (load_news, "time,headline\n2024-01-02,x\n", "lacks symbols"),
        (load_news, "time,symbols,headline\nsoon,A,x\n", "line 2"),
        (load_news, "time,symbols,headline\n2024-01-02,A,\n", "headline is empty"),
    ],
)
def test_unusable_files_are_told_why(tmp_path, read, text, says):
    (tmp_path / "file.csv").write_text(text)
    with pytest.raises(InvalidInput, match=says):
        read(tmp_path / "file.csv")
    with pytest.raises(InvalidInput, match="cannot be read"):
        read(tmp_path / "none.csv")


def test_a_generated_market_has_every_symbol(tmp_path):
    one, other = (Local(build_app(SimulatorOptions(seed=5))) for _ in range(2))
    for symbol in ("PLTR", "BRK.B"):
        other("GET", f"/v2/stocks/{symbol}/snapshot")
    assets = one("GET", "/v2/assets")[1]
    assert assets == other("GET", "/v2/assets")[1]
    for call in (one, other):
        to(call, "2024-01-03T18:00:00Z")
    for frame in ("1Min", "1Day"):
        assert bars(one, frame, "ZM", start="2024-01-01") == bars(other, frame, "ZM", start="2024-01-01") != []
    order = {"symbol": "ZM", "qty": "1", "side": "buy", "type": "market", "time_in_force": "day"}
    sent = one("POST", "/v2/orders", body=order)[1]
    assert one("GET", f"/v2/assets/{sent['asset_id']}")[1]["symbol"] == "ZM"
    for name in ("zz9", "TOOLONG", "A.BCD", "é"):
        assert one("GET", f"/v2/assets/{name}")[0] == 404
        assert one("GET", "/v2/stocks/bars/latest", params={"symbols": name})[1] == {"bars": {}}
    assert one("POST", "/v2/orders", body={**order, "symbol": "TOOLONG"})[0] == 422


# -- hours ---------------------------------------------------------------------------------------------------------------


def test_prices_before_and_after_hours_come_from_the_file(tmp_path):
    early, late = OPEN - timedelta(hours=1), OPEN + timedelta(hours=7)
    lines = minute_rows("ACME", [100], OPEN - timedelta(days=4)) + minute_rows("ACME", [90, 91], early)
    lines += minute_rows("ACME", [95] * 390) + minute_rows("ACME", [99, None, 98], late)
    call = world(tmp_path, {"minutes.csv": lines})
    market, number = call.world.market, call.world.market.started(int(OPEN.timestamp()))
    assert market.extended
    pre, regular, post = market.windows(number)
    assert [w.end - w.begin for w in (pre, regular, post)] == [330 * 60, 390 * 60, 240 * 60]
    path = market.window_path("ACME", number, "pre")
    assert path.close[np.isfinite(path.close)].tolist() == [90, 91]
    assert market.last_trade("ACME", int(early.timestamp()) + 60).price == 90
    assert market.last_trade("ACME", int(late.timestamp()) + 150).price == 99
    assert market.last_trade("ACME", int(late.timestamp()) + 180).price == 98
    to(call, (late + timedelta(minutes=3)).isoformat())
    minutes = bars(call, "1Min", start="2024-01-02")
    assert [b["c"] for b in minutes] == [90, 91, *[95] * 390, 99, 98]
    (day,) = bars(call, "1Day", start="2024-01-02")
    assert (day["o"], day["h"], day["l"], day["c"], day["v"]) == (95, 95, 95, 95, 390_000)  # the session alone
    assert call("GET", "/v2/stocks/ACME/trades/latest")[1]["trade"]["p"] == 98


def test_hours_of_a_half_day():
    (session,) = new_york_calendar().between(date(2024, 7, 3), date(2024, 7, 3))
    pre, day, post = (
        [datetime.fromtimestamp(at, UTC).strftime("%H:%M") for at in (w.begin, w.end)] for w in session_windows(session)
    )
    assert (pre, day, post) == (["08:00", "13:30"], ["13:30", "17:00"], ["17:00", "21:00"])


def test_nothing_trades_at_night_unless_asked_for():
    plain, night = (
        Local(build_app(SimulatorOptions(symbols=("AAPL",), seed=3, extended_hours=flag))) for flag in (False, True)
    )
    for call in (plain, night):
        to(call, "2024-01-03T13:00:00Z")
    assert not plain.world.market.extended
    quiet, noisy = (bars(call, "1Min", "AAPL", start="2024-01-02") for call in (plain, night))
    assert len(quiet) == 390
    inside = [b for b in noisy if "14:30" <= b["t"][11:16] < "21:00" and b["t"] < "2024-01-02T21"]
    assert inside == quiet
    assert 20 < len(noisy) - 390 < 150
    assert bars(night, "1Day", "AAPL") == bars(plain, "1Day", "AAPL")


def test_the_night_does_not_tell_the_open(generated):
    market, early, late = generated.world.market, [], []
    windows = [session_windows(session) for session in market.sessions]
    for symbol in ("AAPL", "MSFT", "SPY"):
        daily = market.source.daily[symbol]
        for n in range(260, 1600):
            path = overnight_path(daily, windows[n][2], windows[n + 1][0], 1)
            traded = np.flatnonzero(np.isfinite(path.close))
            half = path.close[traded[len(traded) // 2]]
            early.append(np.log(half / daily.close[n]))
            late.append(np.log(daily.open[n + 1] / half))
    early, late = np.array(early), np.array(late)
    scale = 1 / np.sqrt(early.var() * late.var())
    assert abs(np.mean(early * late) * scale) < 0.06  # three standard errors are 0.05
    assert 0.6 < early.std() / late.std() < 1.6


# -- news ----------------------------------------------------------------------------------------------------------------


def test_generated_news_tell_what_has_happened(generated):
    generated("POST", "/sim/reset", body={})
    to(generated, "2024-04-01T12:00:00Z")
    articles, token = [], None
    while True:
        status, page = generated("GET", "/v1beta1/news", params={"limit": 50, "sort": "asc", **following(token)})
        assert status == 200
        articles, token = articles + page["news"], page["next_page_token"]
        if token is None:
            break
    assert len({a["id"] for a in articles}) == len(articles) > 20
    assert [a["created_at"] for a in articles] == sorted(a["created_at"] for a in articles)
    for article in articles:
        (symbol,) = article["symbols"]
        day = article["created_at"][:10]
        before, close = (b["c"] for b in bars(generated, "1Day", symbol, end=day)[-2:])
        assert abs(close / before - 1) > 0.04
        assert article["headline"].endswith(f"{close:.2f}")
    newest = generated("GET", "/v1beta1/news")[1]["news"]
    assert newest == articles[::-1][:10]
    only = generated("GET", "/v1beta1/news", params={"symbols": "MSFT", "limit": 50})[1]["news"]
    assert only == [a for a in articles[::-1] if a["symbols"] == ["MSFT"]][:50]


def test_news_of_a_file(tmp_path):
    (tmp_path / "news.csv").write_text(
        "time,symbols,headline,summary,source,url\n"
        "2024-01-02T14:31:30Z,ACME BETA,Merger,Both boards agree,wire,https://example.com/1\n"
        "2024-01-02T09:31:10-05:00,ACME,Rumour,,,\n"
        "2024-01-02,BETA,Undated,,,\n"
    )
    call = world(tmp_path, {"minutes.csv": minute_rows("ACME", [10] * 30)}, news=tmp_path / "news.csv")
    told = [[a["headline"] for a in call("GET", "/v1beta1/news")[1]["news"]]]
    for at in ("2024-01-02T14:31:15Z", "2024-01-02T14:31:30Z", "2024-01-02T23:00:00Z", "2024-01-03T00:00:00Z"):
        to(call, at)
        told.append([a["headline"] for a in call("GET", "/v1beta1/news")[1]["news"]])
    both = ["Merger", "Rumour"]
    assert told == [[], ["Rumour"], both, both, ["Undated", *both]]
    assert [a["url"] for a in call("GET", "/v1beta1/news", params={"symbols": "ACME"})[1]["news"]] == [
        "https://example.com/1",
        None,
    ]
