"""The product's models know nothing of their future; pipelines that cheat are caught at the step that does."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Mapping
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from app.backtest.analysers.futures import Bars
from app.backtest.analysers.lookahead import Findings
from app.domain.bar import BarSeries
from app.domain.errors import Conflict, InvalidInput, NotFound
from app.learning.ensemble import MEMBERS, fit, predict
from app.learning.features import feature_matrix
from app.learning.labels import Examples, examples
from app.learning.parameters import DEFAULT_PARAMS
from app.learning.training import forecast_forward, known_examples, train_symbol
from app.marketdata.generator import generate_daily
from app.risk.limits import Policy, RiskLimits
from app.runtime.calendar import new_york_calendar
from app.services.ai_service import AIService
from app.services.strategies.check_service import CheckService
from app.services.strategies.model_chain import ModelSteps
from app.storage.model_files import ModelFiles
from app.storage.param_files import ParamFiles
from app.strategies.catalog import find

QUICK = dataclasses.replace(DEFAULT_PARAMS, rounds=8)
PAIR = (MEMBERS[2], MEMBERS[5])
DAY = 86_400


def train(bars: BarSeries, at: datetime) -> Any:
    return train_symbol(bars, QUICK, trained_at=at, members=PAIR)


def blocks(rows: Examples, first: int) -> np.ndarray:
    return forecast_forward(rows, QUICK, seed=7, members=PAIR[:1], folds=2, first_test=first)


STEPS = ModelSteps(train=train, blocks=blocks)


def generated(symbols: Any, first: date, last: date) -> Bars:
    return generate_daily(11, symbols, new_york_calendar().between(first, last))


@pytest.fixture(scope="module")
def bars() -> Bars:
    return generated(("AAPL",), date(2021, 1, 4), date(2023, 12, 29))


class Nowhere:
    def bars(self, symbols: Any, timeframe: str) -> dict[str, BarSeries]:
        return {}


def service(steps: ModelSteps = STEPS) -> CheckService:
    def find(name: str) -> Any:
        raise NotFound(f"no strategy {name}")

    return CheckService(
        Nowhere(),
        find=find,
        generate=generated,
        watchlist=("AAPL", "MSFT"),
        limits=RiskLimits(),
        policy=Policy(),
        steps=steps,
    )


def check(bars: Bars, **steps: Any) -> Findings:
    return service(replace(STEPS, **steps)).models(bars)


def test_the_products_own_chain_passes_as_it_is(bars: Bars) -> None:
    seen: list[str] = []
    found = service(ModelSteps()).lookahead(
        "model", bars=bars, progress=lambda done, total, what: seen.append(f"{what} {done <= total}")
    )
    assert found.findings == ()
    assert found.passed
    assert found.parts == (
        "features",
        "labels",
        "training rows",
        "calibration",
        "model",
        "forecast",
        "sizing",
        "decision",
    )
    assert {line.split(" True")[0] for line in seen} == set(found.parts)


def test_the_features_need_no_more_than_they_say(bars: Bars) -> None:
    found = service().warmup("model", bars=bars)
    assert found.passed
    assert found.needs is not None
    assert max(need or 9_999 for need in found.needs.values()) == 120


def scaled(series: BarSeries) -> np.ndarray:
    matrix = feature_matrix(series)
    return (matrix - np.nanmean(matrix, axis=0)) / np.nanstd(matrix, axis=0)


def centred(series: BarSeries) -> np.ndarray:
    matrix = feature_matrix(series)
    matrix[2:-2, 0] = np.lib.stride_tricks.sliding_window_view(series.close, 5).mean(axis=1) / series.close[2:-2]
    return matrix


def encoded(series: BarSeries) -> np.ndarray:
    """The last column becomes the mean label of the weekday, over all years."""
    matrix, following = feature_matrix(series), np.append(np.diff(series.close) / series.close[:-1], np.nan)
    weekday = (series.timestamp // DAY + 3) % 7
    for day in range(7):
        matrix[weekday == day, -1] = np.nanmean(following[weekday == day]) if (weekday == day).any() else 0.0
    return matrix


def monthly(series: BarSeries) -> np.ndarray:
    """The close of the month, told from its first day on."""
    matrix = feature_matrix(series)
    month = np.arange(len(series)) // 21
    last = np.array([series.close[np.flatnonzero(month == m)[-1]] for m in month])
    matrix[:, 1] = last / series.close - 1.0
    return matrix


def too_early(series: BarSeries) -> Examples:
    """Labels that claim to be known when the row is decided."""
    rows = examples(series)
    return replace_rows(rows, known_at=rows.decided_at)


def replace_rows(rows: Examples, **changes: Any) -> Examples:
    return dataclasses.replace(rows, **changes)


def by_decision(series: BarSeries, at: datetime) -> Examples:
    """Everything decided by then, whether or not its label was known."""
    rows = examples(series)
    return rows.slice(0, int(np.searchsorted(rows.decided_at, int(at.timestamp()), side="right")))


def of_five_days(series: BarSeries, at: datetime) -> Examples:
    """Labels over five days: those of the last rows before a split end after it."""
    rows = known_examples(series, at)
    total = np.convolve(rows.label, np.ones(5), mode="full")[4 : len(rows)]
    count = len(total)
    return replace_rows(rows.slice(0, count), label=total, known_at=rows.known_at[4 : 4 + count])


def unpurged(rows: Examples, first: int) -> np.ndarray:
    fitted = fit(rows.features[:first], rows.label[:first], QUICK, seed=7, members=PAIR[:1])
    return predict(fitted, rows.features[first:])


def on_everything(series: BarSeries, at: datetime) -> Any:
    return replace(train(series, datetime.fromtimestamp(int(series.known_at[-1]), at.tzinfo)), trained_at=at)


def selected(series: BarSeries, at: datetime) -> Any:
    """The seed is chosen by looking at what came out best over all data."""
    moved = int(np.nansum(series.close) * 100) % 97
    return train_symbol(series, QUICK, trained_at=at, members=PAIR, seed=moved)


class ByLabel(AIService):
    """Takes a bar for known once it has begun."""

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> Any:
        return super().forecast(
            {s: replace(b, known_at=np.maximum(b.timestamp, b.known_at - DAY)) for s, b in bars.items()}, at
        )


class Newest(AIService):
    """Forecasts from the newest bars there are, whatever the time."""

    def forecast(self, bars: Mapping[str, BarSeries], at: datetime) -> Any:
        newest = max(int(b.known_at[-1]) for b in bars.values())
        return super().forecast(bars, max(at, datetime.fromtimestamp(newest, at.tzinfo)))


LEAKS: dict[str, tuple[dict[str, Callable[..., Any]], str]] = {
    "scaler_over_all_data": ({"features": scaled}, "features"),
    "centred_window": ({"features": centred}, "features"),
    "target_encoding": ({"features": encoded}, "features"),
    "resample_edge": ({"features": monthly}, "features"),
    "labels_known_too_early": ({"labels": too_early}, "labels"),
    "rows_before_their_labels": ({"rows": by_decision}, "training rows"),
    "label_overlap_across_the_split": ({"rows": of_five_days, "blocks": unpurged}, "calibration"),
    "trained_past_the_cut_off": ({"train": on_everything}, "model"),
    "chosen_on_all_data": ({"train": selected}, "model"),
    "running_bar_as_final": ({"forecaster": ByLabel}, "forecast"),
    "newest_bars_whatever_the_time": ({"forecaster": Newest}, "forecast"),
}


@pytest.mark.parametrize("name", LEAKS)
def test_a_cheating_pipeline_is_caught_at_the_step_that_cheats(bars: Bars, name: str) -> None:
    steps, part = LEAKS[name]
    found = check(bars, **steps)
    assert not found.passed
    assert found.leak == part, [(one.part, one.column, one.known, one.told) for one in found.findings[:4]]


def test_labels_over_five_days_with_a_purged_split_are_honest(bars: Bars) -> None:
    assert check(bars, rows=of_five_days).passed


def test_too_little_data_is_told() -> None:
    short = generated(("AAPL",), date(2023, 1, 3), date(2023, 12, 29))
    with pytest.raises(InvalidInput, match="daily bars"):
        service().models(short)
    with pytest.raises(NotFound, match="no strategy nothing"):
        service().lookahead("nothing", bars=short)
    assert len(service().bars()["AAPL"]) > 500


def test_a_training_that_looks_ahead_replaces_no_model(tmp_path: Path, bars: Bars) -> None:
    at = datetime.fromtimestamp(int(bars["AAPL"].known_at[-1]), UTC)
    quick = ParamFiles(tmp_path / "params")
    honest = AIService(ModelFiles(tmp_path / "models"), quick, workers=1, gate=service().gate)
    (report,) = honest.train_batch(bars, at=at, progress=lambda *_: None)
    assert report.trained
    cheating = service(replace(STEPS, features=scaled))
    refusing = AIService(ModelFiles(tmp_path / "models"), quick, workers=1, gate=cheating.gate)
    with pytest.raises(Conflict, match=r"no model was replaced.*part features") as refusal:
        refusing.train_batch(bars, at=at + timedelta(days=1), progress=lambda *_: None)
    assert refusal.value.code == "looks_ahead"
    assert ModelFiles(tmp_path / "models").version("AAPL") == report.version


def test_the_gate_makes_do_with_a_generated_market_where_bars_are_few() -> None:
    service().gate(generated(("AAPL",), date(2023, 1, 3), date(2023, 12, 29)))


def test_a_strategy_passes_the_gate_with_its_memory() -> None:
    checks = CheckService(
        Nowhere(), find=find, generate=generated, watchlist=("AAPL", "MSFT"), limits=RiskLimits(), policy=Policy()
    )
    found = checks.strategy("sma_cross", {"fast": 5, "slow": 20})
    assert found.passed
    assert found.parts == ("columns", "score", "live", "restated", "memory")
    with pytest.raises(InvalidInput, match="no such parameter"):
        checks.strategy("sma_cross", {"quick": 5})
