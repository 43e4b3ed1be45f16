"""Tapes of every kind: what a file holds is what is served, and what is invented between says so."""

from datetime import UTC, date, datetime, timedelta

import pytest

from app.engine.path import on_tick
from app.marketdata.files import load_bars
from app.simulator.server import SimulatorOptions, build_app
from tests.real_data import DIRECTORY, WATCHLIST_DAILY, needs

from .conftest import HEAD, Local

real = needs(WATCHLIST_DAILY)


def listed(call, frame, **query):
    rows, token = {}, None
    while True:
        params = {"timeframe": frame, "limit": 10_000, **query, **({"page_token": token} if token else {})}
        status, page = call("GET", "/v2/stocks/bars", params=params)
        assert status == 200
        for symbol, bars in page["bars"].items():
            rows.setdefault(symbol, []).extend(bars)
        token = page["next_page_token"]
        if token is None:
            return rows


def test_five_minute_bars_are_filled_and_come_back_as_they_were(tmp_path):
    start, lines = datetime(2024, 1, 2, 14, 30, tzinfo=UTC), []
    for i in range(78):
        if i == 20:
            continue  # no trade in these five minutes
        base = 100 + (i * 7 % 13) / 10
        lines.append(
            f"ACME,{(start + timedelta(minutes=5 * i)).isoformat()},{base},{base + 0.5},{base - 0.4},{base + 0.1},{1000 + i}\n"
        )
    path = tmp_path / "five.csv"
    path.write_text(HEAD + "".join(lines))
    call = Local(build_app(SimulatorOptions(data=path)))
    state = call("POST", "/sim/clock", body={"to": "2024-01-02T21:00:00Z"})[1]
    assert state["derived"] is True
    assert state["generated"] is False
    bars = listed(call, "5Min", symbols="ACME", start="2024-01-02")["ACME"]
    source = load_bars(path).bars["ACME"]
    assert [datetime.fromisoformat(b["t"]).timestamp() for b in bars] == source.timestamp.tolist()
    for name, column in (("o", source.open), ("h", source.high), ("l", source.low), ("c", source.close)):
        assert [b[name] for b in bars] == on_tick(column).tolist()
    assert [b["v"] for b in bars] == source.volume.tolist()
    assert len(listed(call, "1Min", symbols="ACME", start="2024-01-02")["ACME"]) == 77 * 5


@pytest.mark.data
@real
def test_the_watchlist_is_replayed_as_it_is():
    path = WATCHLIST_DAILY
    call = Local(build_app(SimulatorOptions(data=path, start=date(2022, 3, 1))))
    state = call("GET", "/sim/state")[1]
    assert (state["clock"], len(state["symbols"]), state["derived"]) == ("2022-03-01T14:30:00Z", 32, True)
    daily = listed(call, "1Day", symbols=",".join(state["symbols"]), start="2021-03-01")
    source = load_bars(path).bars
    for symbol, bars in daily.items():
        assert bars[-1]["t"] == "2022-02-28T05:00:00Z"
        index = {int(t): i for i, t in enumerate(source[symbol].timestamp)}
        for bar in bars[::20]:
            i = index[int(datetime.fromisoformat(bar["t"]).timestamp())]
            assert bar["c"] == pytest.approx(source[symbol].close[i], abs=0.005)
    assert Local(build_app(SimulatorOptions(data=path))).world.started_at.date() == date(
        2023, 4, 5
    )  # 60 sessions before the end


@pytest.mark.data
@real
@pytest.mark.parametrize(("name", "derived"), [("us_1m", False), ("us_1h", True)])
def test_real_intraday_files(name, derived):
    call = Local(build_app(SimulatorOptions(data=DIRECTORY / "equities_intraday" / f"{name}.parquet")))
    state = call("GET", "/sim/state")[1]
    assert state["derived"] is derived
    call("POST", "/sim/clock", body={"advance_seconds": 86_400 * 7})
    rows = listed(call, "1Hour", symbols=",".join(state["symbols"]), start=state["clock"])
    assert set(rows) == set(state["symbols"])
    assert len(call("GET", "/v2/stocks/snapshots", params={"symbols": ",".join(state["symbols"])})[1]) == len(state["symbols"])
