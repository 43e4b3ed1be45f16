"""One backtest over real bars: the watch list's newest sessions, models retrained, a few symbols to stay quick."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from app.domain.bar import BarSeries
from app.marketdata.files import load_bars
from tests.backtest.test_service import Models, service

DATA = Path(os.environ.get("ALPHA_TRADER_DATA", Path(__file__).parents[2] / "../shared/data")) / "equities_daily"
SYMBOLS = ("AAPL", "JPM", "NVDA", "XOM", "SPY")


@pytest.fixture(scope="module")
def bars() -> dict[str, BarSeries]:
    path = DATA / "watchlist_daily.parquet"
    if not path.is_file():
        pytest.skip("no real bars: put equities_daily/watchlist_daily.parquet beside the project or set ALPHA_TRADER_DATA")
    return load_bars(path, symbols=SYMBOLS).bars


@pytest.mark.data
def test_ninety_real_sessions(bars: dict[str, BarSeries]) -> None:
    answer = service(bars, watchlist=SYMBOLS, models=Models(datetime(2020, 1, 1, tzinfo=UTC))).run({"days": 90})
    figures = answer["performance"]
    assert answer["span"] == {"start": "2023-02-22", "end": "2023-06-30", "sessions": 90}
    assert figures["fills"] > 10 and figures["orders_refused_by_venue"] == 0
    assert figures["max_exposure"] <= 0.81
    assert 0.0 <= figures["max_drawdown"] < 0.2
    spy = bars["SPY"]
    assert answer["benchmark"]["SPY"]["total_return"] == pytest.approx(spy.close[-1] / spy.open[-90] * 0.9998 - 1)
