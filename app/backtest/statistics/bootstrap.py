"""Resampling of returns that keeps their dependence: the stationary bootstrap, its block length, intervals, and Hansen's test.

Politis and Romano, "The stationary bootstrap", Journal of the American Statistical Association 89, 1994. Politis and White,
"Automatic block-length selection for the dependent bootstrap", Econometric Reviews 23, 2004, corrected by Patton, Politis
and White, ibid. 28, 2009. Hansen, "A test for superior predictive ability", Journal of Business & Economic Statistics 23,
2005.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from app.domain.bar import Floats, Seconds
from app.domain.errors import InvalidInput

DRAWS = 2_000
_CHUNK_CELLS = 4_000_000  # of float64: 32 MB at a time


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A central interval. estimate: from the data as it is."""

    low: float
    estimate: float
    high: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Intervals:
    """level: the probability of each. sharpe_ratio: per observation. total_return, max_drawdown: fractions; the drawdown is a
    magnitude. block: mean length of a block, observations."""

    level: float
    draws: int
    block: float
    sharpe_ratio: Interval
    total_return: Interval
    max_drawdown: Interval


def block_length(returns: Floats) -> float:
    """Mean block length of the stationary bootstrap that suits the dependence of `returns`, at least 1 (2004, 2009)."""
    count = len(returns)
    centred = returns - returns.mean() if count else returns
    variance = float(np.mean(centred**2)) if count else 0.0
    if count < 10 or not variance > 0.0:
        return 1.0
    run = max(5, int(math.log10(count)))
    farthest = math.ceil(math.sqrt(count)) + run
    covariance = np.array([float(centred[lag:] @ centred[: count - lag]) / count for lag in range(farthest + 1)])
    loud = np.array([abs(_correlation(centred, lag)) for lag in range(1, farthest)]) >= 2.0 * math.sqrt(
        math.log10(count) / count
    )
    # The first lag from which on `run` correlations in a row are no more than noise.
    quiet = [lag for lag in range(1, farthest - run + 1) if not loud[lag - 1 : lag - 1 + run].any()]
    width = min(2 * quiet[0], farthest) if quiet else farthest
    lags = np.arange(1, width + 1)
    weight = np.minimum(1.0, 2.0 * (1.0 - lags / width))  # the flat-top window
    spectrum = covariance[0] + 2.0 * float((weight * covariance[lags]).sum())
    slope = 2.0 * float((weight * lags * covariance[lags]).sum())
    if not spectrum > 0.0:
        return 1.0
    length = ((slope / spectrum) ** 2 * count) ** (1 / 3)
    return float(min(max(length, 1.0), math.ceil(min(3.0 * math.sqrt(count), count / 3.0))))


def stationary_indices(count: int, draws: int, block: float, generator: np.random.Generator) -> Seconds:
    """Indices of `draws` resamples, shape (draws, count): blocks that begin anywhere, wrap around, and end after each
    observation with probability 1 / block."""
    begins = generator.random((draws, count)) < 1.0 / block
    begins[:, 0] = True
    place = np.arange(count)
    last = np.maximum.accumulate(np.where(begins, place, 0), axis=1)
    start = np.take_along_axis(generator.integers(0, count, (draws, count)), last, axis=1)
    return (start + place - last) % count


def intervals(
    returns: Floats, generator: np.random.Generator, *, draws: int = DRAWS, level: float = 0.9, block: float | None = None
) -> Intervals:
    """Where Sharpe ratio, total return and deepest drawdown lie with probability `level`, by percentiles of the resamples.

    returns: shape (n_observations,), above -1. block: by default `block_length`."""
    if len(returns) < 2 or not (returns > -1.0).all():
        raise InvalidInput("intervals need two returns or more, each above -1")
    length = block_length(returns) if block is None else block
    rows = max(1, _CHUNK_CELLS // len(returns))
    parts = []
    for begin in range(0, draws, rows):
        drawn = returns[stationary_indices(len(returns), min(rows, draws - begin), length, generator)]
        parts.append(_figures(drawn))
    drawn_figures, own = np.concatenate(parts, axis=1), _figures(returns[None, :])[:, 0]
    tail = (1.0 - level) / 2.0
    low, high = np.quantile(drawn_figures, [tail, 1.0 - tail], axis=1)
    sharpe, total, drawdown = (
        Interval(low=float(a), estimate=float(b), high=float(c)) for a, b, c in zip(low, own, high, strict=True)
    )
    return Intervals(level=level, draws=draws, block=length, sharpe_ratio=sharpe, total_return=total, max_drawdown=drawdown)


def spa_test(
    returns: Floats, generator: np.random.Generator, *, benchmark: Floats | float = 0.0, draws: int = DRAWS, block: float = 0.0
) -> float:
    """Probability that the best of the sets beats `benchmark` so clearly by luck (Hansen's SPA, the consistent p-value).

    returns: shape (n_observations, n_sets). benchmark: returns, shape (n_observations,), or one number. block: 0 for that of
    the best set. Sets that never moved say nothing and are left out; 1.0 where none is left."""
    excess = returns - (benchmark[:, None] if isinstance(benchmark, np.ndarray) else benchmark)
    count = len(excess)
    if count < 10:
        raise InvalidInput(f"the SPA test needs 10 observations or more, got {count}")
    excess = excess[:, excess.std(axis=0) > 1e-12]
    if excess.shape[1] == 0:
        return 1.0
    mean = excess.mean(axis=0)
    length = block or block_length(excess[:, int(np.argmax(mean / excess.std(axis=0)))])
    deviation = np.sqrt(_long_run_variance(excess - mean, 1.0 / length))
    statistic = max(float((math.sqrt(count) * mean / deviation).max()), 0.0)
    # Sets so bad that they cannot be the best are not centred: they would only dilute the test.
    poor = mean <= -deviation / math.sqrt(count) * math.sqrt(2.0 * math.log(math.log(count)))
    centre = np.where(poor, 0.0, mean)
    above, done, rows = 0, 0, max(1, min(draws, _CHUNK_CELLS // count))
    while done < draws:
        drawn = stationary_indices(count, min(rows, draws - done), length, generator)
        weights = _counts(drawn, count)
        largest = (math.sqrt(count) * ((weights @ excess) / count - centre) / deviation).max(axis=1)
        above += int((np.maximum(largest, 0.0) > statistic).sum())
        done += len(drawn)
    return above / draws


def _counts(drawn: Seconds, count: int) -> Floats:
    """How often each observation is in each resample, shape (draws, count)."""
    rows = np.arange(len(drawn))[:, None] * count
    return np.bincount((drawn + rows).ravel(), minlength=drawn.size).reshape(drawn.shape).astype(np.float64)


def _long_run_variance(centred: Floats, probability: float) -> Floats:
    """Variance of root-n means under the stationary bootstrap, per column (Politis and Romano 1994, lemma 1)."""
    count = len(centred)
    variance = np.mean(centred**2, axis=0)
    for lag in range(1, count):
        share = lag / count
        kernel = (1.0 - share) * (1.0 - probability) ** lag + share * (1.0 - probability) ** (count - lag)
        if kernel > 1e-12:
            variance = variance + 2.0 * kernel * np.einsum("ij,ij->j", centred[lag:], centred[: count - lag]) / count
    return np.asarray(np.maximum(variance, 1e-18), dtype=np.float64)


def _correlation(centred: Floats, lag: int) -> float:
    early, late = centred[:-lag], centred[lag:]
    scale = math.sqrt(float(early @ early) * float(late @ late))
    return float(early @ late) / scale if scale > 0.0 else 0.0


def _figures(drawn: Floats) -> Floats:
    """Sharpe ratio, total return and drawdown of each row, shape (3, n_rows)."""
    deviation = drawn.std(axis=1, ddof=1)
    moves = deviation > 1e-12
    sharpe = np.where(moves, drawn.mean(axis=1) / np.where(moves, deviation, 1.0), 0.0)
    wealth = np.cumsum(np.log1p(drawn), axis=1)
    peak = np.maximum(np.maximum.accumulate(wealth, axis=1), 0.0)
    return np.stack([sharpe, np.expm1(wealth[:, -1]), -np.expm1((wealth - peak).min(axis=1))])
