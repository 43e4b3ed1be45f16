"""BacktestService with a database in memory: the answer's shape and sense, and every refusal."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from typing import Any

import numpy as np
import pytest

from app.domain.bar import BarSeries
from app.domain.errors import InvalidInput
from app.domain.forecast import Forecast, NoForecast
from app.learning.model import ParamChoice, TunedParams
from app.learning.parameters import EnsembleParams
from app.learning.training import MINIMUM_BARS
from app.marketdata.generator import generate_daily
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import Session, new_york_calendar
from app.services.ai_service import ModelStatus
from app.services.backtest_service import BacktestService
from app.services.research.retrained_models import walk_forward
from tests.backtest.markets import NoisyForecaster

SYMBOLS = ("AAPL", "MSFT", "NVDA")
QUICK = EnsembleParams(rounds=6, leaves=3)


class MemoryDatabase:
    def __init__(self, bars: Mapping[str, BarSeries]) -> None:
        self.stored = dict(bars)
        self.saved: list[tuple[Mapping[str, Any], Mapping[str, Any], Mapping[str, Any]]] = []

    def bars(self, symbols: Sequence[str], timeframe: str) -> dict[str, BarSeries]:
        assert timeframe == "1Day"
        return {s: self.stored[s] for s in symbols if s in self.stored}

    def save_backtest(self, params: Mapping[str, Any], performance: Mapping[str, Any], result: Mapping[str, Any]) -> str:
        self.saved.append((params, performance, result))
        return f"backtest-{len(self.saved)}"


class Models(NoisyForecaster):
    """Models that all know the past through `knows`."""

    def __init__(self, knows: datetime) -> None:
        super().__init__()
        self._knows = knows
        self.asked = 0

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> dict[str, Forecast | NoForecast]:
        self.asked += 1
        return super().forecast(bars, at)

    def status(self) -> list[ModelStatus]:
        return [ModelStatus(symbol=s, usable=True, trained_through=self._knows) for s in SYMBOLS]


class QuickParams:
    """Parameters that train in no time."""

    def choose(self, symbol: str, *, at: datetime) -> ParamChoice:
        return ParamChoice(params=QUICK, source="default")

    def save(self, tuned: TunedParams) -> None:
        raise NotImplementedError


@pytest.fixture(scope="module")
def sessions() -> list[Session]:
    return new_york_calendar().between(date(2022, 1, 1), date(2024, 12, 31))[: MINIMUM_BARS + 60]


@pytest.fixture(scope="module")
def bars(sessions: list[Session]) -> dict[str, BarSeries]:
    return generate_daily(5, (*SYMBOLS, "SPY"), sessions)


def service(bars: Mapping[str, BarSeries], **changes: Any) -> BacktestService:
    database = changes.pop("database", None) or MemoryDatabase(bars)
    options: dict[str, Any] = {
        "models": Models(datetime(2020, 1, 1, tzinfo=UTC)),
        "params": QuickParams(),
        "watchlist": SYMBOLS,
        "limits": RiskLimits(),
        "policy": Policy(confidence_threshold=0.5),
        "workers": 2,
    }
    return BacktestService(database, **(options | changes))


def test_the_answer_has_what_was_asked_for(bars: dict[str, BarSeries]) -> None:
    database, steps = MemoryDatabase(bars), []
    answer = service(bars, database=database).run(
        {"symbols": ["aapl", "MSFT", "NVDA"], "days": 45, "initial_capital": 50_000},
        lambda done, total, what: steps.append((done, total)),
    )
    assert answer["status"] == "completed"
    asked = {"total_return", "annualized_return", "sharpe_ratio", "max_drawdown", "win_rate"}
    assert asked <= answer["performance"].keys()
    assert len(answer["equity_curve"]) == 45 == answer["span"]["sessions"]
    figures, curve = answer["performance"], answer["equity_curve"]
    assert figures["fills"] > 0 and figures["orders_refused_by_venue"] == 0
    assert figures["total_return"] == pytest.approx(curve[-1]["equity"] / 50_000 - 1, abs=1e-6)
    assert figures["trades"] == len(answer["trades"])
    assert sum(answer["decisions_by_reason"].values()) == 45 * 3
    assert answer["benchmark"]["SPY"]["total_return"] == pytest.approx(curve[-1]["SPY"] / 50_000 - 1, abs=1e-6)
    assert steps == [(i, 48) for i in range(1, 49)]
    assert json.loads(json.dumps(answer, allow_nan=False)) == answer
    assert answer["backtest_id"] == "backtest-1" and database.saved[0][1] == figures


def test_the_same_request_gives_the_same_answer(bars: dict[str, BarSeries]) -> None:
    asked = {"days": 30, "seed": 11}
    one, other = (service(bars).run(asked) for _ in range(2))
    assert one == other


def test_walk_forward_knows_nothing_of_the_future(bars: dict[str, BarSeries], sessions: list[Session]) -> None:
    """Other bars from session 24 on change no forecast made before it, not even within its training window."""
    span = sessions[-50:]
    cut = int(span[24].closes_at.timestamp())
    changed = {}
    for symbol in SYMBOLS:
        series = bars[symbol]
        factor = np.where(series.known_at >= cut, np.linspace(1.5, 3.0, len(series)), 1.0)
        prices = {name: getattr(series, name) * factor for name in ("open", "high", "low", "close")}
        changed[symbol] = replace(series, **prices)
    own = {s: bars[s] for s in SYMBOLS}
    quiet = lambda done, total, what: None  # noqa: E731
    one = walk_forward(own, span, QuickParams(), progress=quiet, workers=2)
    other = walk_forward(changed, span, QuickParams(), progress=quiet, workers=2)
    differing = 0
    for session in span:
        first, second = one.forecast(own, session.opens_at), other.forecast(changed, session.opens_at)
        assert all(isinstance(f, Forecast) and f.last_close_at < session.opens_at for f in first.values())
        if session.opens_at.timestamp() < cut:
            assert first == second
        differing += first != second
    assert differing


def test_stored_models_are_refused_when_they_know_the_span(bars: dict[str, BarSeries], sessions: list[Session]) -> None:
    start = sessions[-20].opens_at
    late = service(bars, models=Models(start + timedelta(seconds=1)))
    with pytest.raises(InvalidInput) as refusal:
        late.run({"days": 20, "models": "stored"})
    assert refusal.value.code == "model_from_future" and "AAPL" in refusal.value.message
    models = Models(start)
    answer = service(bars, models=models).run({"days": 20, "models": "stored", "grain": "cycle"})
    assert answer["performance"]["decisions"] == 20 * 38 > models.asked == 20


def test_without_the_index_its_benchmark_is_null(bars: dict[str, BarSeries]) -> None:
    answer = service({s: bars[s] for s in SYMBOLS}, models=Models(datetime(2020, 1, 1, tzinfo=UTC))).run(
        {"days": 5, "models": "stored"}
    )
    assert answer["benchmark"]["SPY"] is None and answer["benchmark"]["buy_and_hold"] is not None
    assert {point["SPY"] for point in answer["equity_curve"]} == {None}


def test_missing_bars_are_fetched(bars: dict[str, BarSeries]) -> None:
    asked: list[str] = []

    def history(symbols: Sequence[str]) -> Mapping[str, BarSeries]:
        asked.extend(symbols)
        return {s: bars[s] for s in symbols if s in bars}

    partly = {"AAPL": bars["AAPL"], "MSFT": bars["MSFT"].last(50)}
    answer = service(partly, history=history).run({"days": 5, "models": "stored"})
    assert answer["status"] == "completed" and sorted(asked) == ["MSFT", "NVDA", "SPY"]


@pytest.mark.parametrize(
    ("params", "code", "word"),
    [
        ({"symbols": ["NOPE"]}, "unknown_symbol", "NOPE"),
        ({"symbols": ["../etc"]}, "invalid_input", "symbols"),
        ({"symbols": 7}, "invalid_input", "symbols"),
        ({"days": 0}, "invalid_input", "days"),
        ({"days": 10**9}, "invalid_input", "days"),
        ({"days": "many"}, "invalid_input", "days"),
        ({"days": 2000}, "too_few_bars", "2000"),
        ({"days": 100}, "too_few_bars", str(MINIMUM_BARS)),
        ({"initial_capital": 0}, "invalid_input", "initial_capital"),
        ({"initial_capital": -5}, "invalid_input", "initial_capital"),
        ({"initial_capital": "NaN"}, "invalid_input", "initial_capital"),
        ({"initial_capital": float("inf")}, "invalid_input", "initial_capital"),
        ({"grain": "tick"}, "invalid_input", "grain"),
        ({"slippage_bps": -1}, "invalid_input", "slippage_bps"),
        ({"start": "2024-01-05", "end": "2024-01-02"}, "invalid_input", "start"),
        ({"start": "2031-01-05"}, "too_few_bars", "span"),
        ({"start": "soon"}, "invalid_input", "start"),
        ({"models": "newest"}, "invalid_input", "models"),
        ({"leverage": 3}, "invalid_input", "leverage"),
    ],
)
def test_bad_requests_name_the_fault(bars: dict[str, BarSeries], params: dict[str, Any], code: str, word: str) -> None:
    with pytest.raises(InvalidInput) as refusal:
        service(bars).run(params)
    assert refusal.value.code == code and word in refusal.value.message


def test_capital_too_small_for_a_share_trades_nothing(bars: dict[str, BarSeries]) -> None:
    answer = service(bars).run({"days": 5, "initial_capital": "1.50", "models": "stored"})
    assert answer["performance"]["fills"] == 0 and answer["performance"]["total_return"] == 0.0
    assert answer["performance"]["win_rate"] is None
    assert Decimal(str(answer["performance"]["final_equity"])) == Decimal("1.5")
