"""Indicators against their definitions, and the law that a value depends on its window alone."""

from __future__ import annotations

import numpy as np
import pytest
import talib
from hypothesis import given, settings
from hypothesis import strategies as st

from app.indicators.momentum import exponential_mean, exponential_memory, relative_strength, relative_strength_memory
from app.indicators.volatility import bollinger
from app.indicators.window import change, decayed_mean, deviation, highest, lowest, mean
from tests.learning.series import random_walk

PRICES = random_walk(160).close
WINDOWED = {
    "change": (lambda x: change(x, 5), 6),
    "mean": (lambda x: mean(x, 7), 7),
    "deviation": (lambda x: deviation(x, 20), 20),
    "highest": (lambda x: highest(x, 60), 60),
    "lowest": (lambda x: lowest(x, 3), 3),
    "band": (lambda x: bollinger(x, 20)[2], 20),
    "relative_strength": (lambda x: relative_strength(x, 5), relative_strength_memory(5)),
    "exponential_mean": (lambda x: exponential_mean(x, 5), exponential_memory(5)),
}


@pytest.mark.parametrize("name", WINDOWED)
@settings(max_examples=25, deadline=None)
@given(start=st.integers(0, 90), stop=st.integers(1, 160))
def test_value_depends_on_its_window_alone(name: str, start: int, stop: int) -> None:
    indicator, memory = WINDOWED[name]
    whole, part = indicator(PRICES), indicator(PRICES[start : max(start, stop)])
    assert len(part) == max(0, stop - start)
    assert np.isnan(part[: memory - 1]).all()
    assert np.array_equal(part[memory - 1 :], whole[start + memory - 1 : max(start + memory - 1, stop)])


def test_symbols_abreast_equal_symbols_alone() -> None:
    abreast = np.stack([random_walk(160, seed=seed).close for seed in range(5)])
    for indicator, _ in WINDOWED.values():
        assert np.array_equal(indicator(abreast), np.stack([indicator(row) for row in abreast]), equal_nan=True)


def test_definitions() -> None:
    x = np.array([2.0, 4.0, 4.0, 4.0, 5.0, 5.0, 7.0, 9.0])
    assert deviation(x, 8)[-1] == 2.0
    assert mean(x, 8)[-1] == 5.0
    assert (highest(x, 3)[-1], lowest(x, 3)[-1]) == (9.0, 5.0)
    assert change(x, 2)[-1] == 9.0 / 5.0 - 1.0


def test_directions() -> None:
    rising = np.linspace(10, 20, 120)
    assert relative_strength(rising)[-1] == pytest.approx(100.0)
    assert relative_strength(rising[::-1])[-1] == pytest.approx(0.0)
    assert relative_strength(np.full(120, 10.0))[-1] == 50.0
    assert exponential_mean(rising, 12)[-1] > exponential_mean(rising, 13)[-1]


def test_windows_equal_their_plain_definitions() -> None:
    for length in (1, 2, 3, 5, 8, 13, 60, 159, 160):
        rows = np.lib.stride_tricks.sliding_window_view(PRICES, length)
        for name, ours, plain in (
            ("mean", mean(PRICES, length), rows.mean(axis=-1)),
            ("deviation", deviation(PRICES, length), rows.std(axis=-1)),
            ("highest", highest(PRICES, length), rows.max(axis=-1)),
            ("lowest", lowest(PRICES, length), rows.min(axis=-1)),
            ("decayed", decayed_mean(PRICES, length, 0.9), np.average(rows, axis=-1, weights=0.9 ** np.arange(length)[::-1])),
        ):
            np.testing.assert_allclose(ours[length - 1 :], plain, rtol=1e-12, atol=1e-12, err_msg=f"{name} {length}")
            assert np.isnan(ours[: length - 1]).all()


@given(price=st.floats(1e-8, 1e12), length=st.integers(1, 100))
def test_a_price_that_stands_still_has_itself_as_mean_and_no_deviation(price: float, length: int) -> None:
    still = np.full(120, price)
    assert (mean(still, length)[length - 1 :] == price).all()
    assert (decayed_mean(still, length, 0.8)[length - 1 :] == price).all()
    assert (deviation(still, length)[length - 1 :] == 0.0).all()


def test_a_missing_value_is_missed_by_the_windows_it_is_in_and_no_others() -> None:
    holed = PRICES.copy()
    holed[70] = np.nan
    for indicator in (mean, deviation, highest, lowest):
        assert np.flatnonzero(np.isnan(indicator(holed, 9))).tolist() == [*range(8), *range(70, 79)]


def test_relative_strength_is_that_of_the_library_once_the_beginning_is_forgotten() -> None:
    close = random_walk(600).close
    ours, library = relative_strength(close), talib.RSI(close, 14)
    assert np.isnan(ours[: relative_strength_memory(14) - 1]).all()
    np.testing.assert_allclose(ours[200:], library[200:], atol=0.1)


def test_exponential_mean_is_that_of_the_library_once_the_beginning_is_forgotten() -> None:
    close = random_walk(600).close
    assert exponential_memory(26) == 108
    np.testing.assert_allclose(exponential_mean(close, 26)[300:], talib.EMA(close, 26)[300:], rtol=1e-3)


@pytest.mark.parametrize("decay", [1.0, 0.9])
@pytest.mark.parametrize("length", [1, 2, 7, 450, 4096, 5000])
def test_decayed_mean_is_the_weighted_mean_in_every_tile(length: int, decay: float) -> None:
    values = np.random.default_rng(4).uniform(1.0, 2.0, 12_500)
    weights = decay ** np.arange(length)
    found = decayed_mean(values, length, decay)
    for end in (length, 4_096, 4_097, 8_192, 12_500):
        if end >= length:
            assert found[end - 1] == pytest.approx(np.dot(values[end - length : end][::-1], weights) / weights.sum(), rel=1e-12)
