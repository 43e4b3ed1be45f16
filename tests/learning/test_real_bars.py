"""The watch list's real daily bars: trained before a cut-off, forecast after it, in the time and room allowed."""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import pytest

from app.domain.bar import BarSeries
from app.domain.forecast import Forecast
from app.learning.features import MEMORY, feature_matrix, feature_rows
from app.services.ai_service import AIService
from app.storage.model_files import ModelFiles
from app.storage.param_files import ParamFiles
from tests.real_data import WATCHLIST_DAILY, needs

SYMBOLS = ("AAPL", "META", "SPY", "TSLA")
CUT_OFF = datetime(2022, 3, 1, tzinfo=UTC)
pytestmark = [
    pytest.mark.data,
    needs(WATCHLIST_DAILY),
]


@pytest.fixture(scope="module")
def bars() -> dict[str, BarSeries]:
    import pyarrow.parquet as parquet

    columns = ["symbol", "timestamp", "open", "high", "low", "close", "volume"]
    table = parquet.read_table(WATCHLIST_DAILY, columns=columns, filters=[("symbol", "in", SYMBOLS)])
    symbol = np.array(table["symbol"].to_pylist())
    timestamp = table["timestamp"].cast("int64").to_numpy() // 1_000_000
    values = {name: table[name].to_numpy().astype(np.float64) for name in columns[2:]}
    return {
        name: BarSeries(
            symbol=name,
            timeframe="1Day",
            timestamp=timestamp[symbol == name],
            known_at=timestamp[symbol == name] + 21 * 3600,
            **{field: value[symbol == name] for field, value in values.items()},
        )
        for name in SYMBOLS
    }


def test_live_rows_equal_trained_rows_on_real_bars(bars: dict[str, BarSeries]) -> None:
    matrices = {symbol: feature_matrix(series) for symbol, series in bars.items()}
    for back in (1, 2, 250, 1000):
        live = feature_rows([series.slice(0, len(series) - back) for series in bars.values()])
        assert np.array_equal(live, np.stack([matrix[-1 - back] for matrix in matrices.values()]))
    assert all(np.isfinite(matrix[MEMORY:]).all() for matrix in matrices.values())


def test_trained_before_the_cut_off_and_forecast_after_it(bars: dict[str, BarSeries], tmp_path: Path) -> None:
    ai = AIService(ModelFiles(tmp_path / "models"), ParamFiles(tmp_path / "params"))
    started = time.perf_counter()
    reports = ai.train_batch(bars, at=CUT_OFF, progress=lambda *_: None)
    assert time.perf_counter() - started < 60 * len(SYMBOLS) / 32 * 3  # three times the pace asked for, on a busy machine
    for report in reports:
        assert report.trained, report.reason
        assert report.trained_through is not None
        assert report.trained_through <= CUT_OFF
        assert report.scores is not None
        assert 0.9 < report.scores.mse_over_zero < 1.1  # nobody forecasts these well; far off either way is a fault
        assert report.scores.mse_over_last < 0.8
    for day in range(1, 60, 7):
        for answer in ai.forecast(bars, CUT_OFF + timedelta(days=day, hours=15)).values():
            assert isinstance(answer, Forecast)
            assert abs(answer.daily_return) < 0.05
            assert answer.last_close_at > CUT_OFF - timedelta(days=3)
