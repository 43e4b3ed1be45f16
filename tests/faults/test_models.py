"""Models (rows H): whatever a forecaster says, the limits are ours."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import pytest

from app.domain.errors import Conflict
from app.domain.forecast import Forecast
from app.risk.limits import RiskLimits
from tests.databases import HandClock
from tests.engine.worlds import Quote, book_of, decided
from tests.faults.bench import CALM, RISING, Bench
from tests.trading.exchange import SYMBOLS, assert_limits_held


class Stub:
    """A forecaster that answers as it is told."""

    def __init__(self, answers: Mapping[str, Any]) -> None:
        self.answers = answers

    def forecast(self, bars: Any, at: Any) -> dict[str, Any]:
        return {symbol: self._made(symbol, bars, at) for symbol in self.answers if symbol in bars}

    def _made(self, symbol: str, bars: Any, at: Any) -> Any:
        values = self.answers[symbol]
        last = float(bars[symbol].close[-1])
        expected = values.get("daily_return", 0.03)
        base = {"daily_return": expected, "confidence": 0.9, "members": (expected,) * 6, "last_close": last}
        return Forecast(symbol=symbol, last_close_at=at, model="stub", **{**base, **values})


@pytest.mark.row("H05")
@pytest.mark.parametrize(
    "nonsense",
    [
        {"daily_return": math.nan}, {"daily_return": math.inf}, {"daily_return": -math.inf}, {"confidence": 1.7},
        {"confidence": math.nan}, {"confidence": -0.1}, {"last_close": math.nan}, {"last_close": 0.0},
        {"members": ()},
    ],
    ids=str,
)  # fmt: skip
def test_h05_nonsense_of_a_model_is_no_signal(bench: Bench, nonsense: dict[str, Any]) -> None:
    bench.start(forecaster=Stub({"AAPL": nonsense, "MSFT": {}}))
    report = bench.cycle()
    assert report.outcome == "completed"
    bought = {one["symbol"] for one in bench.at_venue("buy")}
    assert bought == ({"AAPL", "MSFT"} if nonsense == {"members": ()} else {"MSFT"}), "members are only shown"


@pytest.mark.row("H01")
def test_h01_without_a_model_a_symbol_is_skipped_and_its_exits_go_on(bench: Bench) -> None:
    held = bench.holding({"AAPL": 0.03})
    legs = [one for one in bench.at_venue("sell", resting=True) if one["symbol"] in held]
    bench.start(forecaster=Stub({"MSFT": {}}))
    assert bench.cycle().orders == 1
    rows = {row.symbol: row for row in bench.ledger.decisions(cycle_id=bench.ledger.latest_cycle().cycle_id, limit=50)}
    assert rows["TSLA"].reason == "no_forecast"
    assert [one for one in bench.at_venue("sell", resting=True) if one["symbol"] in held] == legs


@pytest.mark.row("H08")
def test_h08_when_every_symbol_is_to_be_bought_the_caps_hold_and_the_best_are_taken(bench: Bench) -> None:
    best = sorted(SYMBOLS)[:7]
    bench.start(forecaster=Stub({s: {"daily_return": 0.09 if s in best else 0.03, "confidence": 0.99} for s in SYMBOLS}))
    assert bench.system.trading.run_cycle().orders == 7
    assert {one["symbol"] for one in bench.at_venue("buy")} == set(best)
    for _ in range(3):
        bench.exchange.step()
        bench.system.trading.run_cycle()
    assert assert_limits_held(bench.exchange, RiskLimits()) >= 1


@pytest.mark.row("H08")
def test_h08_of_500_symbols_at_099_seven_are_bought() -> None:
    quotes = {f"S{i}": Quote(expected=0.01 + i / 10_000, confidence=0.99) for i in range(500)}
    decision = decided(quotes, book_of(quotes=quotes))
    assert [v.order.symbol for v in decision.orders] == [f"S{i}" for i in range(499, 492, -1)]
    value = sum(v.order.quantity * v.order.limit_price for v in decision.orders)
    assert value <= 80_000


@pytest.mark.row("H09")
def test_h09_what_a_forecast_of_twenty_minutes_decides_is_not_sent(bench: Bench) -> None:
    clock = HandClock()

    class Endless(Stub):
        """Meanwhile the next slot begins, and another worker runs it."""

        def forecast(self, bars: Any, at: Any) -> dict[str, Any]:
            clock.forward(1200)
            bench.exchange.step()
            others.append(bench.start(CALM, clock=clock).trading.run_cycle())
            return super().forecast(bars, at)

    others: list[Any] = []
    slow = bench.start(forecaster=Endless({s: {} for s in RISING}), clock=clock)
    with pytest.raises(Conflict):
        slow.trading.run_cycle()
    assert [other.outcome for other in others] == ["completed"]
    assert bench.posts().total() == 0
