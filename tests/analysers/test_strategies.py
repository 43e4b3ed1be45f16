"""Planted leaks in strategies are caught, with the right part named; honest ones are not flagged."""

from __future__ import annotations

from datetime import date

import numpy as np
import pytest

from app.backtest.analysers.futures import Bars, instants
from app.backtest.analysers.lookahead import restated
from app.backtest.analysers.strategy_check import check_lookahead, check_warmup
from app.domain.errors import InvalidInput
from app.marketdata.generator import generate_daily
from app.runtime.calendar import new_york_calendar
from tests.analysers.leaks import HONEST, LEAKS, Planted, rolling, sign_of


@pytest.fixture(scope="module")
def bars() -> Bars:
    sessions = new_york_calendar().between(date(2022, 1, 3), date(2023, 12, 29))
    return generate_daily(5, ("SPY", "AAPL", "MSFT", "TSLA"), sessions)


@pytest.mark.parametrize("name", LEAKS)
def test_every_planted_leak_is_caught_and_placed(bars: Bars, name: str) -> None:
    make, judge, part = LEAKS[name]
    found = check_lookahead(Planted(name, make, judge), {}, bars)
    assert not found.passed
    assert found.leak == part, found.findings[:3]


@pytest.mark.parametrize("name", HONEST)
def test_the_honest_are_not_flagged(bars: Bars, name: str) -> None:
    make, judge, memory = HONEST[name]
    strategy = Planted(name, make, judge, declared=memory)
    for found in (check_lookahead(strategy, {}, bars), check_warmup(strategy, {}, bars)):
        assert found.findings == ()
        assert found.passed
        assert found.compared > 0


def test_a_finding_says_where_and_what(bars: Bars) -> None:
    make, judge, _ = LEAKS["negative_shift"]
    first = check_lookahead(Planted("negative_shift", make, judge), {}, bars).findings[0]
    assert (first.part, first.symbol, first.column, first.future) == ("columns", "SPY", "next", "cut off")
    assert first.known == "nan"
    series = bars["SPY"]
    at = int(np.searchsorted(series.timestamp, int(first.bar.timestamp())))
    assert float(first.told) == pytest.approx(series.close[at + 1] / series.close[at] - 1.0)


def test_a_memory_that_is_too_short_is_found_and_measured(bars: Bars) -> None:
    def make(panel):  # type: ignore[no-untyped-def]
        return {"gap": panel.close / rolling(panel.close, 25) - 1.0}

    short = check_warmup(Planted("short", make, sign_of("gap"), declared=24), {}, bars)
    assert not short.passed
    assert short.leak == "memory"
    right = check_warmup(Planted("right", make, sign_of("gap"), declared=25), {}, bars)
    assert right.passed
    assert right.needs is not None
    assert right.needs["gap"] == 25


def test_a_column_that_remembers_everything_is_told(bars: Bars) -> None:
    def make(panel):  # type: ignore[no-untyped-def]
        out = panel.close.copy()
        for t in range(1, out.shape[1]):
            out[:, t] = 0.99 * out[:, t - 1] + 0.01 * panel.close[:, t]
        return {"smooth": out}

    found = check_warmup(Planted("endless", make, lambda c: c["smooth"] * 0.0, declared=1), {}, bars)
    assert found.passed  # the score itself needs no more than it says
    assert found.needs == {"score": 1, "smooth": None}


def test_restated_bars_are_told(bars: Bars) -> None:
    import dataclasses

    later = dict(bars)
    close = bars["AAPL"].close.copy()
    close[40] *= 1.01
    later["AAPL"] = dataclasses.replace(bars["AAPL"], close=close)
    earlier = {symbol: series.slice(0, 300) for symbol, series in bars.items()}
    (finding,) = restated(earlier, later)
    assert (finding.part, finding.symbol, finding.column, finding.rows) == ("data", "AAPL", "close", 1)
    assert restated(earlier, bars) == []
    gone = {symbol: series.slice(10, 500) for symbol, series in bars.items()}
    assert {(one.column, one.rows) for one in restated(earlier, gone)} == {("row", 10)}


def test_bad_input_is_told(bars: Bars) -> None:
    make, judge, _ = HONEST["nothing"]
    with pytest.raises(InvalidInput, match="too few"):
        check_lookahead(Planted("long", make, judge, declared=5000), {}, bars)
    with pytest.raises(InvalidInput, match="memory of 0"):
        check_warmup(Planted("none", make, judge, declared=0), {}, bars)
    wrong = Planted("wrong", lambda p: {"row": p.close[0]}, lambda c: c["row"])
    with pytest.raises(InvalidInput, match="has shape"):
        check_lookahead(wrong, {}, bars)


def test_instants_lie_at_and_between_bars(bars: Bars) -> None:
    found = instants(bars, first=50, count=8)
    known = bars["SPY"].known_at
    on = [int(at.timestamp()) in set(known.tolist()) for at in found]
    assert any(on)
    assert not all(on)
    assert instants(bars, first=10_000, count=8) == []
