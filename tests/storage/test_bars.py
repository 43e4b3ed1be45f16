from __future__ import annotations

from dataclasses import fields, replace
from datetime import UTC, datetime

import numpy as np
import pytest

from app.domain.bar import DAILY, MINUTE, BarSeries
from app.domain.errors import InvalidInput
from tests.storage.made import bars


def same(left: BarSeries, right: BarSeries) -> bool:
    return all(np.array_equal(getattr(left, item.name), getattr(right, item.name)) for item in fields(BarSeries))


def at(bar_series: BarSeries, index: int) -> datetime:
    return datetime.fromtimestamp(int(bar_series.timestamp[index]), UTC)


@pytest.mark.parametrize("count", [1, 2, 3_640, 3_641, 9_000])
def test_bars_come_back_to_the_last_bit(ledger, count):
    rng = np.random.default_rng(count)
    given = {
        symbol: replace(bars(symbol, count), close=rng.normal(100, 30, count), volume=rng.random(count) * 1e9)
        for symbol in ("AAPL", "KO", "BTC/USD")
    }
    ledger.save_bars(given)
    found = ledger.bars(list(given), DAILY)
    assert list(found) == list(given)
    assert all(same(found[symbol], given[symbol]) for symbol in given)


def test_windows_and_limits(ledger):
    given = bars(count=10)
    ledger.save_bars({"AAPL": given, "KO": bars("KO", 3)})
    assert same(ledger.bars("AAPL", DAILY, start=at(given, 3), end=at(given, 6))["AAPL"], given.slice(3, 7))
    assert same(ledger.bars("AAPL", DAILY, limit=2)["AAPL"], given.last(2))
    assert same(ledger.bars("AAPL", DAILY, end=at(given, 6), limit=2)["AAPL"], given.slice(5, 7))
    assert ledger.bars(["AAPL", "NONE"], MINUTE) == {}
    assert set(ledger.bars(["AAPL", "NONE", "KO"], DAILY, limit=1)) == {"AAPL", "KO"}


def test_newer_values_win_unless_told_otherwise(ledger):
    first = bars(count=4)
    second = replace(first, close=first.close + np.array([0, 0, 5, 5]))
    ledger.save_bars({"AAPL": first})
    ledger.save_bars({"AAPL": second}, replace=False)
    assert same(ledger.bars("AAPL", DAILY)["AAPL"], first)
    ledger.save_bars({"AAPL": second})
    ledger.save_bars({"AAPL": second})
    assert same(ledger.bars("AAPL", DAILY)["AAPL"], second)


def test_an_unknown_number_stays_unknown(ledger):
    given = replace(bars(count=3), volume=np.array([1.0, np.nan, 3.0]))
    ledger.save_bars({"AAPL": given})
    ledger.save_bars({"AAPL": given})
    found = ledger.bars("AAPL", DAILY)["AAPL"]
    assert np.array_equal(found.volume, given.volume, equal_nan=True)


def test_series_out_of_order_are_refused(ledger):
    good = bars(count=3)
    for wrong in (
        {"AAPL": replace(good, timestamp=good.timestamp[::-1])},
        {"AAPL": replace(good, timestamp=good.timestamp[[0, 0, 1]])},
        {"KO": good},
    ):
        with pytest.raises(InvalidInput):
            ledger.save_bars(wrong)
    assert ledger.bars("AAPL", DAILY) == {}
    ledger.save_bars({"AAPL": good.slice(0, 0)})
    ledger.save_bars({})
    assert ledger.bars("AAPL", DAILY) == {}
