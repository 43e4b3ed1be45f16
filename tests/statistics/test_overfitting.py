"""Probabilistic and deflated Sharpe ratio, track record length and CSCV: equal to skfolio and holdout, and by their laws."""

from __future__ import annotations

import math
from itertools import combinations

import holdout
import numpy as np
import pytest
import skfolio.measures as skfolio
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from app.backtest.statistics.overfitting import (
    Moments,
    deflated_sharpe,
    expected_maximum,
    implied_correlation,
    independent_trials,
    mean_correlation,
    minimum_track_record_length,
    moments,
    probabilistic_sharpe,
    probability_of_overfitting,
    sharpe_variance,
)
from app.domain.errors import InvalidInput


def drawn(seed: int, count: int = 750, mean: float = 0.0006) -> np.ndarray:
    generator = np.random.default_rng(seed)
    return mean + 0.01 * generator.standard_t(5, count) + 0.004 * (generator.exponential(1, count) - 1)


@pytest.mark.parametrize("seed", range(6))
def test_the_moments_are_those_of_scipy(seed):
    returns = drawn(seed)
    found = moments(returns)
    assert found.deviation == pytest.approx(returns.std(ddof=1), rel=1e-12)
    assert found.skewness == pytest.approx(stats.skew(returns), rel=1e-9)
    assert found.kurtosis == pytest.approx(stats.kurtosis(returns, fisher=False), rel=1e-9)


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("benchmark", [0.0, 0.05, -0.02])
def test_the_probabilistic_sharpe_ratio_is_that_of_holdout_and_near_that_of_skfolio(seed, benchmark):
    returns = drawn(seed)
    of = moments(returns)
    found = probabilistic_sharpe(of, benchmark)
    judge = holdout.probabilistic_sharpe_ratio(
        of.sharpe_ratio, len(returns), benchmark=benchmark, skewness=of.skewness, kurtosis=of.kurtosis
    )
    assert found == pytest.approx(judge, abs=1e-12)
    # skfolio takes another estimator of the third and fourth moment.
    assert found == pytest.approx(skfolio.probabilistic_sharpe_ratio(returns, benchmark), abs=2e-4)


@pytest.mark.parametrize("seed", range(6))
def test_the_deflated_sharpe_ratio_is_that_of_the_judges(seed):
    returns, of = drawn(seed), moments(drawn(seed))
    trials = np.random.default_rng(seed + 100).normal(0.01, 0.03, 57)
    found = deflated_sharpe(of, trials=len(trials), variance=float(trials.var(ddof=1)))
    assert found == pytest.approx(skfolio.deflated_sharpe_ratio(returns, trials), abs=2e-4)
    judge = holdout.deflated_sharpe_ratio(
        of.sharpe_ratio,
        len(returns),
        n_trials=len(trials),
        trials_variance=float(trials.var(ddof=1)),
        skewness=of.skewness,
        kurtosis=of.kurtosis,
    )
    assert found == pytest.approx(judge, abs=1e-12)


@pytest.mark.parametrize("trials", [2, 5, 10.5, 100, 2_500, 1e6])
def test_the_expected_maximum_is_that_of_skfolio(trials):
    assert expected_maximum(trials) == pytest.approx(skfolio.expected_max_sharpe_ratio(trials, 1.0), rel=1e-12)


def test_the_expected_maximum_is_what_draws_show():
    largest = np.random.default_rng(3).standard_normal((20_000, 50)).max(axis=1)
    assert expected_maximum(50) == pytest.approx(largest.mean(), abs=0.03)


def test_one_trial_leaves_the_probabilistic_sharpe_ratio_as_it_is():
    of = moments(drawn(1))
    assert deflated_sharpe(of, trials=1, variance=0.01) == probabilistic_sharpe(of)


@given(trials=st.floats(1, 1e7), more=st.floats(1, 1e7))
def test_more_trials_never_make_a_result_better(trials, more):
    of = Moments(observations=500, mean=0.001, deviation=0.01, skewness=-0.5, kurtosis=6.0)
    low, high = sorted((trials, more))
    assert deflated_sharpe(of, trials=high, variance=0.002) <= deflated_sharpe(of, trials=low, variance=0.002) + 1e-12


@pytest.mark.parametrize("seed", range(4))
def test_after_the_minimum_track_record_the_probability_is_reached(seed):
    of = moments(drawn(seed, mean=0.0025))
    needed = minimum_track_record_length(of, 0.01)
    judge = holdout.minimum_track_record_length(of.sharpe_ratio, benchmark=0.01, skewness=of.skewness, kurtosis=of.kurtosis)
    assert needed == pytest.approx(judge, rel=1e-9)
    kept = {"mean": of.mean, "deviation": of.deviation, "skewness": of.skewness, "kurtosis": of.kurtosis}
    assert probabilistic_sharpe(Moments(observations=math.ceil(needed) + 1, **kept), 0.01) >= 0.95
    assert probabilistic_sharpe(Moments(observations=math.floor(needed) - 1, **kept), 0.01) <= 0.95


def test_no_length_of_data_proves_a_ratio_below_the_benchmark():
    assert minimum_track_record_length(moments(drawn(1)), 5.0) == math.inf


@pytest.mark.parametrize("returns", [[], [0.01], [0.0] * 100, [0.001] * 100], ids=["none", "one", "zeros", "constant"])
def test_what_never_moved_says_nothing(returns):
    of = moments(np.array(returns))
    assert (of.sharpe_ratio, of.skewness, of.kurtosis) == (0.0, 0.0, 3.0)
    assert probabilistic_sharpe(of) == 0.5
    assert minimum_track_record_length(of) == math.inf


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_returns_that_are_not_numbers_are_refused(bad):
    with pytest.raises(InvalidInput):
        moments(np.array([0.01, bad]))


def test_extreme_skewness_does_not_make_the_variance_negative():
    assert sharpe_variance(Moments(observations=100, mean=0.02, deviation=0.01, skewness=5.0, kurtosis=1.0)) > 0


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.7, 0.95])
def test_the_number_of_independent_trials_follows_their_correlation(correlation):
    generator = np.random.default_rng(8)
    common, own = generator.standard_normal((400, 1)), generator.standard_normal((400, 200))
    sets = math.sqrt(correlation) * common + math.sqrt(1 - correlation) * own
    expected = correlation + (1 - correlation) * 200
    assert independent_trials(200, mean_correlation(sets)) == pytest.approx(expected, rel=0.1, abs=1)
    # Each row as the t statistics of 200 trials: it cannot say more than all of them, so it is a little low at the top.
    implied = np.mean([independent_trials(200, implied_correlation(row.var(ddof=1))) for row in sets])
    assert implied == pytest.approx(expected, rel=0.06, abs=1)


def test_the_mean_correlation_is_that_of_all_pairs():
    sets = np.random.default_rng(1).standard_normal((300, 1)) + np.random.default_rng(2).standard_normal((300, 7))
    pairs = np.corrcoef(sets.T)[np.triu_indices(7, 1)]
    idle = np.concatenate([sets, np.zeros((300, 2))], axis=1)
    assert mean_correlation(idle) == pytest.approx(pairs.mean(), rel=1e-9)
    assert mean_correlation(np.zeros((300, 4))) == 0.0


@given(trials=st.integers(0, 10**6), variance=st.floats(0, 100))
def test_independent_trials_are_at_least_one_and_at_most_all(trials, variance):
    assert min(trials, 1) <= independent_trials(trials, implied_correlation(variance)) <= max(trials, 1)


@pytest.mark.parametrize(("seed", "edge"), [(0, 0.0), (1, 0.0), (2, 0.001), (3, 0.003)])
def test_the_probability_of_overfitting_is_that_of_holdout(seed, edge):
    returns = np.random.default_rng(seed).normal(0, 0.01, (480, 30))
    returns[:, 4] += edge
    judge = holdout.probability_of_backtest_overfitting(returns, n_blocks=16)
    found = probability_of_overfitting(returns, blocks=16)
    assert found.splits == judge.n_partitions == math.comb(16, 8)
    assert found.probability == pytest.approx(judge.pbo, abs=1e-12)
    assert found.loss == pytest.approx(judge.probability_of_loss, abs=1e-12)


@settings(max_examples=20, deadline=None)
@given(seed=st.integers(0, 10**6), blocks=st.sampled_from([2, 4, 6]), sets=st.integers(2, 6), rest=st.integers(0, 3))
def test_the_probability_of_overfitting_is_what_plain_halving_says(seed, blocks, sets, rest):
    returns = np.random.default_rng(seed).normal(0, 0.01, (blocks * 5 + min(rest, blocks - 1), sets))
    used = returns[len(returns) - blocks * 5 :].reshape(blocks, 5, sets)
    worse = losses = splits = 0
    for half in combinations(range(blocks), blocks // 2):
        rest_of = [block for block in range(blocks) if block not in half]
        inside, outside = (np.concatenate([used[b] for b in which]) for which in (half, rest_of))
        ratio = outside.mean(axis=0) / outside.std(axis=0, ddof=1)
        best = int(np.argmax(inside.mean(axis=0) / inside.std(axis=0, ddof=1)))
        worse += (ratio <= ratio[best]).sum() / (sets + 1) <= 0.5
        losses += ratio[best] <= 0
        splits += 1
    found = probability_of_overfitting(returns, blocks=blocks)
    assert (found.probability, found.loss, found.splits) == (worse / splits, losses / splits, splits)


def test_sets_that_are_all_the_same_rank_in_the_middle():
    returns = np.repeat(np.random.default_rng(1).normal(0.01, 0.01, (64, 1)), 5, axis=1)
    assert probability_of_overfitting(returns, blocks=4).probability == 1.0
    assert probability_of_overfitting(returns, blocks=4).loss == 0.0


@pytest.mark.parametrize(("shape", "blocks"), [((100, 1), 4), ((100, 5), 5), ((7, 5), 4)])
def test_what_cannot_be_halved_is_refused(shape, blocks):
    with pytest.raises(InvalidInput, match="CSCV needs"):
        probability_of_overfitting(np.zeros(shape), blocks=blocks)
