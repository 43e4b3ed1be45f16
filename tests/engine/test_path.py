"""Laws of the derived path: it agrees with its bar exactly, whatever the bar."""

from datetime import date

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.engine.path import MinutePath, bar_paths, on_tick, path_key

DAY = date(2024, 1, 2)


def day_path(seed, symbol, day, steps, open, high, low, close, volume):
    """The path of one daily bar; arrays of shape (steps,)."""
    o, h, lo, c, v = (np.array([x], dtype=np.float64) for x in (open, high, low, close, volume))
    paths = bar_paths([path_key(seed, symbol, day)], steps, open=o, high=h, low=lo, close=c, volume=v, smile=True)
    return MinutePath(*(array[0] for array in paths))


@st.composite
def bars(draw):
    low = draw(st.floats(0.0005, 5_000.0))
    high = low * (1.0 + draw(st.floats(0.0, 0.5)))
    inside = st.floats(0.0, 1.0)
    o, c = (low + draw(inside) * (high - low) for _ in range(2))
    return o, high, low, c, float(draw(st.integers(0, 10**10)))


@given(bar=bars(), steps=st.integers(1, 400), seed=st.integers(0, 2**32))
@settings(max_examples=150, deadline=None)
def test_a_path_agrees_with_its_bar(bar, steps, seed):
    path = day_path(seed, "ACME", DAY, steps, *bar)
    o, h, lo, c = on_tick(np.array(bar[:4]))
    assert all(array.shape == (steps,) for array in path)
    assert path.open[0] == o
    assert path.close[-1] == c
    assert path.high.max() == h
    assert path.low.min() == lo
    assert path.volume.sum() == bar[4]
    assert (path.volume >= 0).all()
    assert (path.low <= np.minimum(path.open, path.close)).all()
    assert (path.high >= np.maximum(path.open, path.close)).all()
    for prices in path[:4]:
        assert np.array_equal(prices, on_tick(prices))


@given(rows=st.lists(bars(), min_size=1, max_size=5), steps=st.integers(1, 60))
@settings(max_examples=30, deadline=None)
def test_many_paths_at_once_equal_one_by_one(rows, steps):
    names = [f"S{i}" for i in range(len(rows))]
    o, h, lo, c, v = (np.array(column) for column in zip(*rows, strict=True))
    keys = [path_key(5, name, DAY) for name in names]
    together = bar_paths(keys, steps, open=o, high=h, low=lo, close=c, volume=v, smile=True)
    for i, name in enumerate(names):
        alone = day_path(5, name, DAY, steps, *rows[i])
        assert all(np.array_equal(x[i], y) for x, y in zip(together, alone, strict=True))


def test_seed_symbol_and_day_each_change_the_path():
    bar = (100.0, 103.0, 98.0, 101.0, 1e6)
    base = day_path(1, "ACME", DAY, 390, *bar)
    for other in (day_path(2, "ACME", DAY, 390, *bar), day_path(1, "BCME", DAY, 390, *bar)):
        assert not np.array_equal(base.close, other.close)
    assert not np.array_equal(base.close, day_path(1, "ACME", date(2024, 1, 3), 390, *bar).close)


def test_the_path_of_a_known_bar_never_changes():
    # A golden value: replays recorded by one release must replay on the next, on any machine.
    path = day_path(7, "ACME", DAY, 390, 100.0, 103.0, 98.0, 101.0, 1_000_000.0)
    assert path.close[[0, 60, 120, 200, 300, 389]].tolist() == GOLDEN_CLOSES
    assert path.volume[[0, 195, 389]].tolist() == GOLDEN_VOLUMES


GOLDEN_CLOSES = [99.85, 99.66, 98.57, 99.1, 101.61, 101.0]
GOLDEN_VOLUMES = [3267.0, 1255.0, 6750.0]


def test_nothing_can_be_earned_from_how_the_path_is_derived():
    """Of days that are random walks, the derived minutes are random walks too: what happened so far says nothing about the
    rest, and the early minutes move no more than the late ones."""
    days, steps = 3000, 390
    walk = np.random.default_rng(1).standard_normal((days, steps * 4)) * 0.015 / np.sqrt(steps * 4)
    price = 100.0 * np.exp(np.cumsum(walk, axis=1))
    o, h, lo, c = price[:, 0], price.max(axis=1), price.min(axis=1), price[:, -1]
    close = bar_paths(list(range(days)), steps, open=o, high=h, low=lo, close=c, volume=np.full(days, 1e6), smile=True).close
    assert np.diff(np.log(close), axis=1).std() * np.sqrt(steps) == pytest.approx(0.015, rel=0.15)
    for minute in (10, 30, 60, 120, 200, 300, 360):
        so_far, rest = np.log(close[:, minute] / o), np.log(close[:, -1] / close[:, minute])
        error = rest.std() / so_far.std() / np.sqrt(days)
        assert abs(np.polyfit(so_far, rest, 1)[0]) < 3.5 * error
        assert so_far.std() == pytest.approx(0.015 * np.sqrt((minute + 1) / steps), rel=0.2)
