"""Random entries and the plateau of the parameters."""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from app.backtest.statistics.luck import Stay, _placed, parameter_plateau, random_entry_test
from app.domain.errors import InvalidInput


def walk(seed: int, count: int = 1_000, drift: float = 0.0) -> np.ndarray:
    return 100 * np.exp(np.cumsum(drift + 0.01 * np.random.default_rng(seed).standard_normal(count)))


def random_stays(seed: int, count: int = 40, bars: int = 1_000) -> list[Stay]:
    generator = np.random.default_rng(seed)
    edges = np.sort(generator.choice(bars, 2 * count, replace=False))
    return [Stay(symbol=0, entered=int(a), left=int(b)) for a, b in zip(edges[::2], edges[1::2], strict=True)]


def test_random_times_are_found_to_be_random():
    found = [
        random_entry_test(
            walk(seed, drift=0.001)[None, :],
            random_stays(seed + 1_000),
            np.random.default_rng(seed),
            round_trip_cost=0.001,
            draws=400,
        ).probability
        for seed in range(300)
    ]
    # Uniform: a rising market alone makes no skill.
    assert (np.array(found) <= 0.05).mean() == pytest.approx(0.05, abs=3.2 * math.sqrt(0.05 * 0.95 / 300))
    assert np.mean(found) == pytest.approx(0.5, abs=0.06)


def test_times_that_knew_the_future_stand_out():
    prices = walk(1)
    ahead = np.log(prices[10:] / prices[:-10])
    stays = [Stay(symbol=0, entered=i, left=i + 10) for i in range(0, 980, 20) if ahead[i] > 0]
    found = random_entry_test(prices[None, :], stays, np.random.default_rng(1), round_trip_cost=0.0)
    assert found.probability < 1e-6
    assert found.own > found.median


def test_costs_are_paid_by_both_and_weights_count():
    prices = np.stack([walk(1), walk(2)])
    stays = [Stay(symbol=0, entered=3, left=50, weight=0.5), Stay(symbol=1, entered=10, left=20, weight=0.25)]
    free = random_entry_test(prices, stays, np.random.default_rng(3), round_trip_cost=0.0)
    paid = random_entry_test(prices, stays, np.random.default_rng(3), round_trip_cost=0.01)
    assert free.own == pytest.approx(
        0.5 * math.log(prices[0, 50] / prices[0, 3]) + 0.25 * math.log(prices[1, 20] / prices[1, 10]), rel=1e-12
    )
    assert paid.own - free.own == pytest.approx(0.75 * math.log(0.99))
    assert paid.median - free.median == pytest.approx(0.75 * math.log(0.99))
    assert paid.probability == free.probability


def test_a_gap_in_the_prices_keeps_the_last_one_and_none_are_drawn_before_the_first():
    prices = walk(5)
    prices[:100] = np.nan
    prices[300:310] = np.nan
    found = random_entry_test(
        prices[None, :], [Stay(symbol=0, entered=120, left=305)], np.random.default_rng(1), round_trip_cost=0.0
    )
    assert found.own == pytest.approx(math.log(prices[299] / prices[120]))
    with pytest.raises(InvalidInput, match="before its symbol has a price"):
        random_entry_test(
            prices[None, :], [Stay(symbol=0, entered=99, left=120)], np.random.default_rng(1), round_trip_cost=0.0
        )


@settings(max_examples=60, deadline=None)
@given(lengths=st.lists(st.integers(0, 30), min_size=1, max_size=12), spare=st.integers(0, 40), seed=st.integers(0, 1_000))
def test_placed_stays_do_not_overlap_and_last_as_long(lengths, spare, seed):
    """On a path that is its own bar number squared, the value of a stay tells where it was."""
    bars = sum(lengths) + spare + 1
    path = np.arange(bars, dtype=float)
    total = _placed(path, np.array(lengths), np.ones(len(lengths)), np.random.default_rng(seed), 20)
    assert total == pytest.approx(np.full(20, sum(lengths)))


def test_draws_reach_every_bar():
    """One stay of one bar: uniform over the bars."""
    path = np.cumsum(np.random.default_rng(1).random(11))
    moves = np.diff(path)
    drawn = _placed(path, np.array([1]), np.ones(1), np.random.default_rng(2), 20_000)
    shares = [(np.abs(drawn - move) < 1e-12).mean() for move in moves]
    assert shares == pytest.approx([0.1] * 10, abs=0.01)


@pytest.mark.parametrize(
    "stays",
    [[], [Stay(symbol=0, entered=5, left=4)], [Stay(symbol=0, entered=0, left=60), Stay(symbol=0, entered=10, left=90)]],
    ids=["none", "backwards", "overlapping"],
)
def test_holdings_that_cannot_be_are_refused(stays):
    with pytest.raises(InvalidInput):
        random_entry_test(walk(1, 100)[None, :], stays, np.random.default_rng(1), round_trip_cost=0.0)


GRID = [{"fast": fast, "slow": slow} for fast in (5, 10, 20, 40) for slow in (50, 100, 200)]


def test_neighbours_are_one_tried_step_away():
    results = [1.0 if values["fast"] >= 20 else 0.2 for values in GRID]
    inner = parameter_plateau(GRID, results, {"fast": 20, "slow": 100})
    assert inner is not None
    assert (inner.neighbours, inner.share) == (8, pytest.approx(5 / 8))
    corner = parameter_plateau(GRID, results, {"fast": 40.0, "slow": 200})
    assert corner is not None
    assert (corner.neighbours, corner.share) == (3, 1.0)


def test_a_lone_peak_has_no_plateau():
    results = [3.0 if values == {"fast": 10, "slow": 100} else 0.1 for values in GRID]
    found = parameter_plateau(GRID, results, {"fast": 10, "slow": 100})
    assert found is not None
    assert found.share == 0.0


def test_without_neighbours_or_a_gain_there_is_nothing_to_say():
    assert parameter_plateau(GRID[:1], [1.0], GRID[0]) is None
    assert parameter_plateau(GRID, [-1.0] * len(GRID), GRID[4]) is None
    assert parameter_plateau(GRID, [1.0] * len(GRID), {"fast": 7, "slow": 100}) is None
    assert parameter_plateau([], [], {}) is None
    assert parameter_plateau([{"length": 3}], [1.0], GRID[0]) is None


def test_the_times_of_random_stays_are_ordered():
    stays = random_stays(3)
    assert all(first.left < second.entered for first, second in pairwise(stays))
