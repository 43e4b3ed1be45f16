"""The bars a strategy sees live: asked for in one listing, joined with those already held, of regular sessions only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from app.domain.bar import BarSeries
from app.runtime.calendar import new_york_calendar
from app.services.trading.market_collector import MarketCollector

OPENS = datetime(2024, 3, 5, 14, 30, tzinfo=UTC)  # a Tuesday


def bars(symbol: str, starts: list[datetime], close: float = 100.0) -> BarSeries:
    at = np.array([int(start.timestamp()) for start in starts], dtype=np.int64)
    price = close + np.arange(len(starts), dtype=np.float64)
    return BarSeries(
        symbol=symbol, timeframe="1Min", timestamp=at, known_at=at + 60, open=price, high=price, low=price, close=price,
        volume=price,
    )  # fmt: skip


class Venue:
    """A venue that tells what it is made to tell, and remembers what it was asked."""

    def __init__(self) -> None:
        self.told: dict[str, BarSeries] = {}
        self.asked: list[tuple[datetime, datetime]] = []

    def calendar(self) -> Any:
        return new_york_calendar()

    def bars(self, *, timeframe: str, start: datetime, end: datetime) -> dict[str, BarSeries]:
        assert timeframe == "1Min"
        self.asked.append((start, end))
        first = int(start.timestamp())
        recent = {s: b.slice(int(np.searchsorted(b.timestamp, first)), len(b)).known_by(end) for s, b in self.told.items()}
        return {symbol: series for symbol, series in recent.items() if len(series)}


def minutes(first: datetime, count: int) -> list[datetime]:
    return [first + timedelta(minutes=k) for k in range(count)]


def test_later_cycles_ask_for_what_follows_and_take_corrections_and_late_symbols() -> None:
    venue = Venue()
    collector = MarketCollector(venue, timeframe="1Min", count=4)  # type: ignore[arg-type]
    venue.told = {"A": bars("A", minutes(OPENS, 30))}
    now = OPENS + timedelta(minutes=10)
    first = collector.bars(now)
    assert first["A"].timestamp[-1] == int((now - timedelta(minutes=1)).timestamp()) and len(first["A"]) == 8
    assert venue.asked[0][0] < OPENS - timedelta(hours=20)  # the session before, in case the day is young

    venue.told = {"A": bars("A", minutes(OPENS, 30), close=200.0), "B": bars("B", minutes(OPENS + timedelta(minutes=9), 5))}
    second = collector.bars(now + timedelta(minutes=2))
    assert venue.asked[1][0] == now - timedelta(minutes=1)
    assert second["A"].close.tolist() == [104.0, 105.0, 106.0, 107.0, 108.0, 209.0, 210.0, 211.0]
    assert len(second["B"]) == 3
    assert np.array_equal(np.diff(second["A"].timestamp), np.full(7, 60))

    venue.told = {}
    third = collector.bars(now + timedelta(minutes=3))
    assert third["A"].close.tolist() == second["A"].close.tolist()


def test_a_new_day_is_asked_for_anew_and_bars_out_of_sessions_are_left_out() -> None:
    venue = Venue()
    collector = MarketCollector(venue, timeframe="1Min", count=4)  # type: ignore[arg-type]
    closes = OPENS + timedelta(hours=6, minutes=30)
    venue.told = {"A": bars("A", [*minutes(closes - timedelta(minutes=2), 4)])}
    evening = collector.bars(closes + timedelta(minutes=5))
    assert evening["A"].timestamp.tolist() == [int((closes - timedelta(minutes=k)).timestamp()) for k in (2, 1)]
    morning = OPENS + timedelta(days=1)
    venue.told = {"A": bars("A", [*minutes(closes - timedelta(minutes=2), 4), *minutes(morning - timedelta(minutes=1), 3)])}
    found = collector.bars(morning + timedelta(minutes=2))["A"]
    assert [int(at) for at in found.timestamp[-2:]] == [int((morning + timedelta(minutes=k)).timestamp()) for k in (0, 1)]
    assert len(found) == 4 and venue.asked[1][0] < closes


def test_what_lies_in_a_session() -> None:
    calendar = new_york_calendar()
    half_day = datetime(2024, 7, 3, 17, 0, tzinfo=UTC)  # closes at 13:00 New York
    cases = {
        (OPENS, OPENS + timedelta(minutes=1)): True,
        (OPENS - timedelta(minutes=1), OPENS): False,
        (OPENS - timedelta(minutes=30), OPENS + timedelta(minutes=30)): True,  # Alpaca's first hour bar
        (half_day - timedelta(minutes=1), half_day): True,
        (half_day, half_day + timedelta(minutes=1)): False,
        (datetime(2024, 7, 4, 15, tzinfo=UTC), datetime(2024, 7, 4, 16, tzinfo=UTC)): False,
        (datetime(2024, 7, 6, 15, tzinfo=UTC), datetime(2024, 7, 6, 16, tzinfo=UTC)): False,
    }
    starts, ends = (np.array([int(pair[k].timestamp()) for pair in cases], dtype=np.int64) for k in (0, 1))
    assert calendar.in_session(starts, ends).tolist() == list(cases.values())
