"""BacktestService with strategies of rules: which loop runs, costs, timeframes, and every refusal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import pytest

from app.backtest.days import series_of
from app.commands.backtest import read_parameters
from app.domain.bar import BarSeries
from app.domain.errors import InvalidInput, NotFound
from app.learning.model import TunedParams
from app.risk.limits import Policy, RiskLimits
from app.services.backtest_service import BacktestService
from app.services.strategies.strategy_service import StrategyService
from tests.backtest.panels import minute_panel, random_panel
from tests.backtest.test_service import Models

pytestmark = pytest.mark.timeout(900)  # the first run compiles the loop


class Stored:
    def __init__(self, bars: Mapping[str, BarSeries]) -> None:
        self.held = bars
        self.saved: list[Mapping[str, Any]] = []

    def bars(self, symbols: Sequence[str], timeframe: str) -> dict[str, BarSeries]:
        return {s: self.held[s] for s in symbols if s in self.held and self.held[s].timeframe == timeframe}

    def save_backtest(self, params: Mapping[str, Any], performance: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        self.saved.append(result)
        return f"backtest-{len(self.saved)}"


class NoParams:
    def load(self, symbol: str) -> TunedParams | None:
        return None


@pytest.fixture(scope="module")
def bars() -> dict[str, BarSeries]:
    return series_of(random_panel(21, 4, 400, sigma=0.02)[0])


def service(bars: Mapping[str, BarSeries], tmp_path: Any) -> tuple[BacktestService, Stored]:
    stored = Stored(bars)
    made = BacktestService(
        stored,
        models=Models(datetime(2019, 1, 1, tzinfo=UTC)),
        params=NoParams(),  # type: ignore[arg-type]
        watchlist=tuple(bars),
        limits=RiskLimits(),
        policy=Policy(),
        strategies=StrategyService(tmp_path),
    )
    return made, stored


def test_a_strategy_of_rules_is_tested_at_compiled_speed(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    made, stored = service(bars, tmp_path)
    seen: list[tuple[int, int]] = []
    asked = {"strategy": "sma_cross", "parameters": {"fast": 5, "slow": 20}, "days": 300, "commission_bps": "1"}
    answer = made.run(asked, lambda done, total, _: seen.append((done, total)))
    assert answer["assumptions"]["engine"] == "compiled" and answer["assumptions"]["strategy"] == "sma_cross"
    assert answer["performance"]["fills"] > 10 and answer["performance"]["commissions"] > 0
    assert len(answer["equity_curve"]) >= 300 and seen[-1] == (300, 300) and len(stored.saved) == 1


def test_both_loops_give_the_same_trades(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    made, _ = service(bars, tmp_path)
    asked = {"strategy": "rsi", "days": 250, "half_spread_bps": "2", "impact_bps": "10"}
    compiled = made.run(asked)
    driven = made.run(asked | {"participation": "1"})  # a share so large that every order fills whole
    assert (compiled["assumptions"]["engine"], driven["assumptions"]["engine"]) == ("compiled", "driver")
    assert compiled["trades"] == driven["trades"] and compiled["trades"]
    assert compiled["equity_curve"] == driven["equity_curve"]
    assert compiled["decisions_by_reason"] == driven["decisions_by_reason"]


def test_strategies_share_an_account_and_their_profits_are_told(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    made, _ = service(bars, tmp_path)
    asked = {"strategy": "sma_cross(fast=5, slow=20):0.1 rsi:0.2", "days": 250, "commission_bps": "1"}
    compiled, driven = made.run(asked), made.run(asked | {"participation": "1"})
    assert (compiled["assumptions"]["engine"], driven["assumptions"]["engine"]) == ("compiled", "driver")
    assert compiled["trades"] == driven["trades"] and {trade["strategy"] for trade in compiled["trades"]} == {
        "sma_cross",
        "rsi",
    }
    assert compiled["assumptions"]["budgets"] == {"sma_cross": 0.1, "rsi": 0.2}
    rows, figures = compiled["attribution"], compiled["performance"]
    assert [row["strategy"] for row in rows] == ["sma_cross", "rsi"]
    earned = sum(row["profit"] for row in rows)
    assert earned == pytest.approx(figures["final_equity"] - figures["initial_capital"], abs=0.01)
    assert sum(row["turnover_per_year"] for row in rows) == pytest.approx(figures["turnover_per_year"])
    assert sum(row["mean_exposure"] for row in rows) == pytest.approx(figures["mean_exposure"])
    assert sum(row["costs"] for row in rows) == pytest.approx(figures["costs"], abs=0.01)
    assert all(row["max_exposure"] <= row["budget"] * 1.1 for row in rows)
    for one, other in zip(rows, driven["attribution"], strict=True):
        assert one.pop("strategy") == other.pop("strategy") and one == pytest.approx(other, rel=1e-9)


def test_hours_of_pairs_around_the_clock(tmp_path: Any) -> None:
    panel, days = minute_panel(5, 2, 60)
    named = {f"{s}/USD": series for s, series in series_of(panel).items()}
    made, _ = service(named, tmp_path)
    answer = made.run({"strategy": "donchian_breakout", "timeframe": "1Hour", "days": 30})
    assert answer["span"]["end"] == days[-1].day.isoformat() and answer["span"]["sessions"] == 30
    assert answer["performance"]["decisions"] == 30 * 24


def test_faults_say_what_to_do(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    made, stored = service(bars, tmp_path)
    for asked, said in (
        ({"strategy": "sma_cros"}, "sma_cross"),
        ({"strategy": "sma_cross", "parameters": {"fats": 3}}, "no such parameter"),
        ({"strategy": "sma_cross", "timeframe": "5Min"}, "no 5Min bars"),
        ({"strategy": "sma_cross", "timeframe": "2Min"}, "timeframe"),
        ({"timeframe": "5Min"}, "belong to a strategy"),
        ({"strategy": "sma_cross", "participation": "2"}, "participation"),
        ({"strategy": "sma_cross", "days": 500}, "500 sessions"),
        ({"strategy": "sma_cross", "symbols": ["S000", "BTC/USD"]}, "BTC/USD"),
    ):
        with pytest.raises((InvalidInput, NotFound), match=said):
            made.run(asked)
    assert not stored.saved


def test_what_progress_raises_ends_it_and_keeps_nothing(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    class Enough(Exception):
        pass

    def stop(done: int, total: int, message: str) -> None:
        raise Enough

    made, stored = service(bars, tmp_path)
    for extra in ({}, {"participation": "0.5"}):
        with pytest.raises(Enough):
            made.run({"strategy": "rsi", "days": 250} | extra, stop)
    assert not stored.saved


def test_parameters_are_read() -> None:
    assert read_parameters("fast=10, slow=50.5") == {"fast": 10.0, "slow": 50.5}
    for text in ("fast", "fast=", "=3", "fast=x", "fast=nan"):
        with pytest.raises(InvalidInput, match="name=number"):
            read_parameters(text)
