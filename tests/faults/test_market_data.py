"""Market data (rows G): a price is not acted on because it arrived."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import requests

from app.domain.forecast import Forecast
from app.domain.trading_state import TradingState
from tests.faults.bench import CALM, RISING, Bench

SNAPSHOTS = "/v2/stocks/snapshots"


def reasons(bench: Bench) -> dict[str, str]:
    cycle = bench.ledger.latest_cycle()
    assert cycle is not None
    return {row.symbol: row.reason for row in bench.ledger.decisions(cycle_id=cycle.cycle_id, limit=100)}


def trade(**changes: Any) -> dict[str, Any]:
    return {"AAPL": {"latestTrade": changes}}


@pytest.mark.row("G01", "G03")
@pytest.mark.parametrize(
    ("patch", "reason"),
    [
        pytest.param(trade(t="2024-01-02T14:00:00Z"), "stale_price", id="20 minutes old"),
        pytest.param(trade(t=None), "no_price", id="of no time"),
        pytest.param(trade(p=None), "no_price", id="null"),
        pytest.param(trade(p=0), "no_price", id="zero"),
        pytest.param(trade(p=-5), "no_price", id="negative"),
        pytest.param(trade(p="NaN"), "no_price", id="text"),
        pytest.param(trade(p=1e18), "sell_without_position", id="infinite"),
        pytest.param({"AAPL": None}, "no_price", id="absent"),
    ],
)
def test_a_price_that_cannot_be_used_stops_its_symbol_alone(bench: Bench, patch: dict[str, Any], reason: str) -> None:
    bench.start({"AAPL": 0.03, "MSFT": 0.03})
    bench.exchange.step()
    bench.exchange.step()
    bench.fault("patch", path=SNAPSHOTS, patch=patch, keep_nulls=True, times=None)
    report = bench.cycle()
    assert (report.outcome, report.orders) == ("completed", 1)
    assert reasons(bench)["AAPL"] == reason
    assert [one["symbol"] for one in bench.at_venue("buy")] == ["MSFT"]


@pytest.mark.row("G01")
def test_a_stale_price_sells_nothing_and_people_hear_of_it(bench: Bench) -> None:
    held = bench.holding({"AAPL": 0.03})
    bench.fault("patch", path=SNAPSHOTS, patch=trade(t="2024-01-02T10:00:00Z", p=1.0), times=None)
    sells = len(bench.at_venue("sell"))
    bench.expect(RISING)
    assert bench.cycle().orders == 0
    assert (len(bench.at_venue("sell")), bench.trading) == (sells, ("REDUCING", "equity_unreliable"))
    assert bench.alerts("REDUCING")
    assert set(bench.ledger.portfolio().positions) == set(held), "the legs rest at the venue meanwhile"


@pytest.mark.row("G04")
@pytest.mark.parametrize("readings", [1, 2])
@pytest.mark.parametrize("factor", [10.0, 0.01])
def test_g04_a_spike_fires_nothing(bench: Bench, factor: float, readings: int) -> None:
    bench.holding({"AAPL": 0.03})
    sells = len(bench.at_venue("sell"))
    price = bench.system.venue.snapshots(("AAPL",))["AAPL"].price
    peak = bench.risk.high_water_equity
    bench.fault("patch", path=SNAPSHOTS, patch=trade(p=round(price * factor, 2)), times=readings)
    for _ in range(readings):
        bench.cycle()
        assert len(bench.at_venue("sell")) == sells
    assert bench.trading[0] == "REDUCING"
    assert bench.risk.high_water_equity == peak
    for _ in range(3):
        bench.cycle()
    assert (bench.trading[0], len(bench.at_venue("sell"))) == ("ACTIVE", sells)


@pytest.mark.row("G05")
@pytest.mark.parametrize("quote", [{"bp": 200.0, "ap": 100.0}, {"bp": 100.0, "ap": 100.0}, {"bp": 0, "ap": 0}, None], ids=str)
def test_decisions_take_trades_never_the_middle_of_a_quote(bench: Bench, quote: dict[str, float] | None) -> None:
    bench.start({"AAPL": 0.03})
    sound = bench.system.venue.snapshots(("AAPL",))["AAPL"]
    bench.fault("patch", path=SNAPSHOTS, patch={"AAPL": {"latestQuote": quote}}, times=None)
    assert bench.system.venue.snapshots(("AAPL",))["AAPL"] == sound
    assert bench.cycle().orders == 1


@pytest.mark.row("G06")
def test_g06_bars_out_of_order_and_told_twice_are_put_in_order(bench: Bench) -> None:
    venue = bench.start().venue
    now = venue.clock().now
    sound = venue.daily_history(now)["AAPL"]
    query = {"symbols": "AAPL", "timeframe": "1Day", "start": "2023-09-01", "limit": 1000, "adjustment": "split"}
    keys = {"APCA-API-KEY-ID": "k", "APCA-API-SECRET-KEY": "s"}
    rows = requests.get(f"{bench.exchange.url}/v2/stocks/bars", params=query, headers=keys, timeout=30).json()["bars"]["AAPL"]
    told = [*reversed(rows), rows[3], rows[0]]
    bench.fault("patch", path="/v2/stocks/bars", patch={"bars": {"AAPL": told}}, times=None)
    scrambled = bench.start().venue.daily_history(now)["AAPL"]
    assert np.all(np.diff(scrambled.timestamp) > 0)
    assert scrambled.close.tolist() == sound.last(len(scrambled)).close.tolist()


@pytest.mark.row("G09")
def test_g09_a_halted_symbol_is_left_out_and_is_no_error_of_the_venue(bench: Bench) -> None:
    bench.start({"AAPL": 0.03, "MSFT": 0.03})
    bench.fault("halt", symbol="AAPL", times=None)
    bench.fault("status", method="POST", path="/v2/orders", symbol="AAPL", status=403, message="trading halted", times=None)
    bench.cycle()
    assert [one["symbol"] for one in bench.at_venue("buy")] == ["MSFT"]
    assert len(bench.alerts("trading halted")) == 1
    assert bench.system.wire.health().errors == 0
    assert bench.trading[0] == "ACTIVE"


@pytest.mark.row("G09", "I12")
def test_g09_an_exit_from_a_halted_symbol_stays_wanted_until_it_trades_again(bench: Bench) -> None:
    held = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    halted = next(iter(held))
    bench.fault("halt", symbol=halted, times=None)
    bench.fault("status", method="POST", path="/v2/orders", symbol=halted, status=403, message="trading halted", times=None)
    bench.expect(dict.fromkeys(held, -0.03))
    for _ in range(3):
        bench.cycle()
    assert set(bench.ledger.portfolio().positions) == {halted}
    assert bench.alerts("trading halted")
    assert (bench.system.wire.health().errors, bench.trading[0]) == (0, TradingState.ACTIVE.name)
    bench.mend()
    for _ in range(3):
        bench.cycle()
    assert bench.ledger.portfolio().positions == {}
    bench.assert_books_agree()


@pytest.mark.row("G10")
def test_g10_without_market_data_nothing_is_entered_and_the_legs_stay(bench: Bench) -> None:
    bench.holding({"AAPL": 0.03})
    legs = {one["id"] for one in bench.at_venue("sell", resting=True)}
    bench.expect(RISING)
    bench.fault("status", status=503, path="/v2/stocks/*", times=None)
    buys = len(bench.at_venue("buy"))
    assert [bench.cycle().outcome for _ in range(2)] == ["failed", "failed"]
    assert len(bench.at_venue("buy")) == buys
    assert legs and {one["id"] for one in bench.at_venue("sell", resting=True)} <= legs
    assert bench.alerts("failed")
    bench.mend()
    assert bench.cycle().outcome == "completed"


@pytest.mark.row("G11")
def test_g11_symbols_missing_from_an_answer_are_unknown_not_worthless(bench: Bench) -> None:
    held = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    bench.expect(RISING)
    sells = len(bench.at_venue("sell"))
    bench.fault("patch", path=SNAPSHOTS, patch=dict.fromkeys(held), times=1)
    assert bench.cycle().orders == 0
    assert set(reasons(bench)) >= set(held)
    assert {reasons(bench)[symbol] for symbol in held} == {"no_price"}
    assert len(bench.at_venue("sell")) == sells


class Watching:
    """Forecasts nothing and notes when the newest bar it is shown was complete."""

    def __init__(self) -> None:
        self.newest: dict[str, int] = {}
        self.at = 0.0

    def forecast(self, bars: Any, at: Any) -> dict[str, Forecast]:
        self.newest, self.at = {symbol: int(series.known_at[-1]) for symbol, series in bars.items()}, at.timestamp()
        return {}


@pytest.mark.row("G12")
def test_g12_the_bar_of_the_running_day_is_not_forecast_from(bench: Bench) -> None:
    watching = Watching()
    bench.start(forecaster=watching)
    bench.exchange.step(3600)
    bench.cycle()
    assert watching.newest and all(known_at <= watching.at - 3600 for known_at in watching.newest.values())


@pytest.mark.row("G14")
def test_g14_test_prices_on_a_closed_market_touch_nothing(bench: Bench) -> None:
    bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    bench.exchange.move(to="2024-01-06T16:00:00Z")  # a Saturday
    patch = {symbol: {"latestTrade": {"p": 1.1, "t": "2024-01-06T15:59:59Z"}} for symbol in RISING}
    bench.fault("patch", path=SNAPSHOTS, patch=patch, times=None)
    bench.fault("patch", path="/v2/account", patch={"equity": "60000"}, times=None)
    before, points, posts = bench.risk, len(bench.ledger.equity_curve()), bench.posts()
    for number in "123":
        assert bench.system.trading.run_cycle("manual", request_id=number).outcome == "market_closed"
    assert (bench.risk, len(bench.ledger.equity_curve()), bench.posts()) == (before, points, posts)
    bench.mend()
    bench.expect(CALM)
    bench.exchange.move(next_open=True)
    bench.exchange.move(advance_seconds=600)
    bench.cycle()
    assert bench.trading[0] == "ACTIVE"
