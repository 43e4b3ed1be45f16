"""TrialLedger: counts every configuration ever evaluated on a data set, so that nobody forgets how often luck had a chance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol

from app.backtest.statistics.overfitting import implied_correlation, independent_trials
from app.domain.trial import DataSet, Trial


class Counted(Protocol):
    """What storage knows of the trials on a family of data sets; see `app.storage.trials.Counted`."""

    @property
    def data_sets(self) -> int: ...  # noqa: D102
    @property
    def trials(self) -> int: ...  # noqa: D102
    @property
    def sharpe_mean(self) -> float: ...  # noqa: D102
    @property
    def sharpe_variance(self) -> float: ...  # noqa: D102
    @property
    def t_variance(self) -> float: ...  # noqa: D102


class Trials(Protocol):
    """Where trials are kept."""

    def add_trials(self, data_set: DataSet, evaluated: Iterable[Trial]) -> int: ...  # noqa: D102
    def counted_trials(self, data_set: DataSet) -> Counted: ...  # noqa: D102
    def trials_of(self, digest: str, strategy: str, limit: int = ...) -> Sequence[Trial]: ...  # noqa: D102
    def data_set(self, digest: str) -> DataSet: ...  # noqa: D102
    def data_sets(self, limit: int = ...) -> Sequence[tuple[DataSet, int]]: ...  # noqa: D102


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialSummary:
    """How often luck had a chance on a data set.

    trials: configurations evaluated on it, or on data of the same timeframe that shares a symbol and overlaps in time; the
    same configuration on the same symbols counts once. data_sets: how many of those there are. effective_trials: how many
    independent ones the trials amount to, by the spread of their t statistics
    (`app.backtest.statistics.overfitting.implied_correlation`).
    sharpe_mean, sharpe_deviation: over the trials, of their Sharpe ratios per observation.
    """

    data_set: DataSet
    data_sets: int
    trials: int
    effective_trials: float
    sharpe_mean: float
    sharpe_deviation: float


class TrialLedger:
    """Whoever evaluates a configuration records it here, whatever comes of it."""

    def __init__(self, database: Trials) -> None:
        self._database = database

    def record(self, data_set: DataSet, trials: Iterable[Trial]) -> int:
        """Store trials on `data_set`; how many are new. One that is known already counts once, however often it is run.

        Raises InvalidInput, and stores none of them, for a trial of other data or with moments that are not numbers."""
        return self._database.add_trials(data_set, trials)

    def summary(self, data_set: DataSet | str) -> TrialSummary:
        """The count for a data set, or for the known one whose digest begins so. Raises NotFound."""
        asked = self._database.data_set(data_set) if isinstance(data_set, str) else data_set
        counted = self._database.counted_trials(asked)
        return TrialSummary(
            data_set=asked,
            data_sets=counted.data_sets,
            trials=counted.trials,
            effective_trials=independent_trials(counted.trials, implied_correlation(counted.t_variance)),
            sharpe_mean=counted.sharpe_mean,
            sharpe_deviation=math.sqrt(counted.sharpe_variance),
        )

    def of_strategy(self, data_set: DataSet, strategy: str) -> Sequence[Trial]:
        """Trials of a strategy on exactly this data."""
        return self._database.trials_of(data_set.digest, strategy)

    def data_sets(self, limit: int = 50) -> Sequence[tuple[DataSet, int]]:
        """Data sets with the number of their trials, those tried last first."""
        return self._database.data_sets(limit)
