"""The promise of the verdict: the best of 100 parameter sets hardly ever gets PASS where there is no edge, and mostly where
there is one. LUCK_MARKETS and LUCK_SEED set the long form (`make test-statistics`)."""

from __future__ import annotations

import os
from collections import Counter
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from app.backtest.overfitting import independent_trials, mean_correlation, moments
from app.backtest.verdict import Evidence, judge
from app.domain.trial import DataSet, Trial
from app.domain.verdict import Level
from app.services.trial_ledger import TrialLedger
from app.services.verdict_service import Result, VerdictService
from tests.databases import HandClock
from tests.statistics.generated import WITHOUT_EDGE, with_edge, without_edge
from tests.statistics.memory import MemoryLedger
from tests.statistics.standin import sweep

MARKETS = int(os.environ.get("LUCK_MARKETS", "24"))
SEED = int(os.environ.get("LUCK_SEED", "1"))
LONG = MARKETS >= 500
SETS = [{"fast": float(fast), "slow": float(slow)} for fast in range(1, 6) for slow in range(6, 26)]
COST = 0.0005
START = datetime(2015, 1, 1, tzinfo=UTC)
DATA = DataSet(digest="generated", symbols=("FAIR",), timeframe="1Day", start=START, end=START + timedelta(days=1_826))
# The drift at which the best of SETS has a true Sharpe ratio of 2 after costs; see the test of it.
DRIFT = 0.00565


def verdict(opens: np.ndarray, closes: np.ndarray, *, cost: float, seed: int) -> Level:
    """On the best of all sets, every one of them recorded. What already keeps it from PASS is looked at first: the rest of the
    evidence takes most of the time and could not give it back."""
    returns, stays = sweep(opens, closes, SETS, cost)
    ledger = MemoryLedger()
    trials = TrialLedger(ledger)
    service = VerdictService(ledger, trials, HandClock())
    trials.record(DATA, [_trial(values, returns[:, number]) for number, values in enumerate(SETS)])
    best = max(trials.of_strategy(DATA, "sma_cross"), key=lambda trial: trial.sharpe_ratio)
    number = SETS.index(best.values)

    def rerun(multiple: int) -> float:
        return float(np.prod(1 + sweep(opens, closes, [SETS[number]], cost * multiple)[0]) - 1)

    found = moments(returns[:, number])
    trades = sum(stay.left < len(closes) - 1 for stay in stays[number])
    quick = judge(
        Evidence(
            returns=found,
            periods_per_year=252.0,
            trades=trades,
            trials=len(SETS),
            effective_trials=independent_trials(len(SETS), mean_correlation(returns)),
            parameters=2,
        )
    )
    if any(check.level is not Level.PASS for check in quick.checks if check.name in {"deflated_sharpe", "trades"}):
        return Level.WARN
    full = Result(
        data_set=DATA,
        strategy="sma_cross",
        values=best.values,
        setup=best.setup,
        source="sweep",
        returns=returns[:, number],
        periods_per_year=252.0,
        trades=trades,
        seed=seed,
        round_trip_cost=2 * cost,
        prices=opens[None, :],
        stays=stays[number],
        returns_of_sets=returns,
        rerun=rerun,
    )
    return service.judge(full).verdict.level


def _trial(values: dict[str, float], returns: np.ndarray) -> Trial:
    found = moments(returns)
    return Trial(
        dataset=DATA.digest,
        strategy="sma_cross",
        values=values,
        setup={},
        source="sweep",
        evaluated_at=START,
        observations=found.observations,
        mean=found.mean,
        deviation=found.deviation,
        skewness=found.skewness,
        kurtosis=found.kurtosis,
    )


def test_without_an_edge_the_best_of_a_hundred_hardly_ever_passes():
    found: Counter[str] = Counter()
    for number in range(MARKETS):
        generator = np.random.default_rng([SEED, 1, number])
        kind, cost = WITHOUT_EDGE[number % 3], COST * (number // 3 % 2)
        opens, closes = without_edge(kind, generator)
        found[f"{kind}, cost {cost:g}"] += verdict(opens, closes, cost=cost, seed=number) is Level.PASS
    passed = sum(found.values())
    print(f"\nseed {SEED}: no edge, PASS in {passed} of {MARKETS} markets ({passed / MARKETS:.1%}): {dict(found)}")
    assert passed <= (0.05 * MARKETS if LONG else 0.05 * MARKETS + 3 * np.sqrt(0.05 * 0.95 * MARKETS))


def test_a_market_that_only_rises_is_no_edge_of_whoever_times_it():
    markets = MARKETS // 3
    passed = 0
    for number in range(markets):
        opens, closes = without_edge("rising", np.random.default_rng([SEED, 2, number]))
        passed += verdict(opens, closes, cost=COST, seed=number) is Level.PASS
    print(f"\nseed {SEED}: rising market, no timing, PASS in {passed} of {markets} ({passed / markets:.1%})")
    assert passed <= (0.05 * markets if LONG else 0.05 * markets + 3 * np.sqrt(0.05 * 0.95 * markets))


def test_an_edge_of_sharpe_two_over_five_years_mostly_passes():
    markets = MARKETS // 3 if not LONG else MARKETS
    passed = 0
    for number in range(markets):
        opens, closes = with_edge(DRIFT, np.random.default_rng([SEED, 3, number]))
        passed += verdict(opens, closes, cost=COST, seed=number) is Level.PASS
    print(f"\nseed {SEED}: true Sharpe ratio 2 over five years, PASS in {passed} of {markets} ({passed / markets:.1%})")
    assert passed >= (0.8 * markets if LONG else 0.8 * markets - 3 * np.sqrt(0.8 * 0.2 * markets))


def test_the_planted_edge_is_what_it_is_said_to_be():
    opens, closes = with_edge(DRIFT, np.random.default_rng([SEED, 4]), sessions=252_000)
    returns, _ = sweep(opens, closes, SETS[:40], COST)
    ratios = returns.mean(axis=0) / returns.std(axis=0) * np.sqrt(252)
    # A thousand years: the deviation of the estimate is 0.03, and of the best of the sets no larger.
    assert ratios.max() == pytest.approx(2.0, abs=0.13)
