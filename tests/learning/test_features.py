"""The laws of features: exactly 120 bars, the same bits live and in training, no units."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from app.learning.feature_kernel import ROOM
from app.learning.features import FEATURE_NAMES, MEMORY, feature_matrix, feature_rows
from app.learning.labels import examples, next_return
from tests.learning.series import DAY, random_walk

BARS = random_walk(400, seed=3)
MATRIX = feature_matrix(BARS)


@settings(max_examples=60, deadline=None)
@given(stop=st.integers(MEMORY, len(BARS)), more=st.integers(0, 200))
def test_row_is_a_function_of_the_last_120_bars(stop: int, more: int) -> None:
    expected = MATRIX[stop - 1]
    assert np.array_equal(feature_matrix(BARS.slice(stop - MEMORY, stop))[-1], expected)
    assert np.array_equal(feature_matrix(BARS.slice(max(0, stop - MEMORY - more), stop))[-1], expected)
    assert np.array_equal(feature_rows([BARS.slice(0, stop)])[0], expected)


@settings(max_examples=20, deadline=None)
@given(stops=st.lists(st.integers(0, len(BARS)), max_size=8))
def test_symbols_abreast_equal_symbols_alone(stops: list[int]) -> None:
    rows = feature_rows([BARS.slice(0, stop) for stop in stops])
    assert rows.shape == (len(stops), len(FEATURE_NAMES))
    for row, stop in zip(rows, stops, strict=True):
        expected = MATRIX[stop - 1] if stop >= MEMORY else np.full(len(FEATURE_NAMES), np.nan)
        assert np.array_equal(row, expected, equal_nan=True)


def test_no_row_before_120_bars_and_every_row_after() -> None:
    assert np.isnan(MATRIX[: MEMORY - 1]).all()
    assert np.isfinite(MATRIX[MEMORY - 1 :]).all()
    assert MATRIX.shape == (len(BARS), len(FEATURE_NAMES))


@pytest.mark.parametrize(("price", "volume"), [(4.0, 1.0), (0.5, 8.0), (1.0, 0.25)])
def test_units_do_not_matter(price: float, volume: float) -> None:
    other = replace(
        BARS,
        open=BARS.open * price,
        high=BARS.high * price,
        low=BARS.low * price,
        close=BARS.close * price,
        volume=BARS.volume * volume,
    )
    assert np.array_equal(feature_matrix(other), MATRIX, equal_nan=True)


@pytest.mark.parametrize("field", ["open", "high", "low", "close", "volume"])
@pytest.mark.parametrize("value", [np.nan, np.inf, -1.0, 0.0])
def test_an_unsound_bar_empties_the_rows_that_would_see_it_and_no_other(field: str, value: float) -> None:
    values = getattr(BARS, field).copy()
    values[150] = value
    matrix = feature_matrix(replace(BARS, **{field: values}))
    if field == "volume" and value == 0.0:  # a day without trade is a fact, not a fault
        assert np.isfinite(matrix[MEMORY - 1 :]).all()
        return
    assert np.isnan(matrix[150 : 150 + MEMORY]).all()
    for part in (slice(MEMORY - 1, 150), slice(150 + MEMORY, None)):
        assert np.array_equal(matrix[part], MATRIX[part])


def test_the_recursive_ones_are_those_of_talib_begun_at_the_window() -> None:
    wanted = ("rsi_5", "rsi_14", "macd_line", "macd_difference", "atr_fraction", "adx_14")
    for stop in range(MEMORY, len(BARS) + 1, 7):
        window = BARS.slice(stop - MEMORY, stop)
        high, low, close = window.high, window.low, window.close
        line, _, difference = talib.MACD(close)
        expected = (
            talib.RSI(close, 5)[-1] / 100, talib.RSI(close, 14)[-1] / 100, line[-1] / close[-1], difference[-1] / close[-1],
            talib.ATR(high, low, close)[-1] / close[-1], talib.ADX(high, low, close)[-1] / 100,
        )  # fmt: skip
        row = MATRIX[stop - 1]
        assert [row[FEATURE_NAMES.index(name)] for name in wanted] == pytest.approx(expected, rel=1e-9)


def test_the_windowed_ones_are_what_their_names_say() -> None:
    t = len(BARS) - 1
    o, h, lo, c, v = BARS.open, BARS.high, BARS.low, BARS.close, BARS.volume
    change = c[1:] / c[:-1] - 1
    row = dict(zip(FEATURE_NAMES, MATRIX[t], strict=True))
    assert row["return_20"] == pytest.approx(c[t] / c[t - 20] - 1)
    assert row["volatility_60"] == pytest.approx(change[-60:].std())
    assert row["below_high_60"] == pytest.approx(c[t] / h[-60:].max() - 1)
    assert row["above_low_120"] == pytest.approx(c[t] / lo[-120:].min() - 1)
    assert (row["gap"], row["session_return"]) == pytest.approx((o[t] / c[t - 1] - 1, c[t] / o[t] - 1))
    assert row["close_in_range"] == pytest.approx((c[t] - lo[t]) / (h[t] - lo[t]))
    assert row["return_in_volatilities"] == pytest.approx(change[-1] / change[-20:].std())
    assert row["volatility_ratio"] == pytest.approx(change[-5:].std() / change[-60:].std())
    assert row["band_position"] == pytest.approx((c[t] - c[-20:].mean()) / (2 * c[-20:].std()))
    assert row["band_width"] == pytest.approx(4 * c[-20:].std() / c[-20:].mean())
    assert row["volume_score_60"] == pytest.approx((v[t] - v[-60:].mean()) / v[-60:].std())
    assert row["volume_change"] == pytest.approx(v[t] / v[-20:].mean() - 1)


@pytest.mark.parametrize("price", [50.0, 0.1])
def test_a_price_that_never_moved_has_finite_features_and_no_spread_at_all(price: float) -> None:
    flat = np.full(len(BARS), price)
    still = feature_matrix(replace(BARS, open=flat, high=flat, low=flat, close=flat, volume=np.full(len(BARS), price)))
    assert np.isfinite(still[MEMORY - 1 :]).all()
    for name in ("volatility_60", "band_position", "band_width", "volume_score_60", "rsi_14", "adx_14"):
        assert (still[MEMORY - 1 :, FEATURE_NAMES.index(name)] == 0.0).all()


def test_a_long_history_is_computed_piece_by_piece_and_nobody_sees_the_seams() -> None:
    bars = random_walk(ROOM[1] + 200, seed=5)
    matrix = feature_matrix(bars)
    for stop in range(ROOM[1] - 3, ROOM[1] + 4):
        assert np.array_equal(matrix[stop - 1], feature_rows([bars.slice(0, stop)])[0])
    assert np.array_equal(matrix[-150:], feature_matrix(bars.slice(len(bars) - 150 - MEMORY + 1, len(bars)))[-150:])


def test_weekday_is_that_of_the_label() -> None:
    weekday = MATRIX[MEMORY - 1 :, FEATURE_NAMES.index("weekday")]
    assert np.array_equal(weekday, np.arange(MEMORY - 1, len(BARS)) % 5)
    assert (BARS.timestamp[1] - BARS.timestamp[0]) == DAY


def test_label_is_the_next_return_and_known_with_the_next_bar() -> None:
    assert next_return(np.array([100.0, 110.0, 99.0]))[:2] == pytest.approx([0.1, -0.1])
    rows = examples(BARS)
    assert len(rows) == len(BARS) - MEMORY
    assert np.array_equal(rows.decided_at, BARS.known_at[MEMORY - 1 : -1])
    assert np.array_equal(rows.known_at, BARS.known_at[MEMORY:])
    assert np.array_equal(rows.label, BARS.close[MEMORY:] / BARS.close[MEMORY - 1 : -1] - 1.0)
    assert rows.known_through.timestamp() == BARS.known_at[-1]
