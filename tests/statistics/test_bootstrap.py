"""The stationary bootstrap, its block length, its intervals and Hansen's test: equal to arch and holdout, and by their laws."""

from __future__ import annotations

import math

import holdout
import numpy as np
import pytest
from arch.bootstrap import SPA, StationaryBootstrap, optimal_block_length

from app.backtest.statistics.bootstrap import block_length, intervals, spa_test, stationary_indices
from app.domain.errors import InvalidInput


def dependent(seed: int, carry: float, count: int = 1_000) -> np.ndarray:
    noise = np.random.default_rng(seed).standard_normal(count)
    for i in range(1, count):
        noise[i] += carry * noise[i - 1]
    return 0.01 * noise


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("carry", [-0.4, 0.15, 0.3, 0.5, 0.7, 0.9])
def test_the_block_length_is_that_of_arch(seed, carry):
    returns = dependent(seed, carry)
    assert block_length(returns) == pytest.approx(max(optimal_block_length(returns)["stationary"].iloc[0], 1.0), rel=1e-9)


@pytest.mark.parametrize("returns", [np.zeros(100), np.full(5, 0.1), np.empty(0)], ids=["still", "short", "none"])
def test_returns_that_tell_nothing_are_drawn_one_by_one(returns):
    assert block_length(returns) == 1.0


@pytest.mark.parametrize("block", [1.0, 5.0, 30.0])
def test_blocks_are_as_long_as_asked_and_wrap_around(block):
    drawn = stationary_indices(500, 2_000, block, np.random.default_rng(1))
    assert drawn.min() >= 0 and drawn.max() < 500
    follows = (drawn[:, 1:] == (drawn[:, :-1] + 1) % 500).mean()
    assert follows == pytest.approx(1 - 1 / block + 1 / (block * 500), abs=0.003)
    # Every observation is drawn equally often, those at the ends too.
    counts = np.bincount(drawn.ravel(), minlength=500)
    assert counts.std() / counts.mean() < 1.3 * math.sqrt(2 * block / 2_000)


def test_the_deviation_of_a_mean_is_that_of_arch():
    returns = dependent(4, 0.5)
    own = returns[stationary_indices(len(returns), 4_000, 12.0, np.random.default_rng(2))].mean(axis=1).std()
    judge = StationaryBootstrap(12, returns, seed=3).apply(np.mean, reps=1_500).std()
    assert own == pytest.approx(judge, rel=0.1)


def test_intervals_are_those_of_arch():
    returns = 0.0008 + dependent(5, 0.2)
    found = intervals(returns, np.random.default_rng(1), draws=4_000, block=8.0)

    def figures(x):
        wealth = np.concatenate(([1.0], np.cumprod(1 + x)))
        return np.array([x.mean() / x.std(ddof=1), wealth[-1] - 1, np.max(1 - wealth / np.maximum.accumulate(wealth))])

    drawn = StationaryBootstrap(8, returns, seed=9).apply(figures, reps=1_500)
    low, high = np.quantile(drawn, [0.05, 0.95], axis=0)
    for i, own in enumerate((found.sharpe_ratio, found.total_return, found.max_drawdown)):
        spread = drawn[:, i].std()
        assert own.estimate == pytest.approx(figures(returns)[i], rel=1e-9)
        assert own.low == pytest.approx(low[i], abs=0.15 * spread)
        assert own.high == pytest.approx(high[i], abs=0.25 * spread)


def test_intervals_hold_the_truth_as_often_as_they_say():
    held = 0
    for seed in range(80):
        returns = 0.0005 + dependent(seed, 0.3, 400)
        true = 0.0005 / (0.01 / math.sqrt(1 - 0.3**2))
        found = intervals(returns, np.random.default_rng(seed), draws=200).sharpe_ratio
        held += found.low <= true <= found.high
    assert 0.8 <= held / 80 <= 0.98


def test_the_same_seed_gives_the_same_intervals_however_they_are_chunked(monkeypatch):
    returns = dependent(1, 0.1)
    once = intervals(returns, np.random.default_rng(4), draws=50)
    assert intervals(returns, np.random.default_rng(4), draws=50) == once
    assert once.block == block_length(returns)


@pytest.mark.parametrize("returns", [[0.1], [0.1, -1.0], [0.1, math.nan]])
def test_intervals_need_returns_above_a_total_loss(returns):
    with pytest.raises(InvalidInput):
        intervals(np.array(returns), np.random.default_rng(1))


@pytest.mark.parametrize(("seed", "edge"), [(1, 0.0), (2, 0.0005), (3, 0.0008), (4, 0.002), (5, -0.001)])
def test_the_spa_test_is_that_of_holdout_and_of_arch(seed, edge):
    generator = np.random.default_rng(seed)
    returns = generator.standard_normal((600, 20)) * 0.01
    returns[:, 3] += edge
    returns[:, 4] -= 0.002
    own = spa_test(returns, np.random.default_rng(10), draws=2_000, block=5.0)
    judge = holdout.superior_predictive_ability(returns, n_bootstrap=2_000, block_length=5.0, seed=11)
    assert own == pytest.approx(judge.pvalue_consistent if hasattr(judge, "pvalue_consistent") else judge.consistent, abs=0.04)
    # arch does not divide by the deviations in the statistic: the sets have the same one here.
    other = SPA(np.zeros(600), -returns / returns.std(axis=0), block_size=5, reps=1_000, seed=12)
    other.compute()
    assert own == pytest.approx(other.pvalues["consistent"], abs=0.06)


def test_without_an_edge_the_spa_test_finds_one_as_rarely_as_it_says():
    found = [
        spa_test(
            np.random.default_rng(seed).standard_normal((120, 8)) * 0.01, np.random.default_rng(seed), draws=150, block=1.0
        )
        for seed in range(300)
    ]
    assert (np.array(found) <= 0.05).mean() <= 0.05 + 3 * math.sqrt(0.05 * 0.95 / 300)
    assert 0.35 < np.mean(found) < 0.65


def test_a_benchmark_is_what_must_be_beaten():
    generator = np.random.default_rng(6)
    market = 0.001 + 0.01 * generator.standard_normal(500)
    sets = market[:, None] + 0.002 * generator.standard_normal((500, 5))
    assert spa_test(sets, np.random.default_rng(1)) < 0.1
    assert spa_test(sets, np.random.default_rng(1), benchmark=market) > 0.1


def test_sets_that_never_moved_show_no_ability():
    assert spa_test(np.zeros((100, 4)), np.random.default_rng(1)) == 1.0
    with pytest.raises(InvalidInput):
        spa_test(np.zeros((5, 4)), np.random.default_rng(1))
