"""Time and calendar (rows F): the venue's clock decides, ours is only compared with it."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pytest
from sqlalchemy import text

from app.domain.trading_state import Cause, TradingState, VenueHealth
from app.risk.health import venue_trouble
from app.risk.limits import RiskLimits
from tests.databases import HandClock
from tests.faults.bench import CALM, RISING, Bench


@pytest.mark.row("F01")
@pytest.mark.parametrize("minutes", [-5, 5])
def test_clocks_five_minutes_apart_stop_entries_until_they_agree(bench: Bench, minutes: int) -> None:
    clock = HandClock()

    def aligned(by: timedelta) -> None:
        clock.at = datetime.fromisoformat(bench.exchange.state()["clock"]) + by

    aligned(timedelta(minutes=minutes))
    system = bench.start(clock=clock, mode="paper")
    assert system.trading.run_cycle().orders == 0
    assert bench.trading == ("REDUCING", "clock_skew")
    assert len(bench.alerts("clock_skew")) == 1
    (row,) = [row for row in system.risk.status()["breakers"] if row["breaker"] == "clock_skew"]
    assert row["tripped"] and row["reading"] == pytest.approx(300, abs=1)
    bench.exchange.step()
    aligned(timedelta(seconds=4))
    assert system.trading.run_cycle().orders == 7
    bench.exchange.step()
    aligned(timedelta(seconds=6))
    system.venue.clock()
    assert "clock_skew" in str(system.risk.entries_forbidden()), "also right before an order leaves"


@pytest.mark.row("F01")
@pytest.mark.parametrize(("seconds", "trips"), [(0.0, False), (5.0, False), (5.001, True), (float("nan"), True)])
def test_the_boundary_of_the_clocks(seconds: float, trips: bool) -> None:
    assert (Cause.CLOCK_SKEW in venue_trouble(VenueHealth(clock_skew_seconds=seconds), RiskLimits())) is trips


@pytest.mark.row("F02")
@pytest.mark.parametrize("hours", [-2, 26])
def test_a_step_of_our_clock_neither_shortens_nor_loses_a_halt(bench: Bench, hours: int) -> None:
    clock = HandClock()
    system = bench.start(CALM, clock=clock)
    bench.cycle()
    venue_now = system.venue.clock().now
    until = venue_now + timedelta(hours=24)
    bench.put(trading_state=TradingState.REDUCING, cause="daily_loss", until=until)
    clock.forward(hours * 3600)
    bench.start(RISING, clock=clock)
    sent = []
    while system.venue.clock().now < until + timedelta(hours=1):
        now = system.venue.clock().now
        sent.append((now >= until, bench.system.trading.run_cycle().orders > 0))
        bench.exchange.step(1200)
    assert not any(ordered for over, ordered in sent if not over)
    assert any(ordered for over, ordered in sent if over)


@pytest.fixture
def berlin(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "Europe/Berlin")
    time.tzset()
    yield
    monkeypatch.delenv("TZ")
    time.tzset()


@pytest.mark.row("F04")
def test_a_server_in_berlin_writes_utc(bench: Bench, berlin: None) -> None:
    bench.start()
    now = bench.system.venue.clock().now
    report = bench.cycle()
    assert report.cycle_id == f"{now:%Y%m%dT%H%M%SZ}"
    (slot,) = bench.ledger._db.read(lambda c: c.execute(text("SELECT slot FROM cycles")).scalars().all())
    assert datetime.fromisoformat(slot).replace(tzinfo=UTC) == now
    assert all(one.created_at.tzinfo is not None for one in bench.ledger.orders())


EARLY_CLOSE = date(2024, 7, 3)  # 13:00 in New York; the day after is a holiday


@pytest.mark.row("F05", "I12")
def test_after_an_early_close_nothing_is_sent_and_a_liquidation_waits_for_the_next_opening(bench: Bench) -> None:
    bench.exchange.reset(start=EARLY_CLOSE.isoformat())
    bench.exchange.move(advance_seconds=600)
    held = bench.holding({"AAPL": 0.03, "MSFT": 0.03})
    bench.exchange.move(to="2024-07-03T17:05:00Z")
    bench.put(trading_state=TradingState.FLATTENING, cause="hard_daily_loss")
    before = bench.posts()
    for moment in ("2024-07-03T18:00:00Z", "2024-07-04T15:00:00Z"):
        bench.exchange.move(to=moment)
        assert bench.system.trading.run_cycle().outcome == "market_closed"
        assert bench.trading[0] == "FLATTENING", "everyone can see that it is under way"
    assert bench.posts() == before
    bench.exchange.move(to="2024-07-05T13:40:00Z")
    bench.system.trading.run_cycle()
    sold = {one["symbol"] for one in bench.at_venue("sell") if one["type"] == "market"}
    assert sold == set(held)
    for _ in range(3):
        bench.exchange.step()
        bench.system.trading.run_cycle()
    assert bench.ledger.portfolio().positions == {}
    assert bench.trading == ("HALTED", "hard_daily_loss")
    bench.assert_books_agree()


@pytest.mark.row("F06")
def test_what_an_order_of_the_last_seconds_buys_is_protected_over_the_close(bench: Bench) -> None:
    bench.start(CALM)
    bench.cycle()
    bench.exchange.move(to=bench.exchange.state()["clock"][:11] + "20:59:58Z")
    bench.start(RISING)
    assert bench.system.trading.run_cycle().orders > 0
    assert {one["time_in_force"] for one in bench.exchange.ledger()["orders"]} == {"gtc"}, "entry and legs outlive the day"
    bench.exchange.move(next_open=True)
    bench.exchange.move(advance_seconds=600)
    bench.expect(CALM)
    bench.cycle()
    bench.assert_books_agree()
    resting = [one["symbol"] for one in bench.at_venue("sell", resting=True)]
    assert all(resting.count(symbol) == 2 for symbol in bench.ledger.portfolio().positions)


@pytest.mark.row("F08")
def test_after_six_hours_of_sleep_everything_is_looked_at_anew(bench: Bench) -> None:
    bench.start({"AAPL": 0.03, "MSFT": 0.03})
    first = bench.system.trading.run_cycle()
    bench.exchange.step(6 * 3600)
    report = bench.cycle()
    assert (first.orders, report.outcome) == (2, "completed")
    bench.assert_books_agree()
    assert set(bench.posts().values()) == {1}


@pytest.mark.row("F10")
def test_the_venues_word_that_it_is_closed_wins_over_the_calendar(bench: Bench) -> None:
    bench.start()
    bench.system.venue.prepare()
    now, calendar = bench.system.venue.clock().now, bench.system.venue.calendar()
    assert any(session.opens_at <= now < session.closes_at for session in calendar.between(now.date(), now.date()))
    bench.fault("patch", path="/v2/clock", patch={"is_open": False}, times=1)
    assert bench.system.trading.run_cycle().outcome == "market_closed"
    assert bench.posts().total() == 0
    assert Decimal(bench.exchange.ledger()["cash"]) == 100_000
