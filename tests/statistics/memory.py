"""The ledger of trials and verdicts in memory, for campaigns of thousands of markets."""

from __future__ import annotations

from datetime import UTC, datetime

import numpy as np

from app.domain.errors import NotFound
from app.domain.trial import DataSet, Trial
from app.domain.verdict import Override, VerdictRecord
from app.storage.trials import Counted


class MemoryLedger:
    """One data set at a time; everything recorded belongs to its family."""

    def __init__(self) -> None:
        self.trials: dict[str, Trial] = {}
        self.kept: list[VerdictRecord] = []
        self.overrides: list[Override] = []

    def add_trials(self, data_set: DataSet, evaluated):
        fresh = {trial.trial_id: trial for trial in evaluated if trial.trial_id not in self.trials}
        self.trials |= fresh
        return len(fresh)

    def counted_trials(self, data_set: DataSet) -> Counted:
        t = np.array([trial.t_statistic for trial in self.trials.values()])
        ratios = np.array([trial.sharpe_ratio for trial in self.trials.values()])
        many = len(t) > 1
        return Counted(
            data_sets=1,
            trials=len(t),
            sharpe_mean=float(ratios.mean()),
            sharpe_variance=float(ratios.var(ddof=1)) if many else 0.0,
            t_variance=float(t.var(ddof=1)) if many else 0.0,
        )

    def trials_of(self, digest, strategy, limit=100_000):
        return [trial for trial in self.trials.values() if trial.strategy == strategy]

    def data_set(self, digest):
        raise NotFound("not kept")

    def data_sets(self, limit=50):
        return []

    def save_verdict(self, judged, backtest_id=None):
        at = datetime(2024, 1, 1, tzinfo=UTC)
        self.kept.append(VerdictRecord(verdict_id=len(self.kept) + 1, at=at, backtest_id=backtest_id, judged=judged))

    def verdict_of(self, backtest_id):
        return next(one for one in reversed(self.kept) if one.backtest_id == backtest_id)

    def newest_verdict(self, strategy, values):
        return next((one for one in reversed(self.kept) if one.judged.strategy == strategy), None)

    def verdicts(self, limit=50):
        return self.kept[::-1][:limit]

    def verdict_override(self, strategy, values):
        return next((one for one in reversed(self.overrides) if one.strategy == strategy), None)

    def override_verdict(self, strategy, values, *, actor, reason):
        found = Override(at=datetime(2024, 1, 1, tzinfo=UTC), strategy=strategy, values=values, actor=actor, reason=reason)
        self.overrides.append(found)
        return found
