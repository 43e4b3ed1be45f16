"""VerdictService: from a result to its verdict, with everything counted that was ever tried on its data."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np
import structlog

from app.backtest.statistics.bootstrap import intervals, spa_test
from app.backtest.statistics.luck import ENTRY_DRAWS, Plateau, RandomEntry, Stay, parameter_plateau, random_entry_test
from app.backtest.statistics.overfitting import (
    Overfitting,
    independent_trials,
    mean_correlation,
    moments,
    probability_of_overfitting,
)
from app.backtest.statistics.verdict import COST_MULTIPLES, SIGNIFICANCE, Evidence, judge
from app.domain.bar import Floats
from app.domain.errors import InvalidInput
from app.domain.ports import Clock
from app.domain.trial import DataSet, Trial
from app.domain.verdict import Judged, Override, VerdictRecord
from app.services.verdicts.trial_ledger import TrialLedger, TrialSummary

log = structlog.get_logger()

_MOST_DRAWS = 20_000
_BLOCKS = 16


class Verdicts(Protocol):
    """Where verdicts are kept."""

    def save_verdict(self, judged: Judged, backtest_id: str | None = None) -> None: ...  # noqa: D102
    def verdict_of(self, backtest_id: str) -> VerdictRecord: ...  # noqa: D102
    def newest_verdict(self, strategy: str, values: Mapping[str, float]) -> VerdictRecord | None: ...  # noqa: D102
    def verdicts(self, limit: int = ...) -> Sequence[VerdictRecord]: ...  # noqa: D102

    def verdict_override(self, strategy: str, values: Mapping[str, float]) -> Override | None: ...  # noqa: D102

    def override_verdict(self, strategy: str, values: Mapping[str, float], *, actor: str, reason: str) -> Override:
        """Records it, and tells the audit log."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Result:
    """A finished evaluation of one configuration, to be judged.

    data_set, strategy, values, setup, source: as in `app.domain.trial.Trial`. returns: simple returns per observation, shape
    (n_observations,); periods_per_year of them are a year. trades: closed round trips. prices, stays: for the random-entry
    test, None where the result has none (`app.backtest.statistics.luck`). round_trip_cost: fraction. returns_of_sets: those of
    every set it was chosen from, shape (n_observations, n_sets). sets: their values, where they are of one strategy. plateau:
    the neighbours of its parameters, where whoever chose them knows; else they are looked for among `sets`, or in the ledger.
    rerun: total return with the costs times its argument; None where there are no costs to multiply. seed: of every resampling.
    """

    data_set: DataSet
    strategy: str
    values: Mapping[str, float]
    setup: Mapping[str, Any]
    source: str
    returns: Floats
    periods_per_year: float
    trades: int
    round_trip_cost: float = 0.0
    prices: Floats | None = None
    stays: Sequence[Stay] = ()
    returns_of_sets: Floats | None = None
    sets: Sequence[Mapping[str, float]] = ()
    plateau: Plateau | None = None
    rerun: Callable[[int], float] | None = None
    figures: Mapping[str, float] = field(default_factory=dict)
    seed: int = 7


class VerdictService:
    """Judges results, keeps the verdicts, and takes down what people decide against them."""

    def __init__(self, database: Verdicts, trials: TrialLedger, clock: Clock) -> None:
        self._database = database
        self._trials = trials
        self._clock = clock

    def judge(self, result: Result) -> Judged:
        """The verdict on a result. It is recorded as a trial first: what is judged has been tried. The verdict is not kept
        before `keep`. Raises InvalidInput for returns that are not numbers."""
        self._trials.record(result.data_set, [self._trial(result)])
        evidence = self._evidence(result)
        return Judged(
            strategy=result.strategy,
            values=dict(result.values),
            dataset=result.data_set.digest,
            trials=evidence.trials,
            verdict=judge(evidence),
        )

    def keep(self, judged: Judged, backtest_id: str | None = None) -> None:
        """Store a verdict; from now on it is the newest for its strategy and parameters."""
        self._database.save_verdict(judged, backtest_id)
        log.info("verdict", strategy=judged.strategy, level=judged.verdict.level.value, trials=judged.trials)

    def of_backtest(self, backtest_id: str) -> dict[str, Any]:
        """The verdict on a backtest, as plain values. Raises NotFound."""
        found = self._database.verdict_of(backtest_id)
        return {"backtest_id": backtest_id, "at": found.at} | verdict_fields(found.judged)

    def newest(self, limit: int = 50) -> Sequence[VerdictRecord]:
        """The newest first."""
        return self._database.verdicts(limit)

    def override(self, strategy: str, values: Mapping[str, float], *, actor: str, reason: str) -> Override:
        """Let a strategy with these parameters trade real money against its newest verdict, or without one. It holds until the
        next verdict. Raises InvalidInput without a reason."""
        if not reason.strip():
            raise InvalidInput("an override is kept for ever: say why this strategy may trade real money")
        return self._database.override_verdict(strategy, values, actor=actor, reason=reason.strip())

    def override_in_force(self, strategy: str, values: Mapping[str, float]) -> Override | None:
        """What a person decided about a strategy with these parameters, where no verdict has come since."""
        return self._database.verdict_override(strategy, values)

    def _trial(self, result: Result) -> Trial:
        found = moments(result.returns)
        return Trial(
            dataset=result.data_set.digest,
            strategy=result.strategy,
            values=dict(result.values),
            setup=dict(result.setup),
            source=result.source,
            evaluated_at=self._clock.now(),
            observations=found.observations,
            mean=found.mean,
            deviation=found.deviation,
            skewness=found.skewness,
            kurtosis=found.kurtosis,
            figures=dict(result.figures),
        )

    def _evidence(self, result: Result) -> Evidence:
        counted = self._trials.summary(result.data_set)
        effective = _effective(counted, result.returns_of_sets)
        generator = np.random.default_rng(result.seed)
        sound = len(result.returns) > 1 and bool((result.returns > -1.0).all())
        return Evidence(
            returns=moments(result.returns),
            periods_per_year=result.periods_per_year,
            trades=result.trades,
            trials=counted.trials,
            effective_trials=effective,
            parameters=len(result.values),
            intervals=intervals(result.returns, generator) if sound else None,
            overfitting=_overfitting(result.returns_of_sets),
            superiority=_superiority(result, counted.trials, generator),
            random_entry=_random_entry(result, effective, generator),
            plateau=self._plateau(result),
            stressed={multiple: result.rerun(multiple) for multiple in COST_MULTIPLES} if result.rerun is not None else None,
        )

    def _plateau(self, result: Result) -> Plateau | None:
        """As told; or among the sets it was chosen from; or among the trials of the ledger on the same data and terms."""
        if result.plateau is not None:
            return result.plateau
        if result.sets and result.returns_of_sets is not None:
            ratios = [moments(column).sharpe_ratio for column in result.returns_of_sets.T]
            return parameter_plateau(result.sets, ratios, result.values)
        tried = self._trials.of_strategy(result.data_set, result.strategy)
        alike = [trial for trial in tried if dict(trial.setup) == dict(result.setup)]
        return parameter_plateau([trial.values for trial in alike], [trial.sharpe_ratio for trial in alike], result.values)


def verdict_fields(judged: Judged) -> dict[str, Any]:
    """A verdict as plain values, for a result's JSON: level, reasons, checks, and how many trials were counted."""
    verdict = judged.verdict
    return {
        "level": verdict.level.value,
        "reasons": list(verdict.reasons),
        "trials": judged.trials,
        "checks": [
            {
                "name": check.name,
                "level": check.level.value,
                "figure": check.figure,
                "threshold": check.threshold,
                "sentence": check.sentence,
            }
            for check in verdict.checks
        ],
    }


def _effective(counted: TrialSummary, sets: Floats | None) -> float:
    """Independent trials: those whose returns are at hand by their own correlation, the others at the rate of the ledger."""
    if sets is None or sets.shape[1] < 2 or counted.trials < 1:
        return counted.effective_trials
    at_hand = min(sets.shape[1], counted.trials)
    others: float = counted.effective_trials * (counted.trials - at_hand) / counted.trials
    return independent_trials(at_hand, mean_correlation(sets)) + others


def _overfitting(sets: Floats | None) -> Overfitting | None:
    if sets is None or sets.shape[1] < 2 or len(sets) < 2 * _BLOCKS:
        return None
    return probability_of_overfitting(sets, blocks=_BLOCKS)


def _superiority(result: Result, trials: int, generator: np.random.Generator) -> float | None:
    """Of the sets it was chosen from; of itself alone where nothing else was tried."""
    sets = result.returns_of_sets
    if sets is None and trials <= 1:
        sets = result.returns[:, None]
    return None if sets is None or len(sets) < 10 else spa_test(sets, generator)


def _random_entry(result: Result, effective_trials: float, generator: np.random.Generator) -> RandomEntry | None:
    if result.prices is None or not result.stays:
        return None
    draws = min(max(ENTRY_DRAWS, math.ceil(2 * effective_trials / SIGNIFICANCE)), _MOST_DRAWS)
    return random_entry_test(result.prices, result.stays, generator, round_trip_cost=result.round_trip_cost, draws=draws)
