"""Nothing in the catalog looks ahead or remembers more than it says: on days and on minutes, with gaps and late listings."""

from __future__ import annotations

from dataclasses import replace
from datetime import date, timedelta

import numpy as np
import pytest

from app.backtest.analysers.futures import Bars
from app.backtest.analysers.strategy_check import check_lookahead, check_warmup
from app.domain.bar import BarSeries
from app.marketdata.generator import generate_daily
from app.runtime.calendar import new_york_calendar
from app.strategies.catalog import CATALOG
from app.strategies.strategy import checked

SYMBOLS = ("SPY", "AAPL")


@pytest.fixture(scope="module")
def days() -> Bars:
    sessions = new_york_calendar().between(date(2020, 1, 2), date(2023, 12, 29))
    return generate_daily(13, SYMBOLS, sessions)


@pytest.fixture(scope="module")
def minutes(days: Bars) -> Bars:
    """Five-minute bars of ten sessions each, with the prices of the days."""
    sessions = new_york_calendar().between(date(2023, 12, 1), date(2023, 12, 15))
    starts = [s.opens_at + timedelta(minutes=5 * i) for s in sessions for i in range((s.closes_at - s.opens_at).seconds // 300)]
    label = np.array([int(start.timestamp()) for start in starts], dtype=np.int64)
    return {symbol: _relabelled(series, label) for symbol, series in days.items()}


def _relabelled(series: BarSeries, label: np.ndarray) -> BarSeries:
    return replace(
        series.last(len(label)), timeframe="5Min", timestamp=label[-len(series) :], known_at=label[-len(series) :] + 300
    )


@pytest.mark.parametrize("timeframe", ["days", "minutes"])
@pytest.mark.parametrize("name", CATALOG)
def test_no_strategy_of_the_catalog_is_flagged(name: str, timeframe: str, request: pytest.FixtureRequest) -> None:
    bars: Bars = request.getfixturevalue(timeframe)
    strategy = CATALOG[name]
    values = checked(strategy, {})
    for found in (check_lookahead(strategy, values, bars), check_warmup(strategy, values, bars)):
        assert found.findings == ()
        assert found.passed
