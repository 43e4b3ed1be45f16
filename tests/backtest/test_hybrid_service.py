"""BacktestService with strategies that mix rules with the models' forecasts: models retrained as the span goes on."""

from __future__ import annotations

from datetime import UTC, date, datetime
from typing import Any

import numpy as np
import pytest

from app.domain.bar import BarSeries
from app.domain.errors import InvalidInput
from app.learning.training import MINIMUM_BARS
from app.marketdata.generator import generate_daily
from app.runtime.calendar import Session, new_york_calendar
from app.services.backtests.past_forecasts import closes_of, forecasts_at
from app.services.research.retrained_models import walk_forward
from app.services.strategies.strategy_service import StrategyService
from app.strategies.confirmed_forecast import ConfirmedForecast
from app.strategies.forecaster import StrategyForecaster, TapedForecaster
from tests.backtest.test_service import SYMBOLS, MemoryDatabase, Models, QuickParams, service

pytestmark = pytest.mark.timeout(900)  # the first run compiles the loop
ASKED = {
    "strategy": "confirmed_forecast",
    "parameters": {"least_return": 0.0, "confidence": 0.0, "length": 5},
    "symbols": list(SYMBOLS),
    "days": 45,
}


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    return new_york_calendar().between(date(2022, 1, 1), date(2024, 12, 31))[: MINIMUM_BARS + 60]


@pytest.fixture(scope="module")
def bars(sessions: list[Session]) -> dict[str, BarSeries]:
    return generate_daily(5, (*SYMBOLS, "SPY"), sessions)


def run(bars: dict[str, BarSeries], tmp_path: Any, asked: Any, progress: Any = lambda *_: None, **changes: Any) -> Any:
    database = MemoryDatabase(bars)
    made = service(bars, database=database, strategies=StrategyService(tmp_path), **changes)
    return made.run(asked, progress), database


def test_a_hybrid_trades_on_models_retrained_inside_the_span(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    seen: list[tuple[int, int]] = []
    answer, database = run(bars, tmp_path, ASKED, lambda done, total, _: seen.append((done, total)))
    assert answer["assumptions"]["engine"] == "compiled" and "retrained" in answer["assumptions"]["models"]
    assert answer["performance"]["fills"] > 4 and len(database.saved) == 1
    assert seen[0] == (1, 48) and seen[-1] == (48, 48) and seen == sorted(seen)
    driven, _ = run(bars, tmp_path, ASKED | {"participation": "1"})
    assert driven["assumptions"]["engine"] == "driver" and driven["trades"] == answer["trades"]


def test_what_comes_later_changes_nothing_before(bars: dict[str, BarSeries], sessions: list[Session], tmp_path: Any) -> None:
    first = sessions[-45].day.isoformat()
    whole, _ = run(bars, tmp_path, ASKED | {"start": first})
    cut = {symbol: series.slice(0, len(series) - 15) for symbol, series in bars.items()}
    part, _ = run(cut, tmp_path, ASKED | {"start": first})
    count = len(part["equity_curve"])
    assert count == 30 and part["performance"]["fills"] > 0
    assert [row["equity"] for row in whole["equity_curve"][:count]] == [row["equity"] for row in part["equity_curve"]]


def test_it_says_at_each_close_what_a_live_cycle_would_have_said(bars: dict[str, BarSeries], sessions: list[Session]) -> None:
    from app.domain.panel import align

    traded = sessions[-6:]
    models = walk_forward(bars, closes_of(traded), QuickParams(), progress=lambda *_: None, window=2, workers=1)
    values = ASKED["parameters"]
    past = forecasts_at(closes_of(traded), bars, models, lambda *_: None)
    taped = TapedForecaster(ConfirmedForecast(), values, align(bars), forecasts=past)
    live = StrategyForecaster(ConfirmedForecast(), values, models=models)
    said = [taped.forecast(bars, hours.closes_at) for hours in traded]
    assert said == [live.forecast(bars, hours.closes_at) for hours in traded]
    assert any(np.isfinite(answer.votes["expected"]) and answer.score for answer in said[0].values())


def test_faults_say_what_to_do(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    for asked, said in (
        (ASKED | {"days": 90}, f"fewer than {MINIMUM_BARS} daily bars before"),
        (ASKED | {"timeframe": "5Min"}, "daily bars; leave out timeframe"),
        (ASKED | {"strategy": "ensemble"}, "parameters and a timeframe belong to a strategy of rules"),
    ):
        with pytest.raises(InvalidInput, match=said):
            run(bars, tmp_path, asked)
    late = Models(datetime(2030, 1, 1, tzinfo=UTC))
    with pytest.raises(InvalidInput, match="know data after"):
        run(bars, tmp_path, ASKED | {"models": "stored"}, models=late)


def test_stored_models_are_asked_where_they_know_nothing_of_the_span(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    models = Models(datetime(2020, 1, 1, tzinfo=UTC))
    answer, _ = run(bars, tmp_path, ASKED | {"models": "stored"}, models=models)
    assert models.asked == 45 and answer["performance"]["fills"] > 0


def test_what_progress_raises_ends_it_and_keeps_nothing(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    class Enough(Exception):
        pass

    for last in (1, 4, 48):
        database = MemoryDatabase(bars)
        made = service(bars, database=database, strategies=StrategyService(tmp_path))

        def stop(done: int, total: int, message: str, last: int = last) -> None:
            if done >= last:
                raise Enough

        with pytest.raises(Enough):
            made.run(ASKED, stop)
        assert not database.saved


def test_ensemble_is_another_name_of_the_models(bars: dict[str, BarSeries], tmp_path: Any) -> None:
    asked = {"symbols": list(SYMBOLS), "days": 20}
    named, _ = run(bars, tmp_path, asked | {"strategy": "ensemble"})
    unnamed, _ = run(bars, tmp_path, asked)
    assert named["performance"] == unnamed["performance"] and named["trades"] == unnamed["trades"]
