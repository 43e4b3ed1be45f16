"""How far a Sharpe ratio may be luck. All Sharpe ratios here are per observation, never annualised.

PSR and minimum track record length: Bailey and Lopez de Prado, "The Sharpe ratio efficient frontier", Journal of Risk 15(2),
2012. DSR, expected maximum and the number of independent trials: the same, "The deflated Sharpe ratio", Journal of Portfolio
Management 40(5), 2014. CSCV: Bailey, Borwein, Lopez de Prado and Zhu, "The probability of backtest overfitting", Journal of
Computational Finance 20(4), 2017.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations
from statistics import NormalDist

import numpy as np
import numpy.typing as npt

from app.domain.bar import Floats
from app.domain.errors import InvalidInput

Integers = npt.NDArray[np.int64]
_NORMAL = NormalDist()
# Below it a deviation is the rounding error of a constant, not risk.
_STILL = 1e-12


@dataclass(frozen=True, slots=True, kw_only=True)
class Moments:
    """Of returns. deviation: the sample deviation. skewness, kurtosis: standardised third and fourth moments of the
    population (a normal one has 0 and 3); 0 and 3 where nothing moved."""

    observations: int
    mean: float
    deviation: float
    skewness: float
    kurtosis: float

    @property
    def sharpe_ratio(self) -> float:
        """Mean over deviation; 0 where nothing moved."""
        return self.mean / self.deviation if self.deviation > _STILL else 0.0


def moments(returns: Floats) -> Moments:
    """returns: shape (n_observations,), finite. Raises InvalidInput for those that are not."""
    if not np.isfinite(returns).all():
        raise InvalidInput("returns must be finite numbers; an equity of zero or less has none")
    count = len(returns)
    mean = float(returns.mean()) if count else 0.0
    centred = returns - mean
    variance = float(np.mean(centred**2)) if count else 0.0
    if count < 2 or math.sqrt(variance) <= _STILL:
        return Moments(observations=count, mean=mean, deviation=0.0, skewness=0.0, kurtosis=3.0)
    return Moments(
        observations=count,
        mean=mean,
        deviation=math.sqrt(variance * count / (count - 1)),
        skewness=float(np.mean(centred**3)) / variance**1.5,
        kurtosis=float(np.mean(centred**4)) / variance**2,
    )


def sharpe_variance(of: Moments) -> float:
    """Sampling variance of the Sharpe ratio, (1 - skewness*SR + (kurtosis - 1)/4*SR^2) / (n - 1); at least a tenth of a normal
    one's, which the expansion falls below only where it no longer holds."""
    ratio = of.sharpe_ratio
    spread = 1.0 - of.skewness * ratio + (of.kurtosis - 1.0) / 4.0 * ratio * ratio
    return max(spread, 0.1) / (of.observations - 1) if of.observations > 1 else math.inf


def probabilistic_sharpe(of: Moments, benchmark: float = 0.0) -> float:
    """Probability that the true Sharpe ratio is above `benchmark` (PSR, 2012, equation 11); 0.5 says nothing is known."""
    if of.observations < 2 or of.deviation <= _STILL:
        return 0.5
    return _NORMAL.cdf((of.sharpe_ratio - benchmark) / math.sqrt(sharpe_variance(of)))


def minimum_track_record_length(of: Moments, benchmark: float = 0.0, confidence: float = 0.95) -> float:
    """Observations after which `probabilistic_sharpe` would reach `confidence` (2012, equation 13); infinite where the
    ratio is not above `benchmark`."""
    ratio = of.sharpe_ratio
    if of.observations < 2 or not ratio > benchmark:
        return math.inf
    spread = sharpe_variance(of) * (of.observations - 1)
    return 1.0 + spread * (_NORMAL.inv_cdf(confidence) / (ratio - benchmark)) ** 2


def expected_maximum(trials: float) -> float:
    """Expected largest of so many independent standard normal draws (2014, equation 1); 0 for a single one, and for the
    fractions above it where the approximation falls below."""
    if trials <= 1.0:
        return 0.0
    low, high = _NORMAL.inv_cdf(1.0 - 1.0 / trials), _NORMAL.inv_cdf(1.0 - 1.0 / (trials * math.e))
    return max(float((1.0 - np.euler_gamma) * low + np.euler_gamma * high), 0.0)


def independent_trials(trials: float, correlation: float) -> float:
    """How many independent trials those with this mean correlation r amount to: r + (1 - r)*trials (2014, appendix 3)."""
    return correlation + (1.0 - correlation) * trials if trials > 1 else float(trials)


def implied_correlation(t_variance: float) -> float:
    """Mean correlation of trials by the variance of their t statistics, which without an edge is 1 - r: no return of a past
    trial has to be kept. True differences between trials make it smaller, so that the count errs to the many."""
    return min(max(1.0 - t_variance, 0.0), 1.0)


def mean_correlation(returns: Floats) -> float:
    """Mean correlation of all pairs of sets that moved, 0..1. returns: shape (n_observations, n_sets)."""
    centred = returns - returns.mean(axis=0)
    deviation = np.sqrt(np.mean(centred**2, axis=0))
    moves = deviation > _STILL
    count = int(moves.sum())
    if count < 2:
        return 0.0
    together = float(np.mean((centred[:, moves] / deviation[moves]).sum(axis=1) ** 2))
    return min(max((together / count - 1.0) / (count - 1), 0.0), 1.0)


def deflated_sharpe(of: Moments, *, trials: float, variance: float) -> float:
    """Probability that the true Sharpe ratio is above what the best of `trials` independent trials without an edge would
    show (DSR, 2014, equation 2). variance: of the Sharpe ratios over the trials."""
    return probabilistic_sharpe(of, expected_maximum(trials) * math.sqrt(variance))


@dataclass(frozen=True, slots=True, kw_only=True)
class Overfitting:
    """Of choosing the best set on half of the data. probability: how often it then ranks at or below the median on the other
    half. loss: how often it has a Sharpe ratio of zero or less there. splits: how many ways of halving were tried."""

    probability: float
    loss: float
    splits: int


def probability_of_overfitting(returns: Floats, *, blocks: int = 16) -> Overfitting:
    """CSCV by the Sharpe ratio. returns: shape (n_observations, n_sets); `blocks`, even, contiguous parts of equal length (the
    oldest observations that do not fit are left out), of which every half is once the data that the choice sees."""
    length = len(returns) // blocks
    if blocks < 2 or blocks % 2 or length < 2 or returns.shape[1] < 2:
        raise InvalidInput(
            f"CSCV needs an even number of blocks of two observations or more and two sets; got {blocks} blocks, "
            f"{len(returns)} observations, {returns.shape[1]} sets"
        )
    cut = returns[len(returns) - blocks * length :].reshape(blocks, length, -1)
    sums, squares = cut.sum(axis=1), (cut**2).sum(axis=1)
    halves = _halves(blocks)
    worse = losses = 0
    for begin in range(0, len(halves), 512):
        half = halves[begin : begin + 512]
        one = _sharpe(half @ sums, half @ squares, length * blocks // 2)
        other = _sharpe((1.0 - half) @ sums, (1.0 - half) @ squares, length * blocks // 2)
        for seen, unseen in ((one, other), (other, one)):
            low, lost = _judged(unseen, seen.argmax(axis=1))
            worse, losses = worse + low, losses + lost
    splits = 2 * len(halves)
    return Overfitting(probability=worse / splits, loss=losses / splits, splits=splits)


def sharpe_of_groups(counts: Integers, sums: Floats, squares: Floats, tested: Sequence[Sequence[int]]) -> Floats:
    """Sharpe ratio of every set over each choice of groups, shape (n_choices, n_sets).

    counts: observations of each group, shape (n_groups,). sums, squares: of the returns and of their squares in each group,
    shape (n_groups, n_sets). tested: the groups of each choice, together two observations at least."""
    parts = [list(groups) for groups in tested]
    return np.stack([_sharpe(sums[one].sum(axis=0), squares[one].sum(axis=0), int(counts[one].sum())) for one in parts])


def overfitting_of_choices(unseen: Floats, chosen: Sequence[int]) -> Overfitting:
    """The same of choices that were made on other data. unseen: Sharpe ratios where each choice is judged, shape (n_choices,
    n_sets); chosen: the set of each. Raises InvalidInput for less than two sets."""
    if unseen.shape[1] < 2:
        raise InvalidInput("overfitting needs two sets to choose from")
    low, lost = _judged(unseen, np.asarray(chosen, dtype=np.int64))
    return Overfitting(probability=low / len(unseen), loss=lost / len(unseen), splits=len(unseen))


def _judged(unseen: Floats, choice: Integers) -> tuple[int, int]:
    """How many choices rank in the lower half, and how many earn nothing. unseen: Sharpe ratios, shape (n_choices, n_sets)."""
    chosen = np.take_along_axis(unseen, choice[:, None], axis=1)
    # Ties count half, so that sets that are all the same rank in the middle.
    rank = 1.0 + (unseen < chosen).sum(axis=1) + ((unseen == chosen).sum(axis=1) - 1) / 2
    return int((rank / (unseen.shape[1] + 1) <= 0.5).sum()), int((chosen <= 0.0).sum())


def _halves(blocks: int) -> Floats:
    """Every way to part the blocks into two halves; that with the first block as ones, shape (n_splits / 2, blocks)."""
    picked = np.array([(0, *rest) for rest in combinations(range(1, blocks), blocks // 2 - 1)])
    chosen = np.zeros((len(picked), blocks))
    np.put_along_axis(chosen, picked, 1.0, axis=1)
    return chosen


def _sharpe(sums: Floats, squares: Floats, count: int) -> Floats:
    mean = sums / count
    variance = np.maximum(squares / count - mean * mean, 0.0) * (count / (count - 1))
    moves = variance > _STILL**2
    return np.where(moves, mean / np.sqrt(np.where(moves, variance, 1.0)), 0.0)
