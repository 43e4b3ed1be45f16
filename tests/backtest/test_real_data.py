"""One backtest over real bars: the watch list's newest sessions, models retrained, a few symbols to stay quick."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from app.domain.bar import BarSeries
from app.marketdata.files import load_bars
from tests.backtest.test_service import Models, service
from tests.real_data import WATCHLIST_DAILY, needs

SYMBOLS = ("AAPL", "JPM", "NVDA", "XOM", "SPY")


@pytest.fixture(scope="module")
def bars() -> dict[str, BarSeries]:
    return load_bars(WATCHLIST_DAILY, symbols=SYMBOLS).bars


@pytest.mark.data
@needs(WATCHLIST_DAILY)
def test_ninety_real_sessions(bars: dict[str, BarSeries]) -> None:
    answer = service(bars, watchlist=SYMBOLS, models=Models(datetime(2020, 1, 1, tzinfo=UTC))).run({"days": 90})
    figures = answer["performance"]
    assert answer["span"] == {"start": "2023-02-22", "end": "2023-06-30", "sessions": 90}
    assert figures["fills"] > 10 and figures["orders_refused_by_venue"] == 0
    assert figures["max_exposure"] <= 0.81
    assert 0.0 <= figures["max_drawdown"] < 0.2
    spy = bars["SPY"]
    assert answer["benchmark"]["SPY"]["total_return"] == pytest.approx(spy.close[-1] / spy.open[-90] * 0.9998 - 1)
